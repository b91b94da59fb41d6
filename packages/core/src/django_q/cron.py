"""Reads cron expressions: when they are due on a clock without switches, and how often.

Five fields are minute, hour, day of month, month, day of week; a sixth counts seconds, a seventh
names years. `@daily` and the like are read as croniter reads them.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django_q.errors import ConfigurationError

FIELDS = ("minute", "hour", "day of month", "month", "day of week", "second", "year")
MINUTE, HOUR, DAY, MONTH, WEEKDAY, SECOND, YEAR = range(7)
EVERY = ["*"]
YEARS_TO_SEARCH = 130
"""croniter's own 50 hide the years from 2077 on that a seventh field may name."""
BEFORE_ALL_YEARS = datetime(1969, 12, 31)


@dataclass(frozen=True)
class Expression:
    """A cron expression that croniter could read."""

    text: str
    fields: list[list[Any]]  # of numbers, "*" and "l", as croniter expands them
    nth_weekdays: dict[Any, set[Any]]
    search: Any  # a croniter

    def after(self, wall: datetime) -> datetime | None:
        """The first time after `wall`, both naive; None once the years it names are over."""
        search = copy(self.search)  # a croniter remembers where it is: one for each thread
        search.set_current(wall.replace(microsecond=0), force=True)
        try:
            found: datetime = search.get_next(datetime)
        except (ValueError, OverflowError) as error:
            if self.has_years:
                return None
            raise ValueError(f"cron expression {self.text!r} is never due: {error}") from error
        return found

    @property
    def is_of_every_hour(self) -> bool:
        return self.fields[HOUR] == EVERY

    @property
    def has_years(self) -> bool:
        return len(self.fields) > YEAR

    def is_every(self, *fields: int) -> bool:
        return all(self.fields[field] == EVERY for field in fields)

    def has_one(self, *fields: int) -> bool:
        """Does each of these fields name a single value?"""
        return all(len(self.fields[field]) == 1 and not self.is_every(field) for field in fields)


def read(text: str | None) -> Expression:
    """Raises ValueError for what is none, and ConfigurationError where croniter is missing."""
    croniter = _croniter()
    if not text:
        raise ValueError("a schedule of type CRON needs a cron expression such as '*/5 * * * *'.")
    return _read(croniter, text)


@lru_cache(maxsize=1024)
def _read(croniter: Any, text: str) -> Expression:
    if any(field.startswith(("h", "r")) for field in text.lower().split()):
        raise ValueError(
            f"cron expression {text!r} leaves a time to chance (H or R), on which clusters could "
            "not agree; write the numbers."
        )
    try:
        fields, nth_weekdays = croniter.expand(text)
        search = croniter(
            text, BEFORE_ALL_YEARS, datetime, max_years_between_matches=YEARS_TO_SEARCH
        )
    except (ValueError, AttributeError, TypeError, LookupError) as error:
        raise ValueError(
            f"{text!r} is no cron expression such as '*/5 * * * *': {error}"
        ) from error
    return Expression(text, fields, nth_weekdays, search)


def _croniter() -> Any:
    try:
        from croniter import croniter  # the `cron` extra
    except ModuleNotFoundError:
        raise ConfigurationError(
            "Cron schedules need croniter, which is not installed: "
            'pip install "django-q-core[cron]".'
        ) from None
    return croniter


def check(text: str | None, since: datetime = BEFORE_ALL_YEARS) -> None:
    """Refuse, by ValueError, what is no cron expression or not due after `since`, a naive time.

    `0 0 31 2 *` is due at no time at all, `0 8 * * * 0 2020` only in a year that is over.
    """
    if read(text).after(since) is None:
        raise ValueError(f"cron expression {text!r} is never due: the years it names are over.")


# How often

_EXAMPLES = {
    "H": ("once an hour", "30 * * * *"),
    "D": ("once a day", "0 8 * * *"),
    "W": ("once a week", "0 8 * * 1"),
    "M": ("once a month", "0 8 1 * *"),
}


def misfit(schedule_type: str, expression: str) -> str | None:
    """Why a schedule of this type cannot take its times from the expression; None if it can.

    Raises ValueError for what is no cron expression.
    """
    cron = read(expression)
    if schedule_type == "C":
        return None
    if schedule_type not in _EXAMPLES:
        return (
            f"a schedule of type {schedule_type!r} takes no cron expression, but got "
            f"{expression!r}; use one of type 'C', 'H', 'D', 'W' or 'M'."
        )
    wrong = _field_that_does_not_fit(schedule_type, cron)
    if wrong is None:
        return None
    how_often, example = _EXAMPLES[schedule_type]
    return (
        f"a schedule of type {schedule_type!r} needs a cron expression that is due exactly "
        f"{how_often}, such as {example!r}; the {FIELDS[wrong]} of {expression!r} is not fit for "
        "that. Use type 'C' to run whenever the expression says."
    )


def _field_that_does_not_fit(schedule_type: str, cron: Expression) -> int | None:
    days = {"W": WEEKDAY, "M": DAY}.get(schedule_type)
    if schedule_type == "M" and cron.nth_weekdays:
        days = WEEKDAY
    single = {MINUTE, SECOND} | ({HOUR} if schedule_type != "H" else set())
    for field in range(len(cron.fields)):
        if field == days:
            fits = _is_one_day(schedule_type, cron)
        elif field in single:
            fits = cron.has_one(field)
        else:
            fits = cron.is_every(field)
        if not fits:
            return field
    return None


def _is_one_day(schedule_type: str, cron: Expression) -> bool:
    """One that each week, or each month, has."""
    if schedule_type == "W":
        return cron.has_one(WEEKDAY) and not cron.nth_weekdays
    if cron.nth_weekdays:
        turns = [turn for turns in cron.nth_weekdays.values() for turn in turns]
        return cron.has_one(WEEKDAY) and len(turns) == 1 and turns[0] != 5
    return cron.has_one(DAY) and cron.fields[DAY][0] not in (29, 30, 31)
