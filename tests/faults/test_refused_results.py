"""What the database, a broker or user code refuses costs itself, and never stands in the way."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_q import records
from django_q.cluster.lane import Action, Report, Verdict
from django_q.cluster.links import Links
from django_q.cluster.monitor import MOST_CHARACTERS, Monitor
from django_q.errors import UnsupportedByBroker
from django_q.models import Task
from tests.cluster.test_monitor import clerk_with, entries
from tests.harness import Project


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def monitor(pauses: list[float], tmp_path: Path) -> Monitor:
    board = SimpleNamespace(monitor_bell=SimpleNamespace(wait=pauses.append), folder=tmp_path)
    crew: Any = SimpleNamespace(board=board, list_key="queue")
    return Monitor("Process-1", crew)


@pytest.mark.django_db
def test_results_wait_for_a_table_that_is_not_there_yet(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = records.write

    def write_once_migrated(outcomes: Any, using: str) -> Any:
        if len(pauses) < 3:
            raise OperationalError("no such table: django_q_task")
        return write(outcomes, using)

    monkeypatch.setattr(records, "write", write_once_migrated)

    clerk_with(pauses).write(entries(4))

    assert Task.objects.filter(success=True).count() == 4


@pytest.mark.django_db
def test_an_iterable_that_cannot_be_completed_holds_up_nobody(
    monitor: Monitor, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise AttributeError("a class that is no more")

    monkeypatch.setattr(records, "collate", fail)

    assert monitor.complete({}) == []
    assert pauses == []


def test_a_link_that_the_broker_refuses_holds_up_nobody(pauses: list[float]) -> None:
    def refuse(package: Any) -> Any:
        raise UnsupportedByBroker("too large")

    clerk = clerk_with(pauses, enqueue=refuse)
    [entry] = entries(1)
    link = records.Link("queue", "package")
    outcome = entry.outcome._replace(link=link)
    entry.report = Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, outcome)
    entry.recorded = records.Recorded.NEW

    links = Links(clerk.patience)
    links.add(entry)

    assert links.queue(clerk.enqueue_link) == [entry]


def test_the_size_of_an_entry_is_that_of_its_columns() -> None:
    [entry] = entries(1)
    row = entry.outcome.row._replace(result="x" * MOST_CHARACTERS, args=None, kwargs=None)
    entry.report = entry.report._replace(outcome=entry.outcome._replace(row=row))

    assert entry.size == MOST_CHARACTERS


def test_an_item_that_ends_its_worker_is_not_tried_for_ever(project: Project) -> None:
    project.configure({"workers": 1, "retry": 1, "backoff": 0})
    project.run(
        "from django_q.tasks import async_iter\n"
        "async_iter('tests.jobs.kill_process', [('a',), ('b',)])"
    )
    cluster = project.start_cluster()

    project.wait_until(lambda: project.queue.is_empty, what="the end")

    runs = 2 if project.queue.retries_failures else 1
    assert project.starts() == {"a": runs, "b": runs}
    assert cluster.stop() == 0
