"""The admin of finished tasks: read-only, and its lists load none of what is pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from django_q.admin.actions import resubmit_task
from django_q.admin.lists import BoundedPaginator, fast_filters
from django_q.admin.readable import BEGINNING, PICKLED, readable, stored, text_beginning
from django_q.models import Failure, Success, Task
from django_q.models.columns import column

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Task]
else:
    Base = admin.ModelAdmin

SHOWN_AS = {name: f"readable_{name}" for name in PICKLED}
"""What takes the place of a pickled column on a task's page."""


class FinishedTaskAdmin(Base):
    """What successes and failures have in common."""

    search_fields = ("name", "func", "group")
    list_filter = ("group", "cluster", "stopped")
    actions = [resubmit_task]  # a list, to which subclasses add theirs
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # They count the whole table, once for each choice.

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        """Every task, without what is pickled unless the list has a column of it."""
        columns = self.get_list_display(request)
        return super().get_queryset(request).defer(*(set(PICKLED) - set(columns)))

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Filters that read no whole table, also for a subclass that names others."""
        return fast_filters(super().get_list_filter(request))

    # A task's page

    def get_readonly_fields(self, request: HttpRequest, obj: Task | None = None) -> list[str]:
        """All of them."""
        names = [*super().get_readonly_fields(request, obj), *_names(self.opts.fields)]
        return list(dict.fromkeys(SHOWN_AS.get(name, name) for name in names))

    def get_fieldsets(self, request: HttpRequest, obj: Task | None = None) -> list[Any]:
        """As they are wanted, but with what is pickled made readable."""
        fieldsets = super().get_fieldsets(request, obj)
        return [
            (title, {**parts, "fields": _readable(parts["fields"])}) for title, parts in fieldsets
        ]

    @column(_("Arguments"))
    def readable_args(self, task: Task) -> str:
        """The positional arguments."""
        return self._readable(task, "args")

    @column(_("Keyword arguments"))
    def readable_kwargs(self, task: Task) -> str:
        """The keyword arguments."""
        return self._readable(task, "kwargs")

    @column(_("Result"))
    def readable_result(self, task: Task) -> str:
        """What was returned, or why it failed."""
        return self._readable(task, "result")

    @column(_("Options"))
    def readable_options(self, task: Task) -> str:
        """What else it was queued with."""
        return self._readable(task, "options")

    def _readable(self, task: Task, name: str) -> str:
        return readable(stored(task, name)) or self.get_empty_value_display()

    # What may be done

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Tasks come from a cluster."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        """None can be changed; the actions are for those who otherwise might."""
        return obj is None and super().has_change_permission(request, obj)


@admin.register(Success)
class TaskAdmin(FinishedTaskAdmin):
    """Tasks that succeeded; registered for `Task`, all that have finished."""

    list_display = ("name", "group", "func", "cluster", "started", "stopped", "time_taken")

    @column(_("Time Taken"))
    def time_taken(self, task: Task) -> float:
        """Seconds from the task's queueing to its end."""
        return task.time_taken()


@admin.register(Failure)
class FailAdmin(FinishedTaskAdmin):
    """Tasks that failed."""

    list_display = ("name", "func", "short_result", "group", "cluster", "started", "stopped")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        """Every failure with the beginning of its result, where the list shows that."""
        rows = super().get_queryset(request)
        if "short_result" not in self.get_list_display(request):
            return rows
        return rows.annotate(result_beginning=Substr("result", 1, BEGINNING))

    @column(_("Short result"))
    def short_result(self, task: Any) -> str | None:
        """The beginning of the reason, if that is a text, without its traceback."""
        if hasattr(task, "result_beginning"):
            text = text_beginning(task.result_beginning)
        else:
            text = text_beginning((stored(task, "result") or "")[:BEGINNING])
        return text and Truncator(text.partition(" : Traceback (most")[0]).chars(100)


def _names(fields: Any) -> list[str]:
    return [field.name for field in fields]


def _readable(fields: Any) -> list[Any]:
    """The fields of a fieldset; those that share a line are a list of their own."""
    return [
        SHOWN_AS.get(field, field) if isinstance(field, str) else _readable(field)
        for field in fields
    ]
