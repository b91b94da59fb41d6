"""When a schedule is due next, and what it calls: arithmetic and parsing, nothing else.

Wall-clock time is kept over the switches of daylight saving. A time that a switch leaves out
(02:30, when the clock jumps from 02:00 to 03:00) is due as much later as the clock jumped
(03:30), that one time; a time that comes twice is due the first time. MINUTES and HOURLY count
real minutes. A cron expression with `*` for its hour goes by what the clock shows: it runs in the
hour that comes twice both times, and not in the one that is left out.
"""

from __future__ import annotations

import ast
from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import MAXYEAR, UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from django_q import cron as crons
from django_q.cron import Expression

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

DAYS = {DAILY: 1, WEEKLY: 7, BIWEEKLY: 14}
MONTHS = {MONTHLY: 1, BIMONTHLY: 2, QUARTERLY: 3, YEARLY: 12}
TYPES = (ONCE, MINUTES, HOURLY, *DAYS, *MONTHS, CRON)

Zone = tzinfo | str | None


def next_run(
    schedule_type: str,
    current: datetime,
    *,
    minutes: int | None = None,
    seconds: int | None = None,
    cron: str | None = None,
    zone: Zone = None,
    now: datetime | None = None,
    catch_up: bool = True,
    previous: datetime | None = None,
) -> datetime | None:
    """The occurrence after `current`, or None where there is no other (ONCE, cron with years).

    Without `catch_up` it is the first one after `now`. `previous` is the occurrence before
    `current`: it tells the wall-clock time of a schedule whose `current` one a switch delayed.
    Datetimes are aware, or all of them naive where the site has no time zones.
    """
    past = current if catch_up or now is None else max(current, now)
    if schedule_type == ONCE:
        return None
    if schedule_type not in TYPES:
        raise ValueError(
            f"{schedule_type!r} is no type of schedule; expected one of {', '.join(TYPES)}."
        )
    try:
        if schedule_type == CRON:
            return _by_cron(cron, past, zone)
        if schedule_type == HOURLY:
            return _by_elapsed_time(current, timedelta(hours=1), past)
        if schedule_type == MINUTES:
            step = timedelta(seconds=seconds) if seconds else timedelta(minutes=minutes or 1)
            return _by_elapsed_time(current, step, past)
        wall = _wall(current, zone, previous)
        if schedule_type in DAYS:
            return _by_days(wall, DAYS[schedule_type], past, zone)
        return _by_months(wall, MONTHS[schedule_type], past, zone)
    except OverflowError:
        raise ValueError(f"the occurrence after {past} would be after the year 9999.") from None


def _by_elapsed_time(current: datetime, step: timedelta, past: datetime) -> datetime:
    """Real time: counted in UTC, where no switch can disturb it."""
    if current.tzinfo is not None:
        current = current.astimezone(UTC)
    return current + step * ((past - current) // step + 1)


def _by_days(wall: datetime, days: int, past: datetime, zone: Zone) -> datetime:
    step = timedelta(days=days)
    # One step short of the estimate, for what a switch may add or take away.
    count = max(1, (_wall(past, zone) - wall) // step)
    while (found := _instant(wall + count * step, zone, past)) <= past:
        count += 1
    return found


def _by_months(wall: datetime, months: int, past: datetime, zone: Zone) -> datetime:
    """Step by step, since a day lost at the end of a short month stays lost."""
    while True:
        wall = add_months(wall, months)
        found = _instant(wall, zone, past)
        if found > past:
            return found


def add_months(day: datetime, months: int) -> datetime:
    """The same day and time so many months later, or the last day of a shorter month."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    if year > MAXYEAR:
        raise OverflowError(year)
    return day.replace(year=year, month=month, day=min(day.day, monthrange(year, month)[1]))


# Wall clock and instants


def _wall(moment: datetime, zone: Zone, previous: datetime | None = None) -> datetime:
    """What a clock on the wall of the zone shows, or would have shown without a switch."""
    shown = _local(moment, zone)
    if previous is None or moment.tzinfo is None:
        return shown
    time = _local(previous, zone).time()
    for late_by in (timedelta(), timedelta(days=1)):  # a switch can delay it past midnight
        intended = datetime.combine(shown - late_by, time)
        if _instant(intended, zone, moment) == moment:
            return intended
    return shown


def _local(moment: datetime, zone: Zone) -> datetime:
    if moment.tzinfo is None:
        return moment
    return moment.astimezone(_tzinfo(zone, moment)).replace(tzinfo=None, fold=0)


def _instant(wall: datetime, zone: Zone, like: datetime) -> datetime:
    """The moment at which the wall clock shows this; naive where `like` is."""
    if like.tzinfo is None:
        return wall
    return wall.replace(tzinfo=_tzinfo(zone, like)).astimezone(UTC)


def _tzinfo(zone: Zone, moment: datetime) -> tzinfo:
    if isinstance(zone, str):
        return _zone_named(zone)
    return zone or moment.tzinfo or UTC


@lru_cache(maxsize=16)
def _zone_named(name: str) -> tzinfo:
    return ZoneInfo(name)


# Cron


def _by_cron(expression: str | None, past: datetime, zone: Zone) -> datetime | None:
    """The first slot after `past`, without microseconds; None once the years it names are over."""
    slots = crons.read(expression)
    if past.tzinfo is None:
        return slots.after(past)
    at = _tzinfo(zone, past)
    if slots.is_of_every_hour:
        found = [_slot_as_shown(slots, past, at), _slot_shown_again(slots, past, at)]
    else:
        found = [_slot_as_named(slots, past, at), _slot_left_out(slots, past, at)]
    return min((slot for slot in found if slot is not None), default=None)


def _slot_as_shown(slots: Expression, past: datetime, zone: tzinfo) -> datetime | None:
    """The next slot that the clock shows, whether for the first time or again."""
    wall: datetime | None = _local(past, zone)
    while wall is not None and (wall := slots.after(wall)) is not None:
        for instant in (_instant(wall, zone, past), _instant(wall.replace(fold=1), zone, past)):
            if instant > past and _local(instant, zone) == wall:
                return instant
    return None


def _slot_shown_again(slots: Expression, past: datetime, zone: tzinfo) -> datetime | None:
    """The first slot of the hour that is about to be repeated, if `past` is in that hour."""
    here = past.astimezone(zone)
    again = here.replace(fold=1).astimezone(UTC)
    if again <= past:
        return None
    switch = _switch_between(past, again, zone)
    wall = slots.after(_local(switch, zone) - timedelta(seconds=1))
    return None if wall is None else _instant(wall.replace(fold=1), zone, past)


def _slot_as_named(slots: Expression, past: datetime, zone: tzinfo) -> datetime | None:
    """The next slot, each being due the first time that the clock shows it."""
    wall: datetime | None = _local(past, zone)
    while wall is not None and (wall := slots.after(wall)) is not None:
        if (instant := _instant(wall, zone, past)) > past:
            return instant
    return None


def _slot_left_out(slots: Expression, past: datetime, zone: tzinfo) -> datetime | None:
    """The next slot of the hour that a switch has just left out, which is due late."""
    before = _offset(past - timedelta(days=1), zone)
    if before >= _offset(past, zone):
        return None
    wall = slots.after(past.astimezone(UTC).replace(tzinfo=None) + before)
    if wall is None:
        return None
    instant = _instant(wall, zone, past)
    return instant if instant > past else None


def _switch_between(earlier: datetime, later: datetime, zone: tzinfo) -> datetime:
    """The first second with the offset of `later`."""
    start, end = int(earlier.timestamp()), int(later.timestamp())
    offset = _offset(later, zone)
    while end - start > 1:
        middle = (start + end) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == offset:
            end = middle
        else:
            start = middle
    return datetime.fromtimestamp(end, UTC)


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


# What was missed


def first_kept(
    after: Callable[[datetime], datetime | None], current: datetime, now: datetime, limit: int
) -> datetime:
    """The earliest of the latest `limit` occurrences up to `now`; `current` if there are no more.

    `after` gives the first occurrence after a moment. It is called a few times for each kept
    occurrence, however long ago `current` was.
    """
    oldest = list(_occurrences(after, current, now, limit))
    if len(oldest) < limit:
        return current
    # Guessed from the span of the oldest, then doubled until it is too wide, then halved.
    width, too_narrow, too_wide = oldest[-1] - current, timedelta(), None
    while True:
        found = list(_occurrences(after, max(current, now - width), now, 2 * limit))
        if len(found) == 2 * limit:
            too_wide = now - found[limit - 1]  # there are enough behind that, too
        elif len(found) < limit:
            too_narrow = width
        else:
            return found[-limit]
        width = 2 * width if too_wide is None else (too_narrow + too_wide) / 2


def _occurrences(
    after: Callable[[datetime], datetime | None], start: datetime, now: datetime, most: int
) -> Iterator[datetime]:
    """Those after `start` and up to `now`, the first so many of them."""
    found = after(start)
    while most and found is not None and found <= now:
        yield found
        most -= 1
        found = after(found) if most else None


# What is called


class Callee(Protocol):
    """The part of a Schedule that says what to call with what."""

    args: Any
    kwargs: Any


def arguments(schedule: Callee) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """The positional arguments, the keyword arguments and the queue options of a schedule.

    ValueError names a text that cannot be read, and how it should look.
    """
    kwargs = parse_kwargs(schedule.kwargs)
    q_options = kwargs.pop("q_options", None) or {}
    if not isinstance(q_options, dict):
        raise ValueError(
            f"q_options of a schedule must be a dict such as {{'timeout': 30}}, not {q_options!r}."
        )
    return parse_args(schedule.args), kwargs, dict(q_options)


def parse_args(text: Any) -> tuple[Any, ...]:
    """`1, 'two'`, `(1, 'two')` or a single `1`."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return ()
    value = _literal(text, "args") if isinstance(text, str) else text
    return value if isinstance(value, tuple) else (value,)


def parse_kwargs(text: Any) -> dict[str, Any]:
    """`{'x': 1}` or `x=1, y='two'`."""
    if not isinstance(text, str):
        return dict(text or {})
    text = text.strip()
    if not text:
        return {}
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _keywords(text)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _unreadable("kwargs", text, "it is not a dict with names as keys")
    return value


def _keywords(text: str) -> dict[str, Any]:
    try:
        call = ast.parse(f"f({text}\n)", mode="eval").body
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise _unreadable("kwargs", text, error) from error
    if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
        raise _unreadable("kwargs", text, "values must have names")
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise _unreadable("kwargs", text, "** is not possible")
        found[keyword.arg] = _literal(keyword.value, "kwargs", text)
    return found


def _literal(source: str | ast.expr, field: str, text: str | None = None) -> Any:
    try:
        return ast.literal_eval(source.strip() if isinstance(source, str) else source)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise _unreadable(field, text or source, error) from error


_EXAMPLES = {"args": "1, 'two', [3]", "kwargs": "x=1, y='two'"}


def _unreadable(field: str, text: Any, reason: object) -> ValueError:
    return ValueError(
        f"{field} of the schedule cannot be read: {text!r:.200} ({reason}). "
        f"Write Python literals such as {_EXAMPLES[field]}; pass a key instead of an object."
    )
