"""What a cluster queues over the days around each switch, row by row of the table."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db.models import Min

from django_q import package, scheduling
from django_q.brokers.memory import Memory
from django_q.cluster.due import DueSchedules
from django_q.conf import get_settings
from django_q.models import Schedule
from tests.core.year import almanac

pytestmark = pytest.mark.django_db

TABLE = list(almanac.table_made_by_hand())


def plan(what, first, repeats=-1):
    """A schedule that is due next at `first`."""
    kind = what if what in scheduling.TYPES else Schedule.CRON
    row = Schedule.objects.create(
        func="math.pi", schedule_type=kind, cron=what if kind == "C" else None,
        intended_date_kwarg="due", repeats=repeats,
    )  # fmt: skip
    Schedule.objects.filter(pk=row.pk).update(next_run=first)
    return row.pk


def queued(broker):
    """When each task that is in the queue was due, by its schedule's key."""
    found = {}
    for each in broker.packages():
        task = package.loads(each)
        due = datetime.fromisoformat(task["kwargs"]["due"])
        found.setdefault(int(task["group"]), []).append(due)
    return found


def run_from(start, broker, zone, settings, **options):
    """Let a cluster sleep from one occurrence to the next, until all have run."""
    settings.Q_CLUSTER = {"name": broker.list_key, "orm": "default", "time_zone": zone, **options}
    seconds = 0.0
    due = DueSchedules(
        get_settings(),
        broker,
        lambda: False,
        now=lambda: start + timedelta(seconds=seconds),
        clock=lambda: seconds,
    )
    while True:
        due.queue_all()
        following = Schedule.objects.exclude(repeats=0).aggregate(at=Min("next_run"))["at"]
        if following is None:
            return
        seconds = max(due.ask_at, (following - start).total_seconds())


@pytest.mark.parametrize("zone", sorted({row[0] for row in TABLE}))
def test_a_cluster_queues_what_the_table_says(zone, settings):
    broker = Memory(f"queue-{uuid4().hex[:8]}")
    expected = {}
    for _, what, first, following in (row for row in TABLE if row[0] == zone):
        moments = [datetime.fromisoformat(each) for each in (first, *following)]
        expected[plan(what, moments[0], repeats=len(moments))] = moments

    run_from(min(moments[0] for moments in expected.values()), broker, zone, settings)

    assert queued(broker) == expected


@pytest.mark.parametrize(("catch_up", "expected"), [(True, 26), (False, 2)])
def test_a_cluster_that_slept_over_a_switch(catch_up, expected, settings):
    zone = "Europe/Amsterdam"
    first = datetime(2026, 10, 24, 12, tzinfo=ZoneInfo(zone))
    woken = datetime(2026, 10, 25, 11, 59, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    broker = Memory(f"queue-{uuid4().hex[:8]}")
    key = plan("0 * * * *", first, repeats=expected)

    run_from(woken, broker, zone, settings, catch_up=catch_up)

    found = queued(broker)[key]
    assert len(found) == expected
    assert (found[0], found[-1]) == (first, datetime(2026, 10, 25, 12, tzinfo=ZoneInfo(zone)))
