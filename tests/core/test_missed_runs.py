"""How many missed occurrences are made up for, and what finding them costs."""

import logging
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from django_q import scheduling
from django_q.brokers.memory import Memory
from django_q.cluster.planning import Planner
from django_q.conf import get_settings
from django_q.models import Schedule

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Counted:
    """`after` of a schedule, counting how often it is asked."""

    def __init__(self, schedule_type, first, **options):
        self.asked = 0
        self.fields = schedule_type, first
        self.options = {"zone": "Europe/Amsterdam", **options}

    def __call__(self, moment):
        self.asked += 1
        return scheduling.next_run(*self.fields, now=moment, catch_up=False, **self.options)

    def missed(self, now):
        """Every occurrence from the first up to now."""
        found = [self.fields[1]]
        while (following := self(found[-1])) is not None and following <= now:
            found.append(following)
        return found


@pytest.mark.parametrize(
    ("schedule_type", "options", "since"),
    [
        ("I", {"minutes": 7}, timedelta(days=3)),
        ("I", {"seconds": 13}, timedelta(hours=2)),
        ("H", {}, timedelta(days=30)),
        ("D", {}, timedelta(days=700)),
        ("W", {}, timedelta(days=2000)),
        ("M", {}, timedelta(days=4000)),
        ("C", {"cron": "*/20 * * * *"}, timedelta(days=12)),
        ("C", {"cron": "*/5 9-17 * * 1-5"}, timedelta(days=20)),
        ("C", {"cron": "* 3 1 * *"}, timedelta(days=200)),
        ("C", {"cron": "* 3 1 * *"}, timedelta(days=290)),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 30, 100])
def test_the_latest_are_kept_and_few_questions_asked(schedule_type, options, since, limit):
    after = Counted(schedule_type, NOON - since, **options)
    expected = after.missed(NOON)[-limit]
    after.asked = 0

    kept = scheduling.first_kept(after, NOON - since, NOON, limit)

    assert kept == expected
    assert after.asked <= 12 * limit + 60


def test_years_of_minutes_are_passed_over_in_a_few_steps():
    since = NOON - timedelta(days=3650)
    after = Counted("C", since, cron="* * * * *")

    kept = scheduling.first_kept(after, since, NOON, 100)

    assert kept == NOON - timedelta(minutes=99)
    assert after.asked <= 202


@pytest.mark.parametrize("missed", [1, 2, 99, 100])
def test_what_is_within_the_limit_is_kept_whole(missed):
    since = NOON - (missed - 1) * timedelta(hours=1)
    after = Counted("H", since)

    assert scheduling.first_kept(after, since, NOON, 100) == since
    assert after.asked <= missed


def test_an_expression_whose_years_are_over_has_its_latest_ones():
    since = datetime(2029, 12, 1, tzinfo=UTC)
    after = Counted("C", since, cron="0 0 * * * 0 2029", zone="UTC")

    kept = scheduling.first_kept(after, since, NOON, 5)

    assert kept == datetime(2029, 12, 27, tzinfo=UTC)


# What a cluster does


@pytest.fixture
def planner(settings):
    queue = f"queue-{uuid4().hex[:8]}"
    settings.Q_CLUSTER = {"name": queue, "time_zone": "UTC", "catch_up_limit": 10}
    clock = [NOON]
    made = Planner(get_settings(), Memory(queue), lambda: clock[0])
    made.clock = clock
    return made


def late(**fields):
    """A schedule that has been due every minute for an hour."""
    first = NOON - timedelta(hours=1)
    defaults = {"pk": 1, "name": "late", "func": "math.pi", "schedule_type": "I", "minutes": 1}
    return Schedule(**defaults | {"next_run": first} | fields)


def run_up_to_now(planner, row):
    """What a cluster queues of a row until it is not late any more."""
    found = []
    while row.next_run <= planner.now() and row.repeats:
        found.append(planner.plan(row, row.next_run, uuid4().hex))
        for name, value in found[-1].after.items():
            setattr(row, name, value)
        row.occurrence = found[-1].due
    return found


@pytest.mark.parametrize(
    "fields", [{}, {"schedule_type": "C", "cron": "* * * * *"}, {"seconds": 60}]
)
def test_the_oldest_are_passed_over_with_one_line(planner, fields, caplog):
    row = late(**fields)

    queued = run_up_to_now(planner, row)

    assert [each.due for each in queued] == [NOON - timedelta(minutes=m) for m in range(9, -1, -1)]
    assert (row.next_run, row.repeats) == (NOON + timedelta(minutes=1), -11)
    assert [record.getMessage() for record in caplog.records] == [
        "Schedule [late] has missed more than 10 occurrences (catch_up_limit) since "
        "2030-01-01T11:00:00+00:00; the latest 10 are run, from 2030-01-01T11:51:00+00:00 on"
    ]


def test_an_occurrence_that_could_not_be_queued_is_planned_again_as_the_same(planner, caplog):
    row = late()

    first = planner.plan(row, row.next_run, "a" * 32)
    planner.clock[0] += timedelta(minutes=2)
    second = planner.plan(row, row.next_run, "a" * 32)

    assert (first.due, first.task_id, first.after) == (second.due, second.task_id, second.after)
    assert first.task_id != "a" * 32
    assert len(caplog.records) == 1


def test_a_schedule_that_is_late_again_is_looked_at_again(planner, caplog):
    row = late()
    run_up_to_now(planner, row)
    planner.clock[0] += timedelta(days=2)

    queued = run_up_to_now(planner, row)

    assert len(queued) == 10
    assert queued[-1].due == planner.clock[0]
    assert len(caplog.records) == 2


def test_another_clusters_progress_does_not_hide_a_second_backlog(planner, caplog):
    row = late()
    planner.plan(row, row.next_run, uuid4().hex)
    row.next_run = NOON + timedelta(minutes=1)
    planner.clock[0] += timedelta(days=2)

    assert len(run_up_to_now(planner, row)) == 10


def test_a_row_that_is_late_by_one_step_is_not_looked_at(planner, monkeypatch):
    monkeypatch.setattr(scheduling, "first_kept", None)

    assert len(run_up_to_now(planner, late(next_run=NOON))) == 1


def test_a_backlog_is_looked_at_once(planner, monkeypatch):
    looks = []
    look = scheduling.first_kept
    monkeypatch.setattr(scheduling, "first_kept", lambda *args: looks.append(args) or look(*args))

    run_up_to_now(planner, late())

    assert len(looks) == 1


def test_a_few_runs_that_are_left_are_those_that_were_promised(planner, caplog):
    queued = run_up_to_now(planner, late(repeats=3))

    assert [each.due.minute for each in queued] == [0, 1, 2]
    assert caplog.records == []


def test_without_catch_up_the_limit_is_of_no_concern(planner, caplog):
    caplog.set_level(logging.INFO, "django-q")

    queued = run_up_to_now(planner, late(catch_up=False))

    assert [each.due for each in queued] == [NOON - timedelta(hours=1)]
    assert caplog.records == []


def test_cron_whose_years_are_over_runs_its_last_time_and_rests(planner):
    row = late(schedule_type="C", cron="0 8 1 1 * 0 2030", next_run=NOON.replace(hour=8))

    (last,) = run_up_to_now(planner, row)

    assert last.after == {"repeats": 0}
