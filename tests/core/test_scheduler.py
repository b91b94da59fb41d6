"""The scheduler process's work, stepped by hand under a clock of the test's own."""

import logging
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError

from django_q import package, records
from django_q.brokers.memory import Memory
from django_q.cluster.scheduler import Scheduler
from django_q.conf import get_settings
from django_q.errors import BrokerUnavailable, UnsupportedByBroker
from django_q.models import ClusterStatus, OrmQ, Schedule, Task
from django_q.status import Stat

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


class Flaky(Memory):
    """A broker that can be away."""

    is_away = False

    def enqueue(self, package, **options):
        if self.is_away:
            raise ConnectionError("no answer")
        return super().enqueue(package, **options)

    def ping(self):
        return not self.is_away


class Unavailable(Flaky):
    """A broker that says of itself that its server is away, and keeps the status there too."""

    keeps_stats = True

    def answer(self):
        if self.is_away:
            raise BrokerUnavailable("no answer")
        return True

    def enqueue(self, package, **options):
        self.answer()
        return super().enqueue(package, **options)

    def set_stat(self, key, value, timeout):
        self.answer()
        super().set_stat(key, value, timeout)

    def ping(self):
        return self.answer()


class ORM:
    """The ORM broker of the tests' settings, with its queue as the tests read it."""

    def __new__(cls, queue):
        from django_q_broker_orm import broker as orm

        broker = orm.ORM(queue)
        broker.packages = lambda: list(
            OrmQ.objects.filter(key=queue).order_by("pk").values_list("payload", flat=True)
        )
        return broker


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=[Flaky, ORM])
def broker(request):
    """Brokers whose enqueue does not, and does, commit with the schedule."""
    return request.param(f"queue-{uuid4().hex[:8]}")


@pytest.fixture
def flaky():
    return Flaky(f"queue-{uuid4().hex[:8]}")


@pytest.fixture
def start(clock, settings):
    """Start a scheduler, as one of any number of clusters."""

    def start(broker, **options):
        settings.Q_CLUSTER = {
            "name": broker.list_key, "orm": "default", "catch_up": True, "time_zone": "UTC",
            **options,
        }  # fmt: skip
        facts = {"cluster_id": uuid4(), "pid": 1, "status": "Idle", "recorded": 0}
        scheduler = Scheduler(
            get_settings(), broker, lambda: facts, lambda: False, clock.pass_,
            now=clock.now, clock=clock,
        )  # fmt: skip
        scheduler.facts = facts
        return scheduler

    return start


def plan(**fields):
    """A schedule that is due at noon."""
    return Schedule.objects.create(**{"func": "math.copysign", "next_run": NOON} | fields)


def queued(broker):
    """The task dicts in the queue."""
    return [package.loads(each) for each in broker.packages()]


def run_for(scheduler, clock, seconds):
    """Step as `run` does until so many seconds have passed."""
    end = clock.seconds + seconds
    while True:
        scheduler.step()
        pause = scheduler.pause()
        if clock.seconds + pause > end:
            clock.seconds = end
            return
        clock.pass_(max(pause, 0.001))


# What becomes of a due row


def test_a_due_schedule_becomes_a_task(broker, start):
    row = plan(
        name="sign", args="2, -2", kwargs="q_options={'timeout': 30}, x=1", hook="hooks.show",
        schedule_type="D",
    )  # fmt: skip

    start(broker).step()

    (task,) = queued(broker)
    assert (task["func"], task["args"], task["kwargs"]) == ("math.copysign", (2, -2), {"x": 1})
    assert (task["hook"], task["group"], task["timeout"]) == ("hooks.show", "sign", 30)
    row.refresh_from_db()
    assert (row.task, row.next_run) == (task["id"], NOON + timedelta(days=1))
    assert (row.repeats, row.occurrence_task) == (-2, None)


def test_a_schedule_is_not_queued_before_its_time(broker, start, clock):
    plan(next_run=NOON + timedelta(seconds=30, milliseconds=250))
    scheduler = start(broker)

    run_for(scheduler, clock, 30)
    assert queued(broker) == []
    run_for(scheduler, clock, 0.25)
    scheduler.step()

    assert len(queued(broker)) == 1


def test_a_nameless_schedule_groups_its_tasks_by_its_id(broker, start):
    row = plan()

    start(broker).step()

    assert queued(broker)[0]["group"] == str(row.pk)


def test_once_with_negative_repeats_leaves_no_row(broker, start):
    plan()

    start(broker).step()

    assert len(queued(broker)) == 1
    assert not Schedule.objects.exists()


def test_once_with_positive_repeats_keeps_its_row_and_never_runs_again(broker, start, clock):
    row = plan(repeats=3)

    run_for(start(broker), clock, 5)

    row.refresh_from_db()
    assert (len(queued(broker)), row.repeats) == (1, 0)


def test_a_kept_once_schedule_can_be_run_again_under_another_id(broker, start, clock):
    row = plan(repeats=1)
    scheduler = start(broker)
    run_for(scheduler, clock, 2)

    Schedule.objects.filter(pk=row.pk).update(repeats=1)
    run_for(scheduler, clock, 2)

    first, second = queued(broker)
    assert first["id"] != second["id"]


def test_repeats_count_down_and_end(broker, start, clock):
    row = plan(schedule_type="I", minutes=1, repeats=3)

    run_for(start(broker), clock, 600)

    row.refresh_from_db()
    assert (len(queued(broker)), row.repeats) == (3, 0)


def test_a_paused_schedule_does_not_run(broker, start, clock):
    plan(repeats=0)
    plan(next_run=None)

    run_for(start(broker), clock, 5)

    assert queued(broker) == []


def test_missed_occurrences_are_caught_up(broker, start, clock):
    row = plan(schedule_type="H", next_run=NOON - timedelta(hours=5))

    run_for(start(broker), clock, 1)

    row.refresh_from_db()
    assert (len(queued(broker)), row.next_run) == (6, NOON + timedelta(hours=1))


@pytest.mark.parametrize(("setting", "column"), [(False, None), (True, False)])
def test_without_catch_up_missed_occurrences_are_one(broker, start, clock, setting, column):
    row = plan(schedule_type="H", next_run=NOON - timedelta(minutes=301), catch_up=column)

    run_for(start(broker, catch_up=setting), clock, 1)

    row.refresh_from_db()
    assert (len(queued(broker)), row.next_run) == (1, NOON + timedelta(minutes=59))


def test_missed_occurrences_of_cron_are_caught_up_too(broker, start, clock):
    row = plan(schedule_type="C", cron="0 * * * *")
    Schedule.objects.filter(pk=row.pk).update(next_run=NOON - timedelta(hours=2))

    run_for(start(broker), clock, 1)

    assert len(queued(broker)) == 3


def test_the_function_is_told_the_date_it_was_due(broker, start):
    plan(schedule_type="D", intended_date_kwarg="day", next_run=NOON - timedelta(hours=1))

    start(broker).step()

    assert queued(broker)[0]["kwargs"] == {"day": "2030-01-01T11:00:00+00:00"}


def test_wall_clock_time_survives_a_time_that_was_left_out(broker, start, clock):
    row = plan(schedule_type="D", next_run=datetime(2030, 3, 30, 1, 30, tzinfo=UTC))
    scheduler = start(broker, time_zone="Europe/Amsterdam")
    clock.pass_((datetime(2030, 4, 1, tzinfo=UTC) - NOON).total_seconds())

    run_for(scheduler, clock, 1)

    row.refresh_from_db()
    assert row.next_run == datetime(2030, 4, 1, 0, 30, tzinfo=UTC)


# Queues


def test_a_schedule_of_another_queue_is_left_to_it(broker, start, clock):
    plan(cluster="elsewhere")

    run_for(start(broker), clock, 2)

    assert queued(broker) == []


def test_a_schedule_of_this_queue_runs_here(broker, start):
    plan(cluster=broker.list_key)

    start(broker).step()

    assert queued(broker)[0]["cluster"] == broker.list_key


def test_schedules_without_a_queue_run_in_the_default_one_alone(broker, start, clock):
    plan()

    run_for(start(broker, cluster_name="alternate"), clock, 2)

    assert queued(broker) == []


def test_a_broker_name_that_nobody_knows_means_this_queue(flaky, start, caplog):
    plan(kwargs="{'q_options': {'broker_name': 'broker_1'}}")

    start(flaky).step()

    assert len(queued(flaky)) == 1
    assert "names the queue 'broker_1'" in caplog.text


def test_the_queue_that_the_options_name_gets_the_task(start):
    broker = ORM(f"queue-{uuid4().hex[:8]}")
    plan(kwargs="q_options={'cluster': 'other'}")

    start(broker).step()

    assert list(OrmQ.objects.values_list("key", flat=True)) == ["other"]


def test_sync_does_not_run_the_task_in_the_scheduler(broker, start):
    plan(kwargs="q_options={'sync': True}")

    start(broker, sync=True).step()

    assert "sync" not in queued(broker)[0]


# A bad row costs that row


@pytest.mark.parametrize(
    "poison",
    [
        {"args": "(1,"},
        {"kwargs": "x="},
        {"kwargs": "q_options=5"},
        {"kwargs": "q_options={'timeout': -1}"},
        {"func": ""},
        {"schedule_type": "X"},
        {"schedule_type": "C", "cron": "61 * * * *"},
        {"kwargs": "q_options={'cluster': ['x']}"},
    ],
)
def test_a_poison_schedule_harms_no_other_and_is_logged_once(broker, start, clock, caplog, poison):
    before = plan(name="before", schedule_type="D", next_run=NOON - timedelta(seconds=2))
    bad = plan(name="bad", next_run=NOON - timedelta(seconds=1))
    Schedule.objects.filter(pk=bad.pk).update(**poison)
    after = plan(name="after", schedule_type="D")

    run_for(start(broker), clock, 120)

    assert [task["group"] for task in queued(broker)] == ["before", "after"]
    bad.refresh_from_db()
    assert bad.error
    assert bad.next_run == NOON - timedelta(seconds=1)
    assert [record.levelname for record in caplog.records if "[bad]" in record.message] == ["ERROR"]
    assert before.pk < bad.pk < after.pk


def test_an_edited_schedule_is_tried_again(broker, start, clock):
    bad = plan(args="(1,")
    scheduler = start(broker)
    run_for(scheduler, clock, 2)

    bad.args = "(1,)"
    bad.save()
    run_for(scheduler, clock, 2)

    assert [task["args"] for task in queued(broker)] == [(1,)]


def test_without_croniter_a_cron_schedule_waits_for_the_next_start(
    broker, start, clock, monkeypatch, caplog
):
    row = plan(schedule_type="C", cron="0 * * * *")
    Schedule.objects.filter(pk=row.pk).update(next_run=NOON)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "croniter", None)
        run_for(start(broker), clock, 10)
    assert caplog.text.count("django-q-core[cron]") == 1

    run_for(start(broker), clock, 2)

    assert len(queued(broker)) == 1


# Exactly once


def test_two_schedulers_never_queue_one_occurrence_twice(broker, start):
    plan(schedule_type="D")
    plan()
    one, two = start(broker).due, start(broker).due
    seen_by_one, seen_by_two = one.rows_due(), two.rows_due()

    outcomes = [
        one.queue(seen_by_one[0]),
        two.queue(seen_by_two[0]),
        two.queue(seen_by_two[1]),
        one.queue(seen_by_one[1]),
    ]

    assert outcomes == [True, False, True, False]
    assert len({task["id"] for task in queued(broker)}) == len(queued(broker)) == 2


def test_a_pause_that_comes_in_between_is_respected(broker, start):
    row = plan(schedule_type="D")
    due = start(broker).due
    (seen,) = due.rows_due()

    Schedule.objects.filter(pk=row.pk).update(repeats=0)

    assert not due.queue(seen)
    assert queued(broker) == []


def test_a_batch_costs_a_dozen_statements_at_most(broker, start, django_assert_max_num_queries):
    for _ in range(20):
        plan()
        plan(schedule_type="D")
    due = start(broker).due

    with django_assert_max_num_queries(12):
        due.queue_all()

    assert len(queued(broker)) == 40


def test_what_another_cluster_is_at_is_left_to_it(broker, start, clock, monkeypatch):
    for index in range(120):
        plan(args=str(index))
    scheduler = start(broker)

    with monkeypatch.context() as locked:
        locked.setattr(scheduler.due.table, "take", lambda occurrences: [])
        scheduler.step()
    scheduler.step()
    assert [task["args"] for task in queued(broker)] == [(index,) for index in range(50, 100)]
    run_for(scheduler, clock, 2)

    assert len({task["args"] for task in queued(broker)}) == len(queued(broker)) == 120


def test_what_all_have_left_to_one_another_is_queued_within_a_tenth_of_a_second(
    broker, start, clock
):
    plan()
    scheduler = start(broker)
    clock.pass_(0.3)
    scheduler.step()
    plan(next_run=clock.now())
    scheduler.due.left_to_others = 50
    scheduler.due.ask_at = clock()

    run_for(scheduler, clock, 0.1)

    assert len(queued(broker)) == 2


@pytest.mark.parametrize("fields", [{"schedule_type": "H"}, {}, {"repeats": 1}])
def test_a_crash_before_the_enqueue_is_made_good_under_the_same_id(flaky, start, clock, fields):
    row = plan(intended_date_kwarg="day", **fields)
    crashed = start(flaky).due
    (seen,) = crashed.rows_due()
    crashed.advance([crashed.plan(seen, seen.next_run, "a" * 32)])

    run_for(start(flaky), clock, 9)
    assert queued(flaky) == []
    run_for(start(flaky), clock, 12)

    (task,) = queued(flaky)
    assert (task["id"], task["check"]) == ("a" * 32, True)
    assert task["kwargs"] == {"day": NOON.isoformat()}
    assert Schedule.objects.filter(pk=row.pk, occurrence_task=None).exists() == bool(fields)


def test_what_was_left_behind_is_made_good_by_one_cluster(flaky, start, clock):
    plan(schedule_type="H")
    crashed = start(flaky).due
    (seen,) = crashed.rows_due()
    crashed.advance([crashed.plan(seen, seen.next_run, "a" * 32)])
    one, two = start(flaky).due, start(flaky).due
    left_behind = list(Schedule.objects.all())

    outcomes = [one.queue_again(left_behind[0]), two.queue_again(left_behind[0])]

    assert outcomes == [True, False]
    assert len(queued(flaky)) == 1


def test_a_row_with_a_stored_occurrence_comes_to_no_other(flaky, start, clock):
    plan(schedule_type="H", next_run=NOON - timedelta(hours=3))
    crashed = start(flaky).due
    (seen,) = crashed.rows_due()
    crashed.advance([crashed.plan(seen, seen.next_run, "a" * 32)])

    run_for(start(flaky), clock, 30)

    days = [task["id"] for task in queued(flaky)]
    assert len(days) == len(set(days)) == 4
    assert days[0] == "a" * 32


# Outages


def test_a_broker_that_is_away_is_logged_once_and_costs_no_occurrence(flaky, start, clock, caplog):
    caplog.set_level(logging.INFO, "django-q")
    for _ in range(20):
        plan(schedule_type="D")
    scheduler = start(flaky)
    flaky.is_away = True
    run_for(scheduler, clock, 120)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]

    flaky.is_away = False
    run_for(scheduler, clock, 30)

    assert len({task["id"] for task in queued(flaky)}) == len(queued(flaky)) == 20
    assert len(errors) == 1
    assert caplog.text.count("can queue what is due again") == 1


def test_what_a_broker_took_before_it_was_away_is_not_queued_again(flaky, start, clock):
    for _ in range(5):
        plan(schedule_type="D")
    scheduler = start(flaky)
    take = flaky.enqueue

    def enqueue(package, **options):
        flaky.is_away = len(flaky.packages()) == 3
        return take(package, **options)

    flaky.enqueue = enqueue
    scheduler.step()
    taken = [task["id"] for task in queued(flaky)]
    flaky.enqueue, flaky.is_away = take, False
    run_for(scheduler, clock, 30)

    ids = [task["id"] for task in queued(flaky)]
    assert (ids[:3], len(set(ids)), len(ids)) == (taken, 5, 5)


def test_a_package_that_a_broker_refuses_in_a_batch_costs_its_row_alone(flaky, start):
    for name in ("before", "bad", "after"):
        plan(name=name, schedule_type="D")
    take = flaky.enqueue

    def enqueue(signed, **options):
        if package.loads(signed)["group"] == "bad":
            raise UnsupportedByBroker("not this one")
        return take(signed, **options)

    flaky.enqueue = enqueue
    start(flaky).step()

    assert [task["group"] for task in queued(flaky)] == ["before", "after"]
    assert Schedule.objects.get(error="not this one").name == "bad"


def test_an_unavailable_broker_is_spoken_of_once_for_all_duties(start, clock, caplog):
    caplog.set_level(logging.INFO, "django-q")
    for _ in range(20):
        plan(schedule_type="D")
    unavailable = Unavailable(f"queue-{uuid4().hex[:8]}")
    scheduler = start(unavailable)
    unavailable.is_away = True
    run_for(scheduler, clock, 120)

    unavailable.is_away = False
    run_for(scheduler, clock, 30)

    assert len({task["id"] for task in queued(unavailable)}) == len(queued(unavailable)) == 20
    said = [record.getMessage() for record in caplog.records if "broker" in record.getMessage()]
    assert said == [
        "Lost the broker, trying again: BrokerUnavailable: no answer",
        "Found the broker again",
    ]
    assert "trying again" not in caplog.text.replace(said[0], "")


def test_a_database_that_is_away_is_logged_once_and_waited_out(
    flaky, start, clock, caplog, monkeypatch
):
    plan(schedule_type="D")
    scheduler = start(flaky)

    def away(*args, **kwargs):
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as outage:
        outage.setattr(scheduler.due.table, "survey", away)
        run_for(scheduler, clock, 60)
    assert [record.levelname for record in caplog.records] == ["ERROR"]

    run_for(scheduler, clock, 10)

    assert len(queued(flaky)) == 1


# The cluster's other chores


def test_an_idle_minute_costs_less_than_two_queries_a_second(
    broker, start, clock, django_assert_max_num_queries
):
    scheduler = start(broker)

    with django_assert_max_num_queries(80):
        run_for(scheduler, clock, 60)


def test_without_schedules_the_other_chores_go_on(broker, start, clock):
    plan()
    scheduler = start(broker, scheduler=False)

    run_for(scheduler, clock, 3)

    assert queued(broker) == []
    assert ClusterStatus.objects.count() == 1


def test_the_status_is_saved_every_five_seconds_and_with_each_news(
    flaky, start, clock, monkeypatch
):
    scheduler = start(flaky)
    saved = []
    monkeypatch.setattr(Stat, "save", lambda stat, *args: saved.append(stat.status))

    run_for(scheduler, clock, 11)
    scheduler.facts["status"] = "Working"
    run_for(scheduler, clock, 3)

    assert saved == ["Idle", "Idle", "Idle", "Working"]


def test_the_end_is_told_too(flaky, start, monkeypatch):
    scheduler = start(flaky)
    saved = []
    monkeypatch.setattr(Stat, "save", lambda stat, *args: saved.append(stat.status))
    steps = iter([False, True])
    scheduler.stopping = lambda: next(steps)
    scheduler.wait = lambda seconds: scheduler.facts.update(status="Stopping")

    scheduler.run()

    assert saved == ["Idle", "Stopping"]


def test_results_are_brought_down_to_the_limit_when_some_were_recorded(flaky, start, clock):
    scheduler = start(flaky, save_limit=2)
    scheduler.step()
    for index in range(5):
        Task.objects.create(
            id=f"{index:032x}", name=str(index), func="f", started=NOON, stopped=NOON, success=True
        )
    run_for(scheduler, clock, 2)
    assert Task.objects.count() == 5

    scheduler.facts["recorded"] = 5
    run_for(scheduler, clock, 1)

    assert Task.objects.count() == 2


def test_nothing_is_pruned_while_nothing_is_recorded(flaky, start, clock, monkeypatch):
    calls = []
    monkeypatch.setattr(records, "prune_for", lambda *args: calls.append(args) or True)

    run_for(start(flaky), clock, 30)

    assert len(calls) == 1


def test_what_is_due_does_not_wait_for_old_results_to_be_cleared(flaky, start, monkeypatch):
    plan()
    seen = []
    monkeypatch.setattr(records, "prune_for", lambda *args: seen.append(len(queued(flaky))) or True)

    start(flaky).step()

    assert seen == [1]


def test_a_busy_cluster_clears_twice_a_second_at_most(flaky, start, clock, monkeypatch):
    calls = []
    monkeypatch.setattr(records, "prune_for", lambda *args: calls.append(clock.seconds) or True)
    scheduler = start(flaky)

    for tenth in range(11):
        clock.seconds = tenth / 10
        scheduler.facts["recorded"] += 1
        scheduler.step()

    assert calls == [0.0, 0.5, 1.0]


def test_a_table_that_takes_long_to_clear_is_cleared_without_a_rest(
    flaky, start, clock, monkeypatch
):
    left = [True, False, False, False]
    monkeypatch.setattr(records, "prune_for", lambda *args: left.pop())
    scheduler = start(flaky)

    for _ in range(3):
        scheduler.step()
        assert scheduler.pause() == 0
    scheduler.step()

    assert left == []
    assert scheduler.pause() > 0


def test_results_older_than_keep_days_are_deleted_although_nothing_is_recorded(flaky, start, clock):
    scheduler = start(flaky, keep_days=1)
    stopped = NOON - timedelta(days=1) + timedelta(minutes=5)
    for success in (True, False):
        Task.objects.create(
            id=uuid4().hex, name="t", func="f", started=NOON, stopped=stopped, success=success
        )
    run_for(scheduler, clock, 295)
    assert Task.objects.count() == 2

    run_for(scheduler, clock, 70)

    assert Task.objects.count() == 0


def test_old_results_are_looked_for_once_a_minute_and_only_with_keep_days(
    flaky, start, clock, monkeypatch
):
    calls = []
    monkeypatch.setattr(records, "expire_for", lambda *args: calls.append(clock.seconds) or True)
    scheduler = start(flaky, keep_days=1)

    for second in range(130):
        clock.seconds = second
        scheduler.facts["recorded"] += 1
        scheduler.step()
    run_for(start(flaky), clock, 130)

    assert calls == [0, 60, 120]


def test_many_results_that_are_too_old_are_deleted_without_a_rest(flaky, start, monkeypatch):
    left = [True, False, False]
    monkeypatch.setattr(records, "expire_for", lambda *args: left.pop())
    scheduler = start(flaky, keep_days=1)

    for _ in range(2):
        scheduler.step()
        assert scheduler.pause() == 0
    scheduler.step()

    assert left == []
    assert scheduler.pause() > 0


@pytest.mark.django_db(transaction=True)
def test_a_task_that_the_broker_refuses_costs_its_row_alone(broker, start, clock):
    plan(name="before", schedule_type="D", next_run=NOON - timedelta(seconds=2))
    big = plan(name="big", schedule_type="D", args=repr("x" * 5000), next_run=NOON)
    plan(name="after", schedule_type="D", next_run=NOON)
    broker.max_package_bytes = 2000

    run_for(start(broker), clock, 30)

    assert [task["group"] for task in queued(broker)] == ["before", "after"]
    big.refresh_from_db()
    assert "takes at most 2000" in big.error


def test_a_site_without_time_zones_schedules_in_its_local_time(flaky, start, settings, clock):
    settings.USE_TZ = False
    noon = NOON.replace(tzinfo=None)
    row = plan(schedule_type="D", next_run=noon, intended_date_kwarg="day")
    clock.now = lambda: noon
    scheduler = start(flaky)

    run_for(scheduler, clock, 2)

    row.refresh_from_db()
    assert row.next_run == noon + timedelta(days=1)
    assert queued(flaky)[0]["kwargs"] == {"day": "2030-01-01T12:00:00"}
