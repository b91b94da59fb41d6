"""What Django is told about the app: its label, its name in the admin, its checks and signals."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.db import router
from django.db.models.signals import post_migrate

from django_q.conf import Settings, get_settings, logger
from django_q.errors import ConfigurationError


class DjangoQConfig(AppConfig):
    """The app `django_q`, whatever distribution it came from."""

    name = "django_q"
    label = "django_q"
    default_auto_field = "django.db.models.AutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        self.verbose_name = _label()

    def ready(self) -> None:
        from django_q import checks, signals  # noqa: F401 - they register themselves

        post_migrate.connect(save_declared_schedules, sender=self)


def save_declared_schedules(using: str, apps: Any = None, **kwargs: Any) -> None:
    """After `migrate`: bring the table into line with what code declares.

    Never fails: the migrations have been made, and a mistake in a declaration undoes none.
    """
    from django_q.models import Schedule  # the models need the app registry
    from django_q.tasks.declared_rows import sync

    if using != router.db_for_write(Schedule) or not _has_declarations(apps):
        return
    try:
        report = sync()
    except Exception as error:
        logger.warning("The schedules that code declares are not saved: %s", error)
        return
    for failure in report.failures:
        logger.warning("The schedules that code declares are not all saved: %s", failure)
    if not report.is_idle:
        logger.info("The schedules that code declares are saved: %s", report)


def _has_declarations(apps: Any) -> bool:
    """Does the table have the column after these migrations? `flush` says nothing of them."""
    if apps is None:
        return True
    try:
        schedule = apps.get_model("django_q", "Schedule")
    except LookupError:
        return False
    return any(field.name == "declaration" for field in schedule._meta.fields)


def _label() -> str:
    try:
        return get_settings().label
    except ConfigurationError:
        # The checks will say what is wrong, which they can only do once the apps are loaded.
        return str(Settings.__dataclass_fields__["label"].default)
