"""A year of schedules in three time zones, against an almanac and against tables made by hand."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from django_q import scheduling
from tests.core.year import almanac

ZONES = ["Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe"]
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def chain(schedule_type, first, end, **options):
    """What is due after `first` and before `end`, one after the other, as a cluster goes on."""
    previous, current, found = None, first, []
    while True:
        following = scheduling.next_run(schedule_type, current, previous=previous, **options)
        if following is None or following >= end:
            return found
        previous, current = current, following
        found.append(following)


# A year


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("wall", ["09:00", "02:30", "02:15", "01:45", "23:59:59.000250"])
@pytest.mark.parametrize("schedule_type", almanac.STEPS)
def test_days_weeks_months_and_years_match_the_almanac(schedule_type, wall, zone):
    first, end = datetime.fromisoformat(f"2024-01-31 {wall}"), datetime(2027, 1, 1)

    found = chain(
        schedule_type,
        first.replace(tzinfo=ZoneInfo(zone)),
        end.replace(tzinfo=ZoneInfo(zone)),
        zone=zone,
    )

    assert found == almanac.by_calendar(schedule_type, first, end, zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("schedule_type", "options", "step"),
    [
        ("H", {}, timedelta(hours=1)),
        ("I", {"minutes": 45}, timedelta(minutes=45)),
        ("I", {"minutes": 0}, timedelta(minutes=1)),
        ("I", {"seconds": 1111, "minutes": 5}, timedelta(seconds=1111)),
    ],
)
def test_hours_minutes_and_seconds_match_the_almanac(schedule_type, options, step, zone):
    first = START + timedelta(microseconds=5)
    end = END if step > timedelta(minutes=1) else START + timedelta(days=2)

    found = chain(schedule_type, first.astimezone(ZoneInfo(zone)), end, zone=zone, **options)

    assert found == almanac.by_elapsed_time(step, first, end)


CRON = {
    "0 * * * *": ({0}, lambda at: True),
    "30 2 * * *": ({30}, lambda at: at.hour == 2),
    "0 9 * * mon-fri": ({0}, lambda at: at.hour == 9 and at.weekday() < 5),
    "15 2 * * 0": ({15}, lambda at: at.hour == 2 and at.weekday() == 6),
    "45 1 1,15 * *": ({45}, lambda at: at.hour == 1 and at.day in (1, 15)),
    "30 2 l * *": ({30}, lambda at: at.hour == 2 and almanac.is_last_of_month(at)),
    "0 12 1 * 5": ({0}, lambda at: at.hour == 12 and (at.day == 1 or at.weekday() == 4)),
    "50 23 31 */2 *": ({50}, lambda at: at.hour == 23 and at.day == 31 and at.month % 2 == 1),
    "*/20 1-3 * 3,4,10,11 *": (
        {0, 20, 40},
        lambda at: at.hour in (1, 2, 3) and at.month in (3, 4, 10, 11),
    ),
    "5/20 * 1-8,25-31 3,4,10,11 *": (
        {5, 25, 45},
        lambda at: not 8 < at.day < 25 and at.month in (3, 4, 10, 11),
    ),
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", CRON)
def test_cron_matches_the_almanac(expression, zone):
    minutes, is_meant = CRON[expression]
    every_hour = expression.split()[1] == "*"
    expected = almanac.by_cron(minutes, is_meant, every_hour, zone, START, END)

    found = chain("C", START - timedelta(microseconds=1), END, cron=expression, zone=zone)

    assert found == expected
    assert len(found) > 2


# Around each switch


TABLE = [pytest.param(*row, id=", ".join(row[:3])) for row in almanac.table_made_by_hand()]


def with_type(what):
    return ("C", {"cron": what}) if what not in scheduling.TYPES else (what, {})


@pytest.mark.parametrize(("zone", "what", "first", "following"), TABLE)
def test_what_is_due_around_a_switch_matches_the_table(zone, what, first, following):
    schedule_type, options = with_type(what)
    start = datetime.fromisoformat(first).replace(tzinfo=ZoneInfo(zone))
    end = datetime.fromisoformat(following[-1]) + timedelta(seconds=1)

    found = chain(schedule_type, start, end, zone=zone, **options)

    shown = [moment.astimezone(ZoneInfo(zone)).isoformat() for moment in found]
    assert shown == [datetime.fromisoformat(each).isoformat() for each in following]


@pytest.mark.parametrize(("zone", "what", "first", "following"), TABLE)
def test_without_catch_up_the_first_one_ahead_is_that_of_the_table(zone, what, first, following):
    schedule_type, options = with_type(what)
    start = datetime.fromisoformat(first)
    moments = [start, *map(datetime.fromisoformat, following)]

    for earlier, later in pairwise(moments):
        for now in (earlier, later - timedelta(microseconds=1)):
            ahead = scheduling.next_run(
                schedule_type, start, zone=zone, now=now, catch_up=False, **options
            )
            assert ahead == later
