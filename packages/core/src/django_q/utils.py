"""Small helpers that 1.x offered to its users: dates, time zone, function names."""

from __future__ import annotations

import calendar
from datetime import date, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from django import db
from django.conf import settings
from django.utils import timezone

from django_q.conf import get_settings, logger
from django_q.package import func_repr as get_func_repr

__all__ = [
    "ZoneInfo",
    "add_months",
    "add_years",
    "close_old_django_connections",
    "get_func_repr",
    "localtime",
]

Day = TypeVar("Day", bound=date)


def add_months(d: Day, months: int) -> Day:
    """The same day `months` later, or that month's last day where it has no such day."""
    years, month = divmod(d.month - 1 + months, 12)
    year, month = d.year + years, month + 1
    last_day = calendar.monthrange(year, month)[1]
    return d.replace(year=year, month=month, day=min(d.day, last_day))


def add_years(d: Day, years: int) -> Day:
    """The same day `years` later; 29 February becomes 28 where there is none."""
    return add_months(d, 12 * years)


def localtime(value: datetime | None = None) -> datetime:
    """`value`, or now, in the time zone of schedules; without USE_TZ naive local time."""
    if settings.USE_TZ:
        zone = get_settings().time_zone
        return timezone.localtime(value, ZoneInfo(zone) if zone else None)
    return datetime.now() if value is None else value


def close_old_django_connections() -> None:
    """Close stale database connections, unless tasks run in the caller's (`sync`)."""
    if get_settings().sync:
        logger.debug("Database connections are kept: Q_CLUSTER['sync'] runs tasks in the caller.")
        return
    db.close_old_connections()
