"""Says in one sentence what a site lacks to queue tasks and read results."""

from __future__ import annotations

from django.apps import apps
from django.db import DatabaseError

from django_q.conf import Settings
from django_q.errors import ConfigurationError

_MISSING_TABLE = ("no such table", "does not exist", "doesn't exist", "ora-00942")

_checked: Settings | None = None


def installed(settings: Settings) -> None:
    """Raise unless `django_q` is installed; asked once per settings object."""
    global _checked  # noqa: PLW0603 - a cache of one answer
    if settings is _checked:
        return
    if not apps.is_installed("django_q"):
        raise ConfigurationError(
            "'django_q' is not in INSTALLED_APPS; add it and run `manage.py migrate`."
        )
    _checked = settings


def explain(error: DatabaseError) -> None:
    """Raise the sentence that names the cure, if the database misses a table of ours."""
    text = str(error).lower()
    if "django_q_" in text and any(phrase in text for phrase in _MISSING_TABLE):
        raise ConfigurationError(
            f"the tables of django_q are missing ({error}); run `manage.py migrate`."
        ) from error
