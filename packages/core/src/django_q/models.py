"""The tables: finished tasks, schedules, the ORM broker's queue, and the engine's small ledgers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Case, IntegerField, Q, QuerySet, When
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from picklefield.fields import PickledObjectField

from django_q import package, scheduling
from django_q.conf import get_settings

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    Text = str | _StrPromise

TASK_ID_LENGTH = 32
Method = TypeVar("Method", bound=Callable[..., Any])


def _column(title: Text, *, boolean: bool = False) -> Callable[[Method], Method]:
    """Name a method's column in the admin, which this module must not import."""

    def describe(method: Method) -> Method:
        method.short_description = title  # type: ignore[attr-defined]
        if boolean:
            method.boolean = True  # type: ignore[attr-defined]
        return method

    return describe


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


def validate_cron(value: str) -> None:
    """Refuse what croniter cannot read."""
    try:
        from croniter import croniter  # optional: the `cron` extra
    except ModuleNotFoundError:
        raise ValidationError(
            _('Cron expressions need croniter: pip install "django-q-core[cron]".')
        ) from None
    try:
        croniter.expand(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValidationError(
            _("%(value)r is not a cron expression such as '*/5 * * * *': %(reason)s"),
            params={"value": value, "reason": error},
        ) from error


def validate_kwarg(value: str) -> None:
    """Refuse what no function could take as the name of a keyword argument."""
    if not value.isidentifier() or iskeyword(value):
        raise ValidationError(
            _("%(value)r is not the name of a keyword argument; use one such as 'run_at'."),
            params={"value": value},
        )


class Schedule(models.Model):
    """What to queue, how often, and when next."""

    ONCE = "O"
    MINUTES = "I"
    HOURLY = "H"
    DAILY = "D"
    WEEKLY = "W"
    BIWEEKLY = "BW"
    MONTHLY = "M"
    BIMONTHLY = "BM"
    QUARTERLY = "Q"
    YEARLY = "Y"
    CRON = "C"
    TYPE: ClassVar = (
        (ONCE, _("Once")),
        (MINUTES, _("Minutes")),
        (HOURLY, _("Hourly")),
        (DAILY, _("Daily")),
        (WEEKLY, _("Weekly")),
        (BIWEEKLY, _("Biweekly")),
        (MONTHLY, _("Monthly")),
        (BIMONTHLY, _("Bimonthly")),
        (QUARTERLY, _("Quarterly")),
        (YEARLY, _("Yearly")),
        (CRON, _("Cron")),
    )

    id = models.AutoField(primary_key=True, verbose_name="ID")
    name = models.CharField(
        max_length=100,
        null=True,
        blank=True,
        verbose_name=_("Name"),
        help_text=_("A label for you; it also becomes the group of the tasks."),
    )
    func = models.CharField(
        max_length=256,
        verbose_name=_("Function"),
        help_text=_("Dotted path of what to call: shop.tasks.send_invoices"),
    )
    hook = models.CharField(
        max_length=256,
        null=True,
        blank=True,
        verbose_name=_("Hook"),
        help_text=_("Dotted path of what to call with the finished task."),
    )
    args = models.TextField(
        null=True,
        blank=True,
        verbose_name=_("Arguments"),
        help_text=_("Python literals: 1, 'two', [3]"),
    )
    kwargs = models.TextField(
        null=True,
        blank=True,
        verbose_name=_("Keyword arguments"),
        help_text=_("Python literals by name: x=1, y='two'"),
    )
    schedule_type = models.CharField(
        max_length=2,
        choices=TYPE,
        default=ONCE,
        verbose_name=_("Schedule Type"),
        help_text=_("How often to queue it."),
    )
    minutes = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        verbose_name=_("Minutes"),
        help_text=_("How many minutes lie between two runs of type Minutes."),
    )
    repeats = models.IntegerField(
        default=-1,
        verbose_name=_("Repeats"),
        help_text=_("How many runs are left; 0 pauses, a negative number means for ever."),
    )
    next_run = models.DateTimeField(
        default=timezone.now,
        null=True,
        verbose_name=_("Next Run"),
        help_text=_("When it is due next."),
    )
    cron = models.CharField(
        max_length=100,
        null=True,
        blank=True,
        validators=[validate_cron],
        verbose_name=_("Cron"),
        help_text=_("A cron expression, for type Cron: 0 22 * * 1-5"),
    )
    task = models.CharField(
        max_length=100,
        null=True,
        editable=False,
        verbose_name=_("Last task id"),
        help_text=_("The task of the latest run."),
    )
    cluster = models.CharField(
        max_length=100,
        default=None,
        null=True,
        blank=True,
        verbose_name=_("Cluster"),
        help_text=_("The cluster that shall run it; empty for the default one."),
    )
    intended_date_kwarg = models.CharField(
        max_length=100,
        null=True,
        blank=True,
        validators=[validate_kwarg],
        verbose_name=_("Intended date kwarg"),
        help_text=_("Keyword argument in which the function receives the date it was due."),
    )
    catch_up = models.BooleanField(
        null=True,
        blank=True,
        verbose_name=_("Catch up"),
        help_text=_("Run occurrences that were missed? Unknown: as the cluster is set."),
    )
    error = models.TextField(
        null=True,
        blank=True,
        editable=False,
        verbose_name=_("Error"),
        help_text=_("Why the schedule could not be queued when it was last due."),
    )
    occurrence = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        verbose_name=_("Occurrence"),
        help_text=_("The run that is being queued at this moment."),
    )
    occurrence_task = models.CharField(
        max_length=TASK_ID_LENGTH,
        null=True,
        blank=True,
        editable=False,
        verbose_name=_("Occurrence's task id"),
        help_text=_("The task id of the run that is being queued."),
    )

    class Meta:
        app_label = "django_q"
        verbose_name = _("Scheduled task")
        verbose_name_plural = _("Scheduled tasks")
        ordering = ["next_run"]
        indexes = [models.Index(name="django_q_schedule_next_run", fields=["next_run"])]

    def __str__(self) -> str:
        return self.func

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a new cron schedule is first due when its expression says so."""
        if self.pk is None and self.schedule_type == self.CRON:
            self.next_run = self.calculate_next_run(timezone.now())
        self.error = None  # Whoever saves it has looked at it; it is tried again.
        super().save(*args, **kwargs)

    def calculate_next_run(self, next_run: datetime | None = None) -> datetime | None:
        """The occurrence after `next_run`, or after the one now due; None: there is no other."""
        return scheduling.next_run(
            self.schedule_type,
            next_run or self.next_run or timezone.now(),
            minutes=self.minutes,
            cron=self.cron,
            zone=get_settings().time_zone,
        )

    @_column(_("success"), boolean=True)
    def success(self) -> bool | None:
        """Did the latest run succeed? None while nothing is known."""
        success: bool | None = self._latest("success")
        return success

    @_column(_("last_run"))
    def last_run(self) -> str | None:
        """A link to the latest run's task; its name alone on a site without the admin."""
        found: tuple[str, str, bool] | None = self._latest("id", "name", "success")
        if found is None:
            return None
        task_id, name, success = found
        page = "success" if success else "failure"
        try:
            url = reverse(f"admin:django_q_{page}_change", args=(task_id,))
        except (NoReverseMatch, AttributeError):  # a site without an admin, or without any URL
            return f"[{name}]"
        return format_html('<a href="{}">[{}]</a>', url, name)

    def _latest(self, *fields: str) -> Any:
        if not self.task:
            return None
        return (
            Task.objects.filter(id=self.task)
            .values_list(*fields, flat=len(fields) == 1)
            .order_by()
            .first()
        )


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
            return dict(package.inspect(self.payload))
        except Exception as error:  # whatever lies in the queue, the row must be shown
            return {"id": f"*{type(error).__name__}"}

    @_column(_("Function"))
    def func(self) -> str | None:
        return package.func_repr(self.task.get("func"))

    @_column(_("Task id"))
    def task_id(self) -> str | None:
        return self.task.get("id")

    @_column(_("Name"))
    def name(self) -> str | None:
        return self.task.get("name")

    @_column(_("Group"))
    def group(self) -> str | None:
        return self.task.get("group")

    @_column(_("Arguments"))
    def args(self) -> Any:
        return self.task.get("args")

    @_column(_("Keyword arguments"))
    def kwargs(self) -> Any:
        return self.task.get("kwargs")

    @_column(_("Queue options"))
    def q_options(self) -> dict[str, Any]:
        shown_elsewhere = {"id", "name", "group", "func", "args", "kwargs"}
        return {key: value for key, value in self.task.items() if key not in shown_elsewhere}


class IterItem(models.Model):
    """One finished item of an `async_iter`, kept until all of its items have finished."""

    task_id = models.CharField(max_length=TASK_ID_LENGTH, primary_key=True)
    group = models.CharField(max_length=100)
    index = models.IntegerField()
    success = models.BooleanField()
    args = models.TextField(null=True)
    result = models.TextField(null=True)
    created = models.DateTimeField()

    class Meta:
        app_label = "django_q"
        verbose_name = _("Finished item")
        verbose_name_plural = _("Finished items")
        indexes = [models.Index(name="django_q_iteritem_group", fields=["group", "index"])]

    def __str__(self) -> str:
        return f"{self.group} {self.index}"


class ClusterStatus(models.Model):
    """The latest report of a running cluster, for sites without a shared cache."""

    key = models.CharField(max_length=150, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField()

    class Meta:
        app_label = "django_q"
        verbose_name = _("Cluster status")
        verbose_name_plural = _("Cluster statuses")

    def __str__(self) -> str:
        return self.key
