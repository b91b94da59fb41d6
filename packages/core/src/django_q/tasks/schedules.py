"""Plans calls for later, and again and again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import isfunction
from typing import Any, TypeVar, Unpack, overload

from django.db import IntegrityError, router
from django.utils import timezone

from django_q import scheduling
from django_q.errors import TaskRefused
from django_q.models import Schedule
from django_q.readiness import explain_database_errors
from django_q.tasks.declarations import Options, declare, dotted
from django_q.tasks.timing import moment, timing, warn_of_ignored_cron, whole

Function = TypeVar("Function", bound=Callable[..., Any])

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


@overload
def schedule(**options: Unpack[Options]) -> Callable[[Function], Function]: ...


@overload
def schedule(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Schedule: ...


# The default is no None, which is what a setting that is missing would pass.
def schedule(func: Any = ..., *args: Any, **kwargs: Any) -> Any:
    """Save a schedule that calls `func`, a dotted path or a function that has one.

    Options: name, hook, schedule_type, minutes, repeats, next_run, cron, cluster,
    intended_date_kwarg, catch_up, and with `schedule_type="I"` seconds; `q_options`, a dict, goes
    to each of its tasks. The arguments are kept as text, so they must be literals.

    Without `func` it is a decorator, `@schedule(cron="0 8 * * *")`, which declares a schedule of
    the function beneath it; `migrate` and `qschedules sync` save what is declared.
    """
    if func is ...:
        return declare(**kwargs)
    if not args and not kwargs:
        _refuse_bare_decorator(func)
    return _save(func, args, kwargs)


def _refuse_bare_decorator(func: Any) -> None:
    """A function that its own module does not know yet is being defined at this moment."""
    if not isfunction(func) or func.__qualname__ != func.__name__:
        return
    module = sys.modules.get(func.__module__)
    if module is not None and not hasattr(module, func.__name__):
        raise TaskRefused(
            f"@schedule on {func.__module__}.{func.__name__} needs parentheses that say when it "
            'runs: write @schedule(...), such as @schedule(cron="0 8 * * *").'
        )


def _save(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Schedule:
    fields = {key: kwargs.pop(key, default) for key, default in DEFAULTS.items()}
    next_run = kwargs.pop("next_run", None)
    fields |= _timing(fields, kwargs)
    planned = Schedule(
        **fields | {"hook": dotted(fields["hook"]), "repeats": whole("repeats", fields["repeats"])},
        func=dotted(func),
        args=str(args),
        kwargs=str(kwargs),
        next_run=timezone.now() if next_run is None else moment(next_run),
    )
    _refuse_unreadable(planned)
    with explain_database_errors(router.db_for_write(Schedule)):
        _refuse_taken(planned.name)
        planned.full_clean()
        planned.save()
    return planned


def _timing(fields: dict[str, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """`seconds` is the function's own, as in Django Q2, unless the type is MINUTES."""
    schedule_type, cron = fields["schedule_type"], fields["cron"]
    seconds = kwargs.pop("seconds", None) if schedule_type == Schedule.MINUTES else None
    warn_of_ignored_cron(schedule_type, cron)
    return timing(schedule_type, minutes=fields["minutes"], seconds=seconds, cron=cron)


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
