"""What is queued later, and again and again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from django_q import cron, scheduling
from django_q.conf import get_settings
from django_q.errors import ConfigurationError
from django_q.models.columns import column
from django_q.models.tasks import TASK_ID_LENGTH, Task

if TYPE_CHECKING:
    from django_q.models.columns import Text


def validate_cron(value: str) -> None:
    """Refuse what croniter cannot read, and what will never be due."""
    try:
        cron.check(value, since=timezone.now().replace(tzinfo=None))
    except (ValueError, ConfigurationError) as error:
        raise ValidationError("%(reason)s", params={"reason": error}) from error


def validate_kwarg(value: str) -> None:
    """Refuse what no function could take as the name of a keyword argument."""
    if not value.isidentifier() or iskeyword(value):
        raise ValidationError(
            _("%(value)r is not the name of a keyword argument; use one such as 'run_at'."),
            params={"value": value},
        )


def link_to_task(task_id: str, name: str, success: bool) -> str:
    """A link to a task in the admin; its name alone on a site without."""
    page = "success" if success else "failure"
    try:
        url = reverse(f"admin:django_q_{page}_change", args=(task_id,))
    except (NoReverseMatch, AttributeError):  # a site without an admin, or without any URL
        return f"[{name}]"
    return format_html('<a href="{}">[{}]</a>', url, name)


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
    seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        verbose_name=_("Seconds"),
        help_text=_("How many seconds lie between two runs of type Minutes; wins over minutes."),
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
    declaration = models.CharField(
        max_length=64,
        null=True,
        blank=True,
        editable=False,
        verbose_name=_("Declaration"),
        help_text=_("The digest of the @schedule that declares it; empty for all others."),
    )

    paused_repeats = models.IntegerField(
        null=True,
        blank=True,
        editable=False,
        verbose_name=_("Repeats before the pause"),
        help_text=_("How many runs are left once it is resumed; empty unless it is paused."),
    )

    class Meta:
        app_label = "django_q"
        verbose_name = _("Scheduled task")
        verbose_name_plural = _("Scheduled tasks")
        ordering = ["next_run"]
        indexes = [models.Index(name="django_q_schedule_next_run", fields=["next_run"])]

    def __str__(self) -> str:
        return self.func

    def clean(self) -> None:
        """Refuse what could never be queued; `save` alone takes it, as it takes old rows."""
        # Not by field: a form that leaves a field out could not show its error.
        errors: list[Any] = [*self._unreadable(), *self._mistimed()]
        if errors:
            raise ValidationError(errors)

    def _unreadable(self) -> Iterator[str]:
        try:
            scheduling.arguments(self)
        except ValueError as error:
            yield str(error)

    def _mistimed(self) -> Iterator[Text]:
        if self.seconds is not None:
            if self.schedule_type != self.MINUTES:
                yield _("Seconds are for the type Minutes: choose that, or leave them empty.")
            elif self.seconds == 0:
                yield _("Seconds must be 1 or more.")
        elif self.schedule_type == self.MINUTES and self.minutes == 0:
            yield _("Minutes must be 1 or more.")
        if self.schedule_type == self.CRON and not self.cron:
            yield _("The type Cron needs a cron expression, such as '*/5 * * * *'.")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a new cron schedule is first due when its expression says so."""
        if self.pk is None and self.schedule_type == self.CRON:
            self.next_run = self.calculate_next_run(timezone.now())
        self.error = None  # Whoever saves it has looked at it; it is tried again.
        if self.repeats != 0:
            self.paused_repeats = None
        super().save(*args, **kwargs)

    def calculate_next_run(self, next_run: datetime | None = None) -> datetime | None:
        """The occurrence after `next_run`, or after the one now due; None: there is no other."""
        return scheduling.next_run(
            self.schedule_type,
            next_run or self.next_run or timezone.now(),
            minutes=self.minutes,
            seconds=self.seconds,
            cron=self.cron,
            zone=get_settings().time_zone,
        )

    @property
    def is_paused(self) -> bool:
        """Was it paused to be resumed, rather than run as often as it should?"""
        return self.repeats == 0 and self.paused_repeats is not None

    @column(_("success"), boolean=True)
    def success(self) -> bool | None:
        """Did the latest run succeed? None while nothing is known."""
        success: bool | None = self._latest("success")
        return success

    @column(_("Last run"))
    def last_run(self) -> str | None:
        """A link to the latest run's task; its name alone on a site without the admin."""
        found: tuple[str, str, bool] | None = self._latest("id", "name", "success")
        if found is None:
            return None
        return link_to_task(*found)

    def _latest(self, *fields: str) -> Any:
        if not self.task:
            return None
        return (
            Task.objects.filter(id=self.task)
            .values_list(*fields, flat=len(fields) == 1)
            .order_by()
            .first()
        )
