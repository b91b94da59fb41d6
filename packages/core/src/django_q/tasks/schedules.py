"""Plans calls for later, and again and again."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, router
from django.utils import timezone

from django_q import package, scheduling
from django_q.errors import TaskRefused
from django_q.models import Schedule
from django_q.readiness import explain_database_errors

DEFAULTS: dict[str, Any] = {
    "name": None,
    "hook": None,
    "schedule_type": Schedule.ONCE,
    "minutes": None,
    "repeats": -1,
    "cron": None,
    "cluster": None,
    "intended_date_kwarg": None,
    "catch_up": None,
}
"""The keywords of `schedule` that describe the schedule; all others go to the function."""


def schedule(func: Any, *args: Any, **kwargs: Any) -> Schedule:
    """Save a schedule that calls `func`, a dotted path or a function that has one.

    Options: name, hook, schedule_type, minutes, repeats, next_run, cron, cluster,
    intended_date_kwarg, catch_up; `q_options`, a dict, goes to each of its tasks. The arguments
    are kept as text, so they must be literals.
    """
    fields = {key: kwargs.pop(key, default) for key, default in DEFAULTS.items()}
    next_run = kwargs.pop("next_run", None)
    if fields["cron"] and fields["schedule_type"] == Schedule.DAILY:
        # One manual writes `schedule_type="D", cron="0 8 * * *"`, and means at eight.
        fields["schedule_type"] = Schedule.CRON
    planned = Schedule(
        **fields | {"hook": _dotted(fields["hook"])},
        func=_dotted(func),
        args=str(args),
        kwargs=str(kwargs),
        next_run=timezone.now() if next_run is None else _moment(next_run),
    )
    _refuse_unreadable(planned)
    with explain_database_errors(router.db_for_write(Schedule)):
        _refuse_taken(planned.name)
        planned.full_clean()
        planned.save()
    return planned


def _dotted(func: Any) -> Any:
    """The path by which a worker can find it again."""
    if not callable(func):
        return func
    path = package.func_repr(func)
    if path is None or "<" in path:
        raise TaskRefused(
            f"a schedule needs the dotted path of a function, such as 'shop.tasks.send_invoices'; "
            f"{func!r} has none."
        )
    return path


def _moment(next_run: Any) -> Any:
    """A datetime, also that of an Arrow; the model's field reads texts."""
    return getattr(next_run, "datetime", next_run)


def _refuse_unreadable(planned: Schedule) -> None:
    """Better now and to the caller than at three in the morning and to a log."""
    try:
        scheduling.arguments(planned)
    except ValueError as error:
        raise TaskRefused(str(error)) from error


def _refuse_taken(name: str | None) -> None:
    """Names are unique here and not in the table, where Django Q never had them so."""
    using = router.db_for_write(Schedule)
    if name and Schedule.objects.using(using).filter(name=name).exists():
        raise IntegrityError(f"a schedule named {name!r} exists already; choose another name.")
