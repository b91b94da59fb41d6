"""The ORM broker's queue."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_q import package
from django_q.models.columns import column


class TooLong(Exception):
    """A payload that is not read for a list."""


class OrmQ(models.Model):
    """A package in the ORM broker's queue."""

    id = models.AutoField(primary_key=True, verbose_name="ID")
    key = models.CharField(
        max_length=100,
        verbose_name=_("Cluster key"),
        help_text=_("The queue: the name of the cluster that shall run it."),
    )
    payload = models.TextField(
        verbose_name=_("Payload"),
        help_text=_("The signed package; any change makes it worthless."),
    )
    lock = models.DateTimeField(
        null=True,
        verbose_name=_("Lock until"),
        help_text=_("No cluster takes it before this time."),
    )
    priority = models.SmallIntegerField(
        default=0,
        db_default=0,
        verbose_name=_("Priority"),
        help_text=_("Higher ones are taken first."),
    )
    claim = models.BigIntegerField(
        null=True,
        editable=False,
        verbose_name=_("Claim"),
        help_text=_("The number of the claim that holds it; empty while nobody does."),
    )
    lapses = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        verbose_name=_("Lapses"),
        help_text=_("How many claims ended without a word."),
    )
    attempts = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        verbose_name=_("Attempts"),
        help_text=_("How many failed attempts were recorded."),
    )

    class Meta:
        app_label = "django_q"
        verbose_name = _("Queued task")
        verbose_name_plural = _("Queued tasks")
        indexes = [models.Index(name="django_q_ormq_key", fields=["key", "priority", "lock"])]

    def __str__(self) -> str:
        return f"{self.key} {self.pk}"

    @cached_property
    def task(self) -> dict[str, Any]:
        """What the package says of itself, read without running anything that is in it."""
        try:
            return dict(package.inspect(self._loaded_payload()))
        except Exception as error:  # whatever lies in the queue, the row must be shown
            return {"id": f"*{type(error).__name__}"}

    def _loaded_payload(self) -> str:
        """A list of many asks for payloads as `short_payload`, which is None for long ones."""
        if "short_payload" not in self.__dict__:
            return self.payload
        if self.__dict__["short_payload"] is None:
            raise TooLong
        return str(self.__dict__["short_payload"])

    @column(_("Function"))
    def func(self) -> str | None:
        return package.func_repr(self.task.get("func"))

    @column(_("Task id"))
    def task_id(self) -> str | None:
        return self.task.get("id")

    @column(_("Name"))
    def name(self) -> str | None:
        return self.task.get("name")

    @column(_("Group"))
    def group(self) -> str | None:
        return self.task.get("group")

    @column(_("Arguments"))
    def args(self) -> Any:
        return self.task.get("args")

    @column(_("Keyword arguments"))
    def kwargs(self) -> Any:
        return self.task.get("kwargs")

    @column(_("Queue options"))
    def q_options(self) -> dict[str, Any]:
        shown_elsewhere = {"id", "name", "group", "func", "args", "kwargs"}
        return {key: value for key, value in self.task.items() if key not in shown_elsewhere}
