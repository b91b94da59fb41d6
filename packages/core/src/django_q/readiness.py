"""Says in one sentence what a site still lacks: the app, its tables, or the SECRET_KEY."""

from __future__ import annotations

import re
from types import TracebackType

from django.apps import apps
from django.db import DatabaseError, router

from django_q.conf import Conf, get_settings
from django_q.errors import ConfigurationError

_MISSING = re.compile(
    r"no such table|no such column|has no column named|does not exist|doesn't exist"
    r"|unknown column|ORA-00942|ORA-00904",
    re.IGNORECASE,
)
_TABLE = re.compile(r"django_q_\w+", re.IGNORECASE)

COLUMNS = {
    "ormq": ("attempts", "claim", "lapses", "priority"),
    "schedule": (
        "catch_up",
        "declaration",
        "error",
        "occurrence",
        "occurrence_task",
        "paused_repeats",
        "seconds",
    ),
    "task": ("options", "worker_deaths"),
}
"""What our migrations add to the tables of Django Q2: no table, or one of these, is missing."""

# Some databases name no table here.
_COLUMN = re.compile(
    rf"column:? [\"']?(?:\w+\.)?({'|'.join(sum(COLUMNS.values(), ()))})\b", re.IGNORECASE
)


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


def require_tables() -> None:
    """Raise ConfigurationError unless the tables that every cluster uses are up to date.

    Looks at each of them once, so that a missing one is said once and not by every process.
    """
    queue = get_settings().orm
    for name, columns in COLUMNS.items():
        model = apps.get_model("django_q", name)
        using = queue if name == "ormq" else router.db_for_write(model)
        if using is not None:
            with explain_database_errors(using):
                model._base_manager.using(using).order_by("pk").values(*columns).first()


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
    if _MISSING.search(message) is None:
        return None
    if table := _TABLE.search(message):
        lack = f"The table {table[0]} is missing or not up to date"
    elif column := _COLUMN.search(message):
        lack = f"The column {column[1]} of the tables of django_q is missing"
    else:
        return None
    command = "manage.py migrate" if using == "default" else f"manage.py migrate --database {using}"
    return ConfigurationError(f"{lack} in the database {using!r}: run `{command}`.")


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
