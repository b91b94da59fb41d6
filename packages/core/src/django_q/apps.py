"""What Django is told about the app: its label, its name in the admin, its checks and signals."""

from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig

from django_q.conf import Settings, get_settings
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


def _label() -> str:
    try:
        return get_settings().label
    except ConfigurationError:
        # The checks will say what is wrong, which they can only do once the apps are loaded.
        return str(Settings.__dataclass_fields__["label"].default)
