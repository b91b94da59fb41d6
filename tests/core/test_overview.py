"""The figures that `qinfo` and the admin show, and what they ask the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_q import overview as overview_module
from django_q.brokers import Broker
from django_q.errors import ConfigurationError
from django_q.models import Schedule, Task
from django_q.overview import Overview, gather, queue_sizes
from django_q.status import Stat
from django_q.tasks import async_task
from tests.harness import Project

pytestmark = pytest.mark.django_db


class Away(Broker):
    """A broker whose server is away."""

    def queue_size(self) -> int:
        raise OSError("no route to host")


class Speechless(Broker):
    """A broker of 1.x that cannot count."""

    def queue_size(self) -> int:
        return None  # type: ignore[return-value]


def store(count: int, *, hours_ago: float = 0, seconds: float = 1, success: bool = True) -> None:
    stopped = timezone.now() - timedelta(hours=hours_ago)
    started = stopped - timedelta(seconds=seconds)
    Task.objects.bulk_create(
        Task(id=uuid4().hex, name="t", func="f", started=started, stopped=stopped, success=success)
        for _ in range(count)
    )


def overview(**figures: Any) -> Overview:
    zeros = dict.fromkeys(
        ("clusters", "workers", "restarts", "queued", "successes", "failures", "schedules"), 0
    )
    return Overview(**{**zeros, "tasks_per_day": 0.0, "average_seconds": None, **figures})


def stat(workers: list[int], reincarnations: int) -> Stat:
    return Stat.from_snapshot({"workers": workers, "reincarnations": reincarnations})


def test_nothing_at_all_is_all_zeros_and_no_average():
    assert gather([]) == overview()


def test_clusters_are_summed_up():
    found = gather([stat([1, 2], 3), stat([4], 5)])

    assert (found.clusters, found.workers, found.restarts) == (2, 3, 8)


def test_the_tables_are_counted():
    store(3)
    store(2, success=False)
    Schedule.objects.create(func="f")

    found = gather([])

    assert (found.successes, found.failures, found.schedules) == (3, 2, 1)


def test_the_rate_and_the_average_are_those_of_the_successes_of_24_hours():
    store(2, hours_ago=23, seconds=1)
    store(1, hours_ago=1, seconds=2.5)
    store(5, hours_ago=25, seconds=100)
    store(5, success=False, seconds=100)

    found = gather([])

    assert found.tasks_per_day == 3
    assert found.average_seconds == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("tasks_per_day", "rate"),
    [
        (0, (0, "day")),
        (24, (24, "day")),
        (177.12, (7.38, "hour")),
        (1440, (60, "hour")),
        (2880, (2, "minute")),
        (86400, (60, "minute")),
        (172800, (2, "second")),
    ],
)
def test_the_rate_is_told_per_the_unit_that_suits_it(tasks_per_day, rate):
    """As Django Q2 was seen to do it."""
    assert overview(tasks_per_day=tasks_per_day).rate() == (pytest.approx(rate[0]), rate[1])


def test_of_very_many_the_latest_are_averaged(monkeypatch):
    monkeypatch.setattr(overview_module, "AVERAGED_TASKS", 2)
    store(1, hours_ago=3, seconds=100)
    store(1, hours_ago=2, seconds=1)
    store(1, hours_ago=1, seconds=2)

    found = gather([])

    assert (found.tasks_per_day, found.average_seconds) == (3, 1.5)


def test_the_tables_take_four_statements_and_no_row_is_loaded():
    store(3)

    with CaptureQueriesContext(connection) as queries:
        gather([], Broker())

    assert len(queries) == 4
    assert all("COUNT(*)" in each["sql"] or "AVG(" in each["sql"] for each in queries)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans")
def test_tasks_are_counted_by_indexes_alone_and_those_of_24_hours_found_by_one():
    with CaptureQueriesContext(connection) as queries:
        gather([], Broker())

    with connection.cursor() as cursor:
        plans = [
            " ".join(row[-1] for row in cursor.execute(f"EXPLAIN QUERY PLAN {each['sql']}"))
            for each in queries.captured_queries[:3]
        ]
    counts, finished, average = plans
    assert counts.endswith("USING COVERING INDEX django_q_task_success")
    assert finished.endswith("USING COVERING INDEX django_q_task_success (success=? AND stopped>?)")
    assert "USING INDEX django_q_task_success (success=? AND stopped>?)" in average
    assert "TEMP" not in average


def test_missing_tables_are_explained():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_q_task RENAME TO elsewhere")

    with pytest.raises(ConfigurationError, match=r"run `manage.py migrate`"):
        gather([])


ON_A_SERVER = """
from datetime import timedelta
from uuid import uuid4
from django.utils import timezone
from django_q.models import Task
from django_q.overview import gather
for hours in range(48):
    stopped = timezone.now() - timedelta(hours=hours, seconds=1)
    started = stopped - timedelta(seconds=hours + 0.25)
    Task(id=uuid4().hex, name="t", func="f", success=True, started=started, stopped=stopped).save()
Task(id=uuid4().hex, name="t", func="f", success=False, started=started, stopped=stopped).save()
found = gather()
[found.successes, found.failures, found.tasks_per_day, round(found.average_seconds, 3)]
"""


@pytest.mark.parametrize("database_name", ["postgresql", "mariadb"], indirect=True)
def test_servers_sum_up_the_same(project: Project) -> None:
    project.configure({})

    assert project.run(ON_A_SERVER) == [48, 1, 24.0, 11.75]


# Queues


@pytest.fixture
def two_queues(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "short", "orm": "default", "ALT_CLUSTERS": {"long": {}}}
    async_task("math.floor", 1.5)
    async_task("math.floor", 1.5, cluster="long")
    async_task("math.floor", 1.5, cluster="long")


@pytest.mark.usefixtures("two_queues")
def test_every_queue_that_the_settings_name_is_counted():
    assert queue_sizes() == {"short": 1, "long": 2}
    assert gather([]).queued == 3


@pytest.mark.usefixtures("two_queues")
def test_of_a_broker_that_is_given_its_own_queue_is_counted():
    from django_q.brokers import get_broker

    assert gather([], get_broker("long")).queued == 2


@pytest.mark.parametrize("broker", [Away, Speechless])
def test_a_queue_that_cannot_be_counted_hides_no_other(settings, broker):
    elsewhere = {"broker_class": f"{__name__}.{broker.__name__}"}
    settings.Q_CLUSTER = {"name": "short", "orm": "default", "ALT_CLUSTERS": {"far": elsewhere}}

    assert queue_sizes() == {"short": 0, "far": None}


def test_why_a_queue_cannot_be_counted_is_logged(settings, caplog):
    settings.Q_CLUSTER = {"name": "far", "broker_class": f"{__name__}.Away"}

    with caplog.at_level("DEBUG", logger="django-q"):
        queue_sizes()

    assert "The queue 'far' cannot be counted: OSError: no route to host" in caplog.text


def test_what_is_away_is_an_error_of_the_sum(settings):
    settings.Q_CLUSTER = {"broker_class": f"{__name__}.Away"}

    with pytest.raises(OSError, match="no route"):
        gather([])
