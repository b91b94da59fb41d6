"""When schedules are due, worked out without the code under test.

Days, weeks, months and years come from python-dateutil. Cron comes from a walk through the year in
UTC, every five minutes, written down as the clock on the wall shows it: no cron library is asked,
the minutes, hours and days that an expression means are spelled out.
"""

from collections import defaultdict
from datetime import UTC, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from dateutil import tz
from dateutil.relativedelta import relativedelta

PACE = timedelta(minutes=5)

STEPS = {
    "D": relativedelta(days=1),
    "W": relativedelta(weeks=1),
    "BW": relativedelta(weeks=2),
    "M": relativedelta(months=1),
    "BM": relativedelta(months=2),
    "Q": relativedelta(months=3),
    "Y": relativedelta(years=1),
}


def table_made_by_hand():
    """Zone, type or cron expression, the first occurrence, and those that follow it."""
    for line in (Path(__file__).parent / "switches_2026.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            zone, what, first, following = (cell.strip() for cell in line.split("|"))
            yield zone, what, first, following.split()


def by_calendar(schedule_type, first, end, zone):
    """The moments after `first`, a wall-clock time, and before `end`."""
    wall, found = first, []
    while (wall := wall + STEPS[schedule_type]) < end:
        # Its first showing, and a time that is left out as much later as the clock jumped.
        moment = tz.resolve_imaginary(wall.replace(tzinfo=tz.gettz(zone), fold=0))
        found.append(moment.astimezone(UTC))
    return found


def by_elapsed_time(step, first, end):
    """The moments after `first` and before `end`."""
    return [first + turn * step for turn in range(1, -((first - end) // step))]


@cache
def times_shown(zone, start, end):
    """What the wall clock shows, by minute of the hour: each time with the moments that show it.

    A time that is left out has the moment at which it is due instead, and is in a second book.
    """
    shown = [defaultdict(list) for _ in range(60)]
    left_out = [{} for _ in range(60)]
    clock, moment, expected = ZoneInfo(zone), start, None
    while moment < end:
        wall = moment.astimezone(clock).replace(tzinfo=None, fold=0)
        shown[wall.minute][wall].append(moment)
        missing = expected or wall
        while missing < wall:
            left_out[missing.minute][missing] = moment + (missing - expected)
            missing += PACE
        moment, expected = moment + PACE, wall + PACE
    return shown, left_out


def by_cron(minutes, is_meant, every_hour, zone, start, end):
    """The moments from `start` on and before `end` at which an expression is due.

    One with `*` for its hour is due whenever the clock shows a time that is meant. Any other is
    due the first time, and late where the clock leaves the time out.
    """
    shown, left_out = times_shown(zone, start, end)
    found = set()
    for minute in minutes:
        for wall, moments in shown[minute].items():
            if is_meant(wall):
                found.update(moments if every_hour else moments[:1])
        if not every_hour:
            found.update(late for wall, late in left_out[minute].items() if is_meant(wall))
    return sorted(found)


def is_last_of_month(wall):
    return (wall + timedelta(days=1)).day == 1
