"""Finished tasks are deleted by age, state and group, or by the settings, in batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_q.models import IterItem, Task
from django_q.records import cleaning
from django_q.records.cleaning import Cleaning, Tally
from django_q.settings import build
from django_q.tasks import clean_old_tasks
from tests.harness import Project

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def store(*days_ago: float, **columns: Any) -> None:
    """A finished task for each age; its name is that."""
    for days in days_ago:
        stopped = NOW - timedelta(days=days)
        facts = {"name": f"{days:g}", "func": "f", "started": stopped, "stopped": stopped}
        Task.objects.create(**{"id": uuid4().hex, **facts, **columns})


def gather(group: str, *days_ago: float) -> None:
    """Finished items of an `async_iter`, one for each age."""
    for index, days in enumerate(days_ago):
        created = NOW - timedelta(days=days)
        IterItem.objects.create(
            task_id=uuid4().hex, group=group, index=index, success=True, created=created
        )


def names() -> list[str]:
    return sorted(Task.objects.values_list("name", flat=True), key=float)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def run(found: Cleaning) -> Tally:
    tally = Tally()
    list(found.run(tally))
    return tally


def chosen(**selection: Any) -> Cleaning:
    return cleaning.of("default", **selection)


def by_settings(**q_cluster: Any) -> Cleaning:
    return cleaning.by_settings(build(q_cluster), "default")


# By age, state and group


def test_what_ended_before_then_is_deleted_whatever_became_of_it():
    store(1, 5, 9)
    store(2, 6, success=False)

    tally = run(chosen(before=days_ago(5)))

    assert names() == ["1", "2", "5"]
    assert tally == Tally(successes=1, failures=1)


@pytest.mark.parametrize(("success", "kept"), [(True, ["2"]), (False, ["1"]), (None, [])])
def test_a_state_may_be_chosen(success, kept):
    store(1)
    store(2, success=False)

    run(chosen(success=success))

    assert names() == kept


def test_a_group_may_be_chosen():
    store(1, 2, group="a")
    store(3, group="a", success=False)
    store(4, group="b")
    store(5)

    tally = run(chosen(group="a", before=days_ago(1.5)))

    assert names() == ["1", "4", "5"]
    assert tally == Tally(successes=1, failures=1)


@pytest.mark.parametrize("group", [None, "a"])
def test_each_batch_is_a_transaction_of_so_many_rows(group):
    store(*range(25), group="a")

    found = chosen(group=group, success=True, chunk_rows=10).run(Tally())

    assert [tally.tasks for tally in found] == [10, 20, 25]


def test_the_oldest_go_first():
    ages = [float(age) for age in range(1, 21)]
    random.Random(5).shuffle(ages)
    store(*ages)

    batches: Iterator[Tally] = chosen(chunk_rows=5).run(Tally())
    next(batches)

    assert names() == [str(age) for age in range(1, 16)]


def test_no_column_but_key_and_time_is_read():
    store(1, 2)

    with CaptureQueriesContext(connection) as queries:
        run(chosen())

    assert not any("result" in query["sql"] for query in queries)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans")
@pytest.mark.parametrize(("group", "index"), [(None, "success"), ("a", "group")])
def test_an_index_finds_what_is_deleted_without_sorting_it(group, index):
    store(9, group="a")

    with CaptureQueriesContext(connection) as queries:
        run(chosen(before=days_ago(5), group=group, success=True))

    [picking] = [each["sql"] for each in queries if "LIMIT" in each["sql"]]
    with connection.cursor() as cursor:
        plan = [row[-1] for row in cursor.execute(f"EXPLAIN QUERY PLAN {picking}").fetchall()]
    assert len(plan) == 1
    assert f"USING INDEX django_q_task_{index}" in plan[0]


# By the settings


def test_what_is_older_than_keep_days_is_deleted():
    store(1, 6, 8)
    store(9, success=False)

    tally = run(by_settings(keep_days=7, save_limit=0))

    assert names() == ["1", "6"]
    assert tally == Tally(successes=1, failures=1)


def test_the_limits_are_applied():
    store(1, 2, 3)
    store(4, 5, 6, success=False)

    run(by_settings(save_limit=1, failure_limit=2))

    assert names() == ["1", "4", "5"]


@pytest.mark.parametrize(
    "said",
    [
        {"save_limit": 0},
        {"failure_limit": 5},
        {"keep_days": None},
        {"ALT_CLUSTERS": {"long": {"keep_days": 365}}},
    ],
)
def test_settings_that_say_what_is_kept_are_taken_at_their_word(said):
    store(31)

    run(by_settings(**said))

    assert names() == ["31"]


def test_settings_that_say_nothing_keep_30_days():
    store(29, 31)
    store(28, 32, success=False)

    run(by_settings())

    assert names() == ["28", "29"]


def test_a_time_beyond_the_calendar_is_no_error():
    store(1)

    assert run(by_settings(keep_days=1e9)).tasks == 0


@pytest.mark.parametrize("per", [None, "group", "name", "func"])
@pytest.mark.parametrize("keep_days", [None, 3])
def test_counting_says_exactly_what_would_be_deleted(per, keep_days):
    ages, dice = [each / 2 for each in range(20)], random.Random(7)
    for age in ages:
        store(age, group=dice.choice(["a", "b", None]), func=dice.choice("fg"))
        store(age, success=dice.choice([True, False]))
    gather("stale", 31, 40)
    limits = {"save_limit": 2, "save_limit_per": per, "failure_limit": 4, "keep_days": keep_days}
    before = Task.objects.count()

    told = by_settings(**limits).count()

    assert Task.objects.count() == before
    assert told == run(by_settings(**limits))
    assert Task.objects.count() == before - told.tasks


def test_more_groups_than_one_pruning_looks_at_are_brought_to_the_limit(monkeypatch):
    monkeypatch.setattr("django_q.records.pruning.KEYS_PER_PASS", 1)
    for group in "abc":
        store(1, 2, group=group)

    assert run(by_settings(save_limit=1, save_limit_per="group")).tasks == 3


# What iterables left behind


def test_items_of_an_iterable_at_rest_for_30_days_are_given_up():
    gather("at rest", 31, 32)
    gather("at work", 1, 40)

    tally = run(by_settings())

    assert tally.items == 2
    assert set(IterItem.objects.values_list("group", flat=True)) == {"at work"}


def test_a_choice_of_tasks_leaves_items_alone():
    gather("at rest", 31)

    run(chosen(before=days_ago(30)))

    assert IterItem.objects.count() == 1


# As a task


def test_clean_old_tasks_does_what_the_settings_say_and_returns_how_many(settings):
    settings.Q_CLUSTER = {"keep_days": 7}
    store(1, 8)
    store(9, success=False)

    assert clean_old_tasks() == 2
    assert names() == ["1"]


STORE = """
from datetime import timedelta
from uuid import uuid4
from django.utils import timezone
from django_q.models import Task
for days in range(40):
    stopped = timezone.now() - timedelta(days=days)
    Task(id=uuid4().hex, name=str(days), func="f", group="ab"[days % 2], success=days % 3 > 0,
        started=stopped, stopped=stopped).save()
"""

CLEAN = """
from datetime import timedelta
from django.utils import timezone
from django_q.models import Task
from django_q.records import cleaning
def days_ago(days): return timezone.now() - timedelta(days=days)
def run(**which):
    found = cleaning.of("default", chunk_rows=3, **which)
    counted, tally = cleaning.of("default", **which).count(), cleaning.Tally()
    list(found.run(tally))
    assert counted == tally, (counted, tally)
    return tally.tasks
[run(before=days_ago(34.5)), run(group="a", before=days_ago(19.5)),
    run(success=False, group="b"), run(success=False), Task.objects.count()]
"""


@pytest.mark.parametrize("database_name", ["postgresql", "mariadb"], indirect=True)
def test_servers_delete_and_count_the_same(project: Project) -> None:
    project.configure({"save_limit": 0})
    project.run(STORE)

    assert project.run(CLEAN) == [5, 8, 6, 4, 17]


SCHEDULE = """
from django_q.tasks import schedule
schedule('django_q.tasks.clean_old_tasks', schedule_type='D', name='daily-cleanup').pk
"""

CLEANED = """
from django_q.tasks import result_group
result_group('daily-cleanup')
"""


def test_a_cluster_runs_the_daily_cleanup_as_it_is_documented(project: Project) -> None:
    project.configure({"workers": 1})
    project.run(STORE)
    project.run(SCHEDULE)

    cluster = project.start_cluster()
    told = project.wait_until(lambda: project.run(CLEANED), what="the cleanup")
    assert cluster.stop() == 0, cluster.log

    assert told == [10]
