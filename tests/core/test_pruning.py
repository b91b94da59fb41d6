"""Finished tasks are kept to the limits: the newest stay, in a few statements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext

from django_q import records
from django_q.conf import Settings
from django_q.models import Failure, Success, Task

pytestmark = pytest.mark.django_db

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def store(count: int, *, start: int = 0, **columns: Any) -> None:
    """Finished tasks whose names are their numbers and ages: the highest ended last."""
    Task.objects.bulk_create(
        Task(
            **{
                "id": f"{number:032x}",
                "name": str(number),
                "func": "math.floor",
                "started": NOON,
                "stopped": NOON + timedelta(seconds=number),
                "success": True,
                **columns,
            }
        )
        for number in range(start, start + count)
    )


def names() -> list[str]:
    return sorted(Task.objects.values_list("name", flat=True), key=int)


def prune(since: datetime | None = None, **limits: Any) -> int:
    return records.prune(Settings(**limits), "default", since)


def prune_for(seconds: float, **limits: Any) -> bool:
    return records.prune_for(seconds, Settings(**limits), "default")


def test_the_newest_successes_are_kept():
    store(10)

    deleted = prune(save_limit=3)

    assert deleted == 7
    assert names() == ["7", "8", "9"]


def test_of_tasks_that_ended_at_once_the_highest_ids_are_kept():
    store(5, stopped=NOON)

    prune(save_limit=2)

    assert names() == ["3", "4"]


@pytest.mark.parametrize("save_limit", [0, -1, 10, 11])
def test_nothing_is_deleted_within_the_limit_or_without_one(save_limit):
    store(10)

    assert prune(save_limit=save_limit) == 0
    assert Task.objects.count() == 10


def test_failures_are_kept_for_ever_unless_they_are_limited():
    store(10, success=False)

    assert prune(save_limit=3) == 0
    assert Failure.objects.count() == 10


def test_failures_have_a_limit_of_their_own():
    store(10, success=False)
    store(3, start=100)

    prune(save_limit=10, failure_limit=2)

    assert (Failure.objects.count(), Success.objects.count()) == (2, 3)


def test_a_lowered_limit_takes_effect_at_once():
    store(1200)

    assert prune(save_limit=100) == 1100
    assert Task.objects.count() == 100


@pytest.mark.parametrize(("rows", "statements"), [(3, 1), (10, 3), (1200, 7)])
def test_pruning_takes_a_statement_and_two_more_per_500_rows(rows, statements):
    store(rows)

    with CaptureQueriesContext(connection) as queries:
        prune(save_limit=5)

    told = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(told) == statements


def test_pruning_for_no_time_deletes_500_rows_and_says_that_it_has_not_done():
    store(1200)

    done = [prune_for(0, save_limit=100) for _ in range(4)]

    assert done == [False, False, False, True]
    assert Task.objects.count() == 100


def test_pruning_for_long_enough_says_that_all_is_done():
    store(1200)

    assert prune_for(60, save_limit=100)
    assert Task.objects.count() == 100


def test_no_column_but_the_cutoff_is_read():
    store(10)

    with CaptureQueriesContext(connection) as queries:
        prune(save_limit=3)

    assert not any("result" in query["sql"] for query in queries)


@pytest.mark.parametrize("field", ["group", "name", "func"])
def test_the_limit_may_count_per_group_name_or_function(field):
    store(10, **{field: "1"})
    store(2, start=100, **{field: "2"})

    prune(save_limit=3, save_limit_per=field)

    kept = Task.objects.order_by(field).values_list(field, flat=True)
    assert list(kept) == ["1"] * 3 + ["2"] * 2


def test_tasks_without_a_group_count_as_one():
    store(10)

    prune(save_limit=3, save_limit_per="group")

    assert names() == ["7", "8", "9"]


def test_only_groups_that_were_touched_are_looked_at():
    store(10, group="old")
    store(10, start=100, group="new")

    prune(since=NOON + timedelta(seconds=105), save_limit=3, save_limit_per="group")

    assert Task.objects.filter(group="old").count() == 10
    assert Task.objects.filter(group="new").count() == 3


def test_a_receiver_of_deletions_is_still_called():
    store(5)
    told: list[str] = []

    def hear(instance: Success, **kwargs: Any) -> None:
        told.append(instance.name)

    post_delete.connect(hear, sender=Success)
    try:
        prune(save_limit=3)
    finally:
        post_delete.disconnect(hear, sender=Success)

    assert sorted(told) == ["0", "1"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans")
@pytest.mark.parametrize(
    ("field", "index"),
    [
        (None, "django_q_task_success"),
        ("group", "django_q_task_group"),
        ("name", "django_q_task_name"),
    ],
)
def test_the_cutoff_is_found_and_the_rows_are_picked_by_an_index(field, index):
    store(10, **({} if field is None else {field: "1"}))

    with CaptureQueriesContext(connection) as queries:
        prune(save_limit=3, save_limit_per=field)

    cutoff, pick, _delete = [
        query["sql"]
        for query in queries
        if not query["sql"].startswith(("SAVEPOINT", "RELEASE")) and "COUNT" not in query["sql"]
    ]
    assert index in plan(cutoff)
    assert index in plan(pick)


def plan(query: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {query}")
        return " ".join(row[-1] for row in cursor.fetchall())
