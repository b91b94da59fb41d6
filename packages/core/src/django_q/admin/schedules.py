"""The admin of schedules: those made by hand can be changed, those that code declares be read."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import router
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_q.admin import operating
from django_q.admin.deeds import Deeds
from django_q.models import Schedule, Task
from django_q.models.columns import column
from django_q.models.schedules import link_to_task

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Schedule]
else:
    Base = admin.ModelAdmin

LATEST = {"task_name": "name", "task_success": "success"}
"""What the list shows of each schedule's latest task, by the names under which it is asked for."""

INSTALL_CRONITER = _('Cron expressions need croniter: pip install "django-q-core[cron]".')


@admin.register(Schedule)
class ScheduleAdmin(Base):
    """One query for the list, whatever its length."""

    list_display = (
        "id",
        "name",
        "func",
        "schedule_type",
        "get_repeats",
        "cluster",
        "next_run",
        "get_last_run",
        "get_success",
        "is_declared",
        "error",
    )
    list_display_links = ("id", "name")
    list_filter = ("next_run", "schedule_type", "cluster")
    search_fields = ("func",)
    actions = ("run_now", "pause", "resume")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        """Every schedule with the name and the success of its latest task."""
        rows = super().get_queryset(request)
        if router.db_for_read(Task) != rows.db:
            return rows  # No query can join two databases; each row is asked for then.
        task = Task.objects.filter(pk=OuterRef("task")).order_by()
        return rows.annotate(
            **{name: Subquery(task.values(field)[:1]) for name, field in LATEST.items()}
        )

    # Columns

    @column(_("success"), boolean=True)
    def get_success(self, row: Any) -> bool | None:
        """Did the latest run succeed? None while nothing is known."""
        success: bool | None = row.task_success if hasattr(row, "task_success") else row.success()
        return success

    @column(_("Last run"))
    def get_last_run(self, row: Any) -> str | None:
        """A link to the latest run's task."""
        if not hasattr(row, "task_name"):
            last_run: str | None = row.last_run()
            return last_run
        if row.task_name is None:
            return None
        return link_to_task(row.task, row.task_name, row.task_success)

    @admin.display(description=_("Repeats"), ordering="repeats")
    def get_repeats(self, row: Schedule) -> str:
        """How many runs are left, or that it is paused."""
        return gettext("paused") if row.is_paused else str(row.repeats)

    @column(_("declared"), boolean=True)
    def is_declared(self, row: Schedule) -> bool:
        """Does code declare it?"""
        return _is_declared(row)

    @column(_("Declared in code"))
    def declared(self, row: Schedule) -> str:
        """Why nothing of it can be changed here."""
        return _(
            "%(func)s has the decorator @schedule: change or remove that, and `manage.py migrate` "
            "or `manage.py qschedules sync` brings it here."
        ) % {"func": row.func}

    # What may be changed

    def has_change_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        """A declared schedule would be as it is declared again after the next `migrate`."""
        return not _is_declared(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        """A declared schedule would come back."""
        return not _is_declared(obj) and super().has_delete_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Schedule | None = None) -> list[Any]:
        """The reason comes first."""
        return sorted(super().get_fields(request, obj), key="declared".__ne__)

    def get_readonly_fields(self, request: HttpRequest, obj: Schedule | None = None) -> list[Any]:
        """What a schedule without croniter cannot use, and what says why all else is so."""
        fields = list(super().get_readonly_fields(request, obj))
        if _is_declared(obj):
            fields.append("declared")
        if find_spec("croniter") is None:
            fields.append("cron")
        return fields

    def get_form(
        self, request: HttpRequest, obj: Schedule | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form says what to install where cron cannot be used."""
        if find_spec("croniter") is None:
            kwargs["help_texts"] = {**kwargs.get("help_texts", {}), "cron": INSTALL_CRONITER}
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        """Who sets the repeats to 0 pauses it, and can resume it."""
        if obj.repeats == 0 and form.initial.get("repeats"):
            obj.paused_repeats = form.initial["repeats"]
        super().save_model(request, obj, form, change)

    # Actions, which leave it as it is declared: they are for every schedule

    @admin.action(description=_("Run selected schedules now"), permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Queue a task of each beside those that are due."""
        deeds = Deeds(self, request, "Run schedules now")
        deeds.each(queryset, operating.run_now)
        deeds.tell(_ran, _not_run)

    @admin.action(description=_("Pause selected schedules"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Let nothing of them be due until they are resumed."""
        deeds = Deeds(self, request, "Pause schedules")
        deeds.each(queryset, operating.pause)
        deeds.tell(_paused, _not_paused)

    @admin.action(description=_("Resume selected schedules"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Let them go on where their pause found them, with what is due from now on."""
        deeds = Deeds(self, request, "Resume schedules")
        deeds.each(queryset, operating.resume)
        deeds.tell(_resumed, _not_resumed)


def _is_declared(row: Schedule | None) -> bool:
    return row is not None and row.declaration is not None


def _ran(count: int) -> str:
    return ngettext("%d schedule was queued.", "%d schedules were queued.", count) % count


def _not_run(count: int) -> str:
    return ngettext("%d schedule was not queued:", "%d schedules were not queued:", count) % count


def _paused(count: int) -> str:
    return ngettext("%d schedule was paused.", "%d schedules were paused.", count) % count


def _not_paused(count: int) -> str:
    return ngettext("%d schedule was not paused:", "%d schedules were not paused:", count) % count


def _resumed(count: int) -> str:
    return ngettext("%d schedule was resumed.", "%d schedules were resumed.", count) % count


def _not_resumed(count: int) -> str:
    return ngettext("%d schedule was not resumed:", "%d schedules were not resumed:", count) % count
