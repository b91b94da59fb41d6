"""Reads what users write about when a schedule runs, and refuses what cannot be meant."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, time
from importlib.util import find_spec
from math import ceil
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from django_q import cron as crons
from django_q.conf import logger
from django_q.models import Schedule, validate_cron
from django_q.scheduling import TYPES

TAKE_CRON = (Schedule.HOURLY, Schedule.DAILY, Schedule.WEEKLY, Schedule.MONTHLY)
"""Types that take their times from a cron expression, if one is given that fits."""

LONGEST_MINUTES = 32_767
"""What the column holds on every database."""


def timing(
    schedule_type: Any, *, minutes: Any = None, seconds: Any = None, cron: Any = None
) -> dict[str, Any]:
    """The columns that say when a schedule runs; ValidationError names what cannot be meant."""
    if schedule_type not in TYPES:
        raise ValidationError(
            {
                "schedule_type": f"{schedule_type!r} is no type of schedule; "
                f"expected one of {', '.join(map(repr, TYPES))}."
            }
        )
    if cron and schedule_type in TAKE_CRON:
        _refuse_misfit(schedule_type, cron)
        schedule_type = Schedule.CRON
    if schedule_type == Schedule.MINUTES:
        minutes, seconds = _steps(minutes, seconds)
    return {"schedule_type": schedule_type, "minutes": minutes, "seconds": seconds, "cron": cron}


def warn_of_ignored_cron(schedule_type: Any, cron: Any) -> None:
    """Django Q2 keeps an expression that its type has no use for, and says nothing."""
    if cron and schedule_type != Schedule.CRON and schedule_type not in TAKE_CRON:
        logger.warning(
            "schedule(): cron=%r is ignored, since schedule_type is %r; use 'C'",
            cron, schedule_type,
        )  # fmt: skip


def whole(field: str, value: Any, least: int | None = None) -> int:
    """The whole number that was given, perhaps as text."""
    number: int | None = None
    with suppress(TypeError, ValueError, OverflowError):
        number = int(value)
    is_whole = number is not None and (number == value or str(number) == str(value).strip())
    if number is None or not is_whole or (least is not None and number < least):
        wanted = "a whole number" if least is None else f"a whole number, {least} or more"
        raise ValidationError({field: f"{field} must be {wanted}, not {value!r}."})
    return number


def moment(next_run: Any) -> datetime:
    """What was given as `next_run`, with a time zone where the site uses them.

    A datetime, a date, an Arrow, or a text; Django's default time zone holds where none is said.
    """
    found = getattr(next_run, "datetime", next_run)  # that of an Arrow
    if isinstance(found, str):
        found = _parsed(found)
    elif isinstance(found, date) and not isinstance(found, datetime):
        found = datetime.combine(found, time.min)
    if not isinstance(found, datetime):
        raise ValidationError(
            {
                "next_run": f"next_run must be a datetime, or a text such as "
                f"'2030-01-31 18:00', not {next_run!r}."
            }
        )
    if settings.USE_TZ:
        return timezone.make_aware(found) if timezone.is_naive(found) else found
    return found if timezone.is_naive(found) else timezone.make_naive(found)


def _parsed(text: str) -> datetime | None:
    try:
        return parse_datetime(text.strip())
    except ValueError:  # well written, but there is no 31st of February
        return None


def _refuse_misfit(schedule_type: str, cron: Any) -> None:
    if find_spec("croniter") is None:
        return  # the model's own validator says what to install
    try:
        validate_cron(cron)
    except ValidationError as error:
        raise ValidationError({"cron": error}) from error
    why = crons.misfit(schedule_type, cron)
    if why is not None:
        raise ValidationError({"cron": why})


def _steps(minutes: Any, seconds: Any) -> tuple[int | None, int | None]:
    if seconds is None:
        return (None if minutes is None else whole("minutes", minutes, least=1)), None
    if minutes is not None:
        raise ValidationError(
            {
                "seconds": f"minutes={minutes!r} and seconds={seconds!r} are both given; "
                "give one of them."
            }
        )
    seconds = whole("seconds", seconds, least=1)
    # For a scheduler of Django Q2 on the same table: it knows minutes only, and fails without.
    return min(ceil(seconds / 60), LONGEST_MINUTES), seconds
