"""Finished tasks."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Case, IntegerField, Q, QuerySet, When
from django.utils.translation import gettext_lazy as _
from picklefield.fields import PickledObjectField

TASK_ID_LENGTH = 32


class Task(models.Model):
    """A finished task: its first failure, its latest failure or its success."""

    id = models.CharField(
        max_length=TASK_ID_LENGTH,
        primary_key=True,
        editable=False,
        verbose_name=_("Task id"),
        help_text=_("Identifies the task: 32 hexadecimal characters."),
    )
    name = models.CharField(
        max_length=100,
        editable=False,
        verbose_name=_("Name"),
        help_text=_("A readable name; not necessarily unique."),
    )
    func = models.CharField(
        max_length=256,
        verbose_name=_("Function"),
        help_text=_("Dotted path of what was called."),
    )
    hook = models.CharField(
        max_length=256,
        null=True,
        verbose_name=_("Hook"),
        help_text=_("Dotted path of what was called with the finished task."),
    )
    args = PickledObjectField(
        null=True,
        protocol=-1,
        verbose_name=_("Arguments"),
        help_text=_("The positional arguments, pickled."),
    )
    kwargs = PickledObjectField(
        null=True,
        protocol=-1,
        verbose_name=_("Keyword arguments"),
        help_text=_("The keyword arguments, pickled."),
    )
    result = PickledObjectField(
        null=True,
        protocol=-1,
        verbose_name=_("Result"),
        help_text=_("What the function returned, or why it failed; pickled."),
    )
    group = models.CharField(
        max_length=100,
        editable=False,
        null=True,
        verbose_name=_("Group"),
        help_text=_("The group that the task was queued in, if any."),
    )
    cluster = models.CharField(
        max_length=100,
        default=None,
        null=True,
        blank=True,
        verbose_name=_("Cluster"),
        help_text=_("The cluster that ran the task."),
    )
    options = PickledObjectField(
        null=True,
        protocol=-1,
        editable=False,
        verbose_name=_("Options"),
        help_text=_("What else it was queued with: timeout, chain, …; empty for none."),
    )
    started = models.DateTimeField(
        editable=False,
        verbose_name=_("Started at"),
        help_text=_("When the task was queued."),
    )
    stopped = models.DateTimeField(
        editable=False,
        verbose_name=_("Stopped at"),
        help_text=_("When its latest attempt ended."),
    )
    success = models.BooleanField(
        default=True,
        editable=False,
        verbose_name=_("Success"),
        help_text=_("Did the latest attempt succeed?"),
    )
    attempt_count = models.IntegerField(
        default=0,
        verbose_name=_("Attempt count"),
        help_text=_("How many attempts have ended."),
    )
    worker_deaths = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        verbose_name=_("Worker deaths"),
        help_text=_("How many attempts ended with the death of their worker."),
    )

    class Meta:
        app_label = "django_q"
        verbose_name = _("Task")
        verbose_name_plural = _("Tasks")
        ordering = ["-stopped"]
        indexes = [
            models.Index(name="django_q_task_stopped", fields=["stopped"]),
            models.Index(name="django_q_task_success", fields=["success", "stopped"]),
            models.Index(name="django_q_task_group", fields=["group"]),
            models.Index(name="django_q_task_name", fields=["name"]),
        ]

    def __str__(self) -> str:
        return f"{self.name or self.id}"

    @staticmethod
    def get_task(task_id: str) -> Task | None:
        """The task with this id or, failing that, the newest with this name."""
        return _by_id_or_name(task_id).first()

    @staticmethod
    def get_result(task_id: str) -> Any:
        """The result of the task with this id or name; None when there is none."""
        return _by_id_or_name(task_id).values_list("result", flat=True).first()

    @staticmethod
    def get_task_group(group_id: str, failures: bool = True) -> QuerySet[Task]:
        tasks = Task.objects.filter(group=group_id)
        return tasks if failures else tasks.exclude(success=False)

    @staticmethod
    def get_result_group(group_id: str, failures: bool = False) -> QuerySet[Task, Any]:
        return Task.get_task_group(group_id, failures).values_list("result", flat=True)

    @staticmethod
    def get_group_count(group_id: str, failures: bool = False) -> int:
        """How many tasks of the group have finished or, with `failures`, have failed."""
        if failures:
            return Failure.objects.filter(group=group_id).count()
        return Task.objects.filter(group=group_id).count()

    @staticmethod
    def delete_group(group_id: str, objects: bool = False) -> Any:
        """Take the group's label off its tasks or, with `objects`, delete them."""
        tasks = Task.objects.filter(group=group_id)
        return tasks.delete() if objects else tasks.update(group=None)

    def group_result(self, failures: bool = False) -> QuerySet[Task, Any] | None:
        return self.get_result_group(self.group, failures) if self.group else None

    def group_count(self, failures: bool = False) -> int | None:
        return self.get_group_count(self.group, failures) if self.group else None

    def group_delete(self, tasks: bool = False) -> Any:
        return self.delete_group(self.group, tasks) if self.group else None

    def time_taken(self) -> float:
        """Seconds from the task's queueing to its end."""
        return (self.stopped - self.started).total_seconds()


def _by_id_or_name(task_id: str) -> QuerySet[Task]:
    """One query for both, since a waiting `result()` asks again and again."""
    if len(task_id) != TASK_ID_LENGTH:
        return Task.objects.filter(name=task_id).order_by("-stopped", "-id")
    id_first = Case(When(pk=task_id, then=0), default=1, output_field=IntegerField())
    return Task.objects.filter(Q(pk=task_id) | Q(name=task_id)).order_by(
        id_first, "-stopped", "-id"
    )


class SuccessManager(models.Manager["Success"]):
    """Tasks whose latest attempt succeeded."""

    def get_queryset(self) -> QuerySet[Success]:
        return super().get_queryset().filter(success=True)


class Success(Task):
    """A task that succeeded."""

    objects: ClassVar = SuccessManager()

    class Meta:
        app_label = "django_q"
        verbose_name = _("Successful task")
        verbose_name_plural = _("Successful tasks")
        ordering = ["-stopped"]
        proxy = True


class FailureManager(models.Manager["Failure"]):
    """Tasks whose latest attempt failed."""

    def get_queryset(self) -> QuerySet[Failure]:
        return super().get_queryset().filter(success=False)


class Failure(Task):
    """A task that failed."""

    objects: ClassVar = FailureManager()

    class Meta:
        app_label = "django_q"
        verbose_name = _("Failed task")
        verbose_name_plural = _("Failed tasks")
        ordering = ["-stopped"]
        proxy = True
