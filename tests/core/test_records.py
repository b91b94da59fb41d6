"""What is recorded of finished tasks, in how many statements, and what is never overwritten."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import IntegrityError, connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_q import records
from django_q.conf import Settings
from django_q.models import IterItem, Task
from django_q.records import Item, Outcome, Recorded, iterables

pytestmark = pytest.mark.django_db


def finished(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A finished task dict."""
    now = timezone.now()
    return {
        "id": f"{number:032x}",
        "name": f"task-{number}",
        "func": "math.floor",
        "args": (1.5,),
        "kwargs": {"base": 2},
        "result": {"found": number},
        "success": True,
        "started": now - timedelta(seconds=1),
        "stopped": now,
        **changes,
    }


def outcome(number: int = 1, *, attempt: int = 1, **changes: Any) -> Outcome:
    """What a worker says of it; `first`, `saved`, `worker_death` and `item` are the outcome's."""
    own = {
        key: changes.pop(key)
        for key in ("first", "saved", "worker_death", "item")
        if key in changes
    }
    row = records.row_of(finished(number, **changes), attempt_count=attempt)
    return Outcome(row=row, **{"saved": True, "first": attempt == 1, **own})


def failure(number: int = 1, **changes: Any) -> Outcome:
    return outcome(number, success=False, result="boom", **changes)


def write(*outcomes: Outcome) -> list[Recorded]:
    with transaction.atomic():
        return records.write(outcomes, "default")


# Writing


def test_a_written_row_reads_back_as_the_task_that_ran():
    task = finished(group="g", hook="print", cluster="c")

    write(Outcome(row=records.row_of(task, attempt_count=1), saved=True, first=True))

    row = Task.objects.get()
    assert {key: getattr(row, key) for key in task} == task
    assert (row.attempt_count, row.worker_deaths) == (1, 0)


def test_200_first_attempts_are_one_statement():
    outcomes = [outcome(number) for number in range(200)]

    with CaptureQueriesContext(connection) as queries:
        verdicts = records.write(outcomes, "default")

    assert len(queries) == 1
    assert verdicts == [Recorded.NEW] * 200
    assert Task.objects.count() == 200


def test_200_repeated_attempts_are_one_question_and_one_insert():
    outcomes = [outcome(number, first=False) for number in range(200)]

    with CaptureQueriesContext(connection) as queries:
        records.write(outcomes, "default")

    assert len(queries) == 2
    assert Task.objects.count() == 200


def test_an_unsaved_outcome_costs_no_statement():
    with CaptureQueriesContext(connection) as queries:
        verdicts = records.write([outcome(saved=False), outcome(2, saved=False)], "default")

    assert not queries.captured_queries
    assert verdicts == [Recorded.NEW, Recorded.NEW]


def test_a_success_replaces_an_earlier_failure():
    write(failure())

    verdicts = write(outcome(attempt=2))

    task = Task.objects.get()
    assert verdicts == [Recorded.NEW]
    assert (task.success, task.result, task.attempt_count) == (True, {"found": 1}, 2)


def test_a_failure_never_replaces_a_success():
    write(outcome())

    verdicts = write(failure(attempt=2))

    assert verdicts == [Recorded.SUPERSEDED]
    assert Task.objects.get().success


def test_a_second_success_is_superseded():
    write(outcome())

    verdicts = write(outcome(first=False, result="late", stopped=timezone.now()))

    assert verdicts == [Recorded.SUPERSEDED]
    assert Task.objects.get().result == {"found": 1}


def test_a_result_that_is_recorded_already_is_the_same():
    told = outcome()
    write(told)

    verdicts = write(*records.cautious([told]))

    assert verdicts == [Recorded.SAME]


def test_a_first_attempt_that_is_recorded_already_is_an_integrity_error():
    told = outcome()
    write(told)

    with pytest.raises(IntegrityError):
        write(told)


def test_the_number_of_attempts_is_set_and_not_added():
    write(failure())

    write(failure(attempt=4))

    assert records.attempt_count(f"{1:032x}") == 4


def test_a_late_failure_of_an_earlier_attempt_does_not_lower_the_number_of_attempts():
    write(failure(attempt=3))

    write(failure(attempt=2, stopped=timezone.now()))

    assert records.attempt_count(f"{1:032x}") == 3


def test_deaths_of_workers_add_up():
    write(failure(worker_death=True))

    write(failure(attempt=2, worker_death=True))

    assert records.worker_deaths(f"{1:032x}") == 2


def test_two_attempts_in_one_batch_leave_the_later_one():
    verdicts = write(failure(first=False), outcome(attempt=2))

    assert verdicts == [Recorded.NEW, Recorded.NEW]
    assert Task.objects.get().success


def test_two_successes_of_one_task_in_one_batch_leave_the_first_one():
    verdicts = write(outcome(first=False), outcome(attempt=2, result="other"))

    assert verdicts == [Recorded.NEW, Recorded.SUPERSEDED]
    assert Task.objects.get().result == {"found": 1}


@override_settings(USE_TZ=False)
def test_naive_datetimes_are_stored_where_time_zones_are_off():
    task = finished(stopped=timezone.now(), started=timezone.now())

    write(Outcome(row=records.row_of(task, attempt_count=1), saved=True, first=True))

    assert Task.objects.get().stopped == task["stopped"]


def test_a_naive_datetime_of_a_producer_without_time_zones_becomes_aware():
    naive = timezone.now().replace(tzinfo=None)

    row = records.row_of(finished(started=naive), attempt_count=1)

    assert timezone.is_aware(row.started)


def test_moments_are_stored_as_django_stores_them():
    told = outcome()
    write(told)
    Task.objects.create(
        id="b", name="b", func="f", started=told.row.started, stopped=told.row.stopped
    )

    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT started, stopped FROM django_q_task")
        stored = cursor.fetchall()

    assert len(stored) == 1


# Columns


def test_texts_are_cut_to_their_columns():
    row = records.row_of(
        finished(name="n" * 150, group="g" * 150, func="f" * 300, hook="h" * 300), attempt_count=1
    )

    assert [len(text or "") for text in (row.name, row.group, row.func, row.hook)] == [
        100,
        100,
        256,
        256,
    ]


def test_what_no_database_stores_is_replaced():
    row = records.row_of(finished(name="a\0b\ud800c"), attempt_count=1)

    assert row.name == "a?b?c"


def test_an_unpicklable_result_raises_when_it_is_encoded():
    with pytest.raises(TypeError, match="generator"):
        records.row_of(finished(result=(n for n in "ab")), attempt_count=1)


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": (1, 2)}, timezone.now, Task(name="x")])
def test_values_are_encoded_as_the_model_field_does(value):
    field: Any = Task._meta.get_field("result")

    assert field.to_python(records.encode(value)) == value
    assert records.decode(records.encode(value)) == value


def test_a_hook_receives_a_task_that_needs_no_query():
    with CaptureQueriesContext(connection) as queries:
        task = records.load_task(outcome(group="g"))

    assert not queries.captured_queries
    assert (task.id, task.result, task.args, task.group) == (
        f"{1:032x}",
        {"found": 1},
        (1.5,),
        "g",
    )


def test_a_refused_outcome_becomes_a_failed_task_that_says_why():
    refused = records.refusal(outcome(args=("x" * 100_000,)), ValueError("too long"))

    write(refused)

    task = Task.objects.get()
    assert not task.success
    assert task.args is None
    assert task.result == "The result could not be recorded: ValueError: too long"


def test_a_refusal_does_not_touch_a_recorded_success():
    told = outcome()
    write(told)

    write(records.refusal(told, ValueError("already there")))

    assert Task.objects.get().success


# Questions


def test_a_recorded_success_is_known():
    write(outcome(1), failure(2))

    assert records.recorded_success(f"{1:032x}")
    assert not records.recorded_success(f"{2:032x}")
    assert not records.recorded_success(f"{3:032x}")


def test_a_recorded_task_is_read_again_for_its_hook():
    write(outcome(1))

    assert records.stored_task(f"{1:032x}").name == "task-1"
    assert records.stored_task(f"{2:032x}") is None


def test_an_item_that_waits_for_its_group_is_a_recorded_success():
    write(item(1, of=2))

    assert records.recorded_success(f"{1:032x}")


class ReadsFromAnEmptyReplica:
    """Sends every read to a database that is not even there."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_what_decides_on_a_write_is_never_asked_of_a_replica():
    with override_settings(DATABASE_ROUTERS=[ReadsFromAnEmptyReplica()]):
        write(failure(), item(1, of=1, first=False))
        write(outcome(attempt=2))

        assert records.recorded_success(f"{1:032x}")
        assert records.attempt_count(f"{1:032x}") == 2
        assert records.worker_deaths(f"{1:032x}") == 0
        assert len(collate(item(1, of=1))) == 1
        assert records.prune(Settings(save_limit=1), "default") == 1


# async_iter


def item(
    number: int, *, of: int, template: dict[str, Any] | None = None, **changes: Any
) -> Outcome:
    final = {"name": "all", "func": "math.floor", "kwargs": {}, "started": timezone.now()}
    told = Item("group-id", number, of, pickle.dumps(final | (template or {})))
    return outcome(number, saved=False, item=told, **{"result": number * 10, **changes})


def collate(*items: Outcome) -> list[Outcome]:
    groups = {told.item.group: told.item for told in items if told.item is not None}
    with transaction.atomic():
        return records.collate(groups, "default")


def test_a_group_of_items_becomes_one_task_in_the_order_of_its_items():
    items = [item(number, of=3) for number in (2, 0, 1)]
    write(*items)

    completed = collate(*items)

    task = Task.objects.get()
    assert (task.id, task.result, task.success) == ("group-id", [0, 10, 20], True)
    assert [told.row.id for told in completed] == ["group-id"]
    assert not IterItem.objects.exists()


def test_a_group_waits_for_all_of_its_items():
    items = [item(number, of=3) for number in (0, 1)]
    write(*items)

    assert collate(*items) == []
    assert not Task.objects.exists()


def test_200_items_are_one_statement():
    items = [item(number, of=200) for number in range(200)]

    with CaptureQueriesContext(connection) as queries:
        records.write(items, "default")

    assert len(queries) == 1


def test_collating_twice_is_harmless():
    items = [item(number, of=2) for number in range(2)]
    write(*items)
    collate(*items)

    assert collate(*items) == []
    assert Task.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_loser_of_a_race_to_complete_a_group_tries_again(monkeypatch):
    items = [item(number, of=2) for number in range(2)]
    write(*items)
    told = items[0].item
    assert told is not None
    insert = iterables.insert_rows

    def beaten(*args: Any) -> None:
        monkeypatch.setattr(iterables, "insert_rows", insert)
        raise IntegrityError

    monkeypatch.setattr(iterables, "insert_rows", beaten)

    completed = records.collate({told.group: told}, "default")

    assert len(completed) == 1
    assert Task.objects.get().result == [0, 10]


def test_an_item_that_is_delivered_again_counts_once():
    told = item(0, of=2)
    write(told)

    verdicts = write(*records.cautious([told]))

    assert verdicts == [Recorded.SAME]
    assert collate(told) == []


def test_an_item_that_fails_and_then_succeeds_counts_once():
    write(item(0, of=2, success=False, result="boom"))

    verdicts = write(item(0, of=2, attempt=2))

    assert verdicts == [Recorded.NEW]
    assert IterItem.objects.get().success


def test_a_late_item_of_a_complete_group_leaves_nothing_behind():
    items = [item(number, of=2) for number in range(2)]
    write(*items)
    collate(*items)

    verdicts = write(item(0, of=2, first=False))

    assert verdicts == [Recorded.SUPERSEDED]
    assert not IterItem.objects.exists()


def test_a_failed_item_fails_its_group_and_keeps_the_other_results():
    items = [item(0, of=2), item(1, of=2, success=False, result="boom")]
    write(*items)

    collate(*items)

    task = Task.objects.get()
    assert (task.success, task.result) == (False, [0, "boom"])


def test_arguments_that_the_template_lacks_are_gathered_from_the_items():
    items = [item(number, of=2, args=(number,)) for number in range(2)]
    write(*items)

    collate(*items)

    assert Task.objects.get().args == [(0,), (1,)]


def test_elements_that_were_made_tuples_are_shown_as_they_were_given():
    items = [
        item(number, of=2, args=(number,), template={"iter_wrapped": True}) for number in range(2)
    ]
    write(*items)

    collate(*items)

    assert Task.objects.get().args == [0, 1]


def test_a_cached_group_is_told_but_not_saved():
    items = [item(number, of=2, template={"cached": 60}) for number in range(2)]
    write(*items)

    [completed] = collate(*items)

    assert completed.cache is not None
    assert (completed.cache.key, completed.cache.timeout) == ("tests:group-id", 60)
    assert not Task.objects.exists()


def test_an_item_that_cannot_be_read_does_not_hold_up_its_group():
    items = [item(0, of=2), item(1, of=2)]
    write(*items)
    IterItem.objects.filter(index=1).update(result="bm90IGEgcGlja2xl")

    collate(*items)

    readable, unreadable = Task.objects.get().result
    assert readable == 0
    assert "cannot be read" in unreadable


# The cache


@pytest.fixture
def cache():
    caches["default"].clear()
    return caches["default"]


def test_a_cached_result_lies_under_queue_and_id(cache):
    records.cache_write(records.CacheEntry("q:1", "signed", None, None), cache)

    assert cache.get("q:1") == "signed"


def test_members_of_a_cached_group_are_listed_once_each(cache):
    for key in ("q:1", "q:2", "q:1"):
        records.cache_write(records.CacheEntry(key, "signed", None, "q:g:keys"), cache)

    assert records.cached_group_keys(cache, "q:g:keys") == ["q:1", "q:2"]


def test_a_hint_that_was_set_back_loses_no_member(cache):
    records.cached_group_add(cache, "q:g:keys", "q:1", None)
    records.cached_group_add(cache, "q:g:keys", "q:2", None)
    cache.set("q:g:keys:next", 0)

    records.cached_group_add(cache, "q:g:keys", "q:3", None)

    assert records.cached_group_keys(cache, "q:g:keys") == ["q:1", "q:2", "q:3"]


def test_the_list_that_django_q2_keeps_is_read_too(cache):
    cache.set("q:g:keys", ["q:1"])

    records.cached_group_add(cache, "q:g:keys", "q:2", None)

    assert records.cached_group_keys(cache, "q:g:keys") == ["q:1", "q:2"]


def test_a_group_larger_than_one_read_is_read_whole(cache):
    for number in range(250):  # the local-memory cache of the tests keeps 300 entries
        records.cached_group_add(cache, "q:g:keys", f"q:{number}", None)

    assert len(records.cached_group_keys(cache, "q:g:keys")) == 250


def test_deleting_a_cached_group_deletes_its_results(cache):
    for key in ("q:1", "q:2"):
        records.cache_write(records.CacheEntry(key, "signed", None, "q:g:keys"), cache)

    records.cached_group_delete(cache, "q:g:keys")

    assert records.cached_group_keys(cache, "q:g:keys") == []
    assert cache.get("q:1") is None


def test_deleting_an_unknown_cached_group_is_no_error(cache):
    records.cached_group_delete(cache, "q:nobody:keys")


def test_a_cache_that_takes_nothing_does_not_hold_up_the_writer():
    class Away:
        def get(self, key: str) -> None:
            return None

        def add(self, key: str, value: str, timeout: float | None) -> bool:
            return False

    records.cached_group_add(Away(), "q:g:keys", "q:1", None)
