"""Says in one sentence what a site still lacks: the app, its tables, or the SECRET_KEY."""

from __future__ import annotations

import re
from types import TracebackType

from django.apps import apps
from django.db import DatabaseError

from django_q.conf import Conf, get_settings
from django_q.errors import ConfigurationError

_MISSING = re.compile(
    r"no such table|no such column|has no column named|does not exist|doesn't exist"
    r"|unknown column|ORA-00942|ORA-00904",
    re.IGNORECASE,
)
_TABLE = re.compile(r"django_q_\w+", re.IGNORECASE)


def require_ready() -> None:
    """Raise ConfigurationError unless tasks can be signed and the app is installed.

    What needs a query, the tables, is explained when a statement fails.
    """
    if not apps.is_installed("django_q"):
        raise ConfigurationError(
            '"django_q" is not in INSTALLED_APPS: add it, then run `manage.py migrate`.'
        )
    if not Conf.SECRET_KEY:
        raise ConfigurationError(
            "SECRET_KEY is missing from the Django settings: tasks are signed with it."
        )
    get_settings()


def explanation(error: BaseException, using: str = "default") -> ConfigurationError | None:
    """The sentence for an error that a half-installed site causes; None for any other error."""
    if isinstance(error, DatabaseError):
        return _missing_table(str(error), using)
    if isinstance(error, RuntimeError) and "INSTALLED_APPS" in str(error):
        return ConfigurationError(
            '"django_q" is not in INSTALLED_APPS: add it, then run `manage.py migrate`.'
        )
    return None


def _missing_table(message: str, using: str) -> ConfigurationError | None:
    table = _TABLE.search(message)
    if table is None or _MISSING.search(message) is None:
        return None
    command = "manage.py migrate" if using == "default" else f"manage.py migrate --database {using}"
    return ConfigurationError(
        f"The table {table[0]} is missing or not up to date in the database {using!r}: "
        f"run `{command}`."
    )


class explain_database_errors:  # noqa: N801 - read as a statement: with explain_database_errors():
    """Turns a failure for lack of our tables, in its block, into a ConfigurationError.

    Costs nothing unless the block fails; every other error passes through as it is.
    """

    __slots__ = ("using",)

    def __init__(self, using: str = "default") -> None:
        self.using = using

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            return
        explained = explanation(error, self.using)
        if explained is not None:
            raise explained from error
