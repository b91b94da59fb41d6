"""The status panel of the admin's page of this app: what is wrong, in words, and never an error."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.transaction import atomic
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from django_q.admin import panel
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Schedule
from django_q.status import Stat
from tests.servers import free_port

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:app_list", args=["django_q"])
OK = '<li class="success">'


@pytest.fixture
def site() -> Client:
    """Return a client that may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def told(**facts: Any) -> Stat:
    """Save the status of a cluster that lives."""
    now = timezone.now()
    stat = Stat(
        {
            "cluster_id": str(uuid4()),
            "name": "tests",
            "host": "mars",
            "pid": 4711,
            "status": Conf.IDLE,
            "workers": [1, 2],
            "tob": now - timedelta(hours=3),
            "timestamp": now,
        }
        | facts
    )
    stat.save()
    return stat


def shown(site: Client) -> str:
    answer = site.get(PAGE)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


# What is so


def test_a_cluster_is_shown_with_all_its_figures(site: Client) -> None:
    since = timezone.now() - timedelta(seconds=12)
    task = {"pid": 1, "number": 1, "name": "import-prices", "func": "shop.fetch", "since": since}
    told(running=[task], reincarnations=3, status=Conf.WORKING)

    page = shown(site)

    assert f"{OK} <strong>OK</strong>: 1 cluster, 2 workers" in page
    for text in ("mars", "4711", "Working", "3 hours", "shop.fetch", "import-prices", ">3<"):
        assert text in page


def test_of_many_running_tasks_some_are_named_and_the_others_counted(site: Client) -> None:
    told(running=[{"func": f"shop.fetch_{n}", "since": None} for n in range(7)])

    page = shown(site)

    assert page.count("shop.fetch_") == panel.SHOWN_TASKS
    assert "and 2 more" in page


def test_a_task_that_cannot_be_read_is_shown_as_a_task(site: Client) -> None:
    told(running=[{"id": None, "name": None, "func": None, "since": timezone.now()}])

    assert "a task" in shown(site)


def test_a_status_written_by_django_q2_is_shown(site: Client) -> None:
    told(name=None, cluster_id=99, tob=None)
    get_broker().enqueue("waits")

    assert OK in shown(site)


# What is wrong


def test_without_any_cluster_it_says_how_to_start_one(site: Client) -> None:
    assert "No cluster is running" in shown(site)


def test_a_queue_that_waits_for_a_cluster_in_vain_is_named(
    site: Client, settings: Settings
) -> None:
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"ALT_CLUSTERS": {"slow": {}}}
    told()
    for _ in range(2):
        get_broker("slow").enqueue("waits")

    page = shown(site)

    assert "2 tasks wait in the queue slow, and no cluster works on it." in page
    assert "--name slow" in page


def test_a_cluster_that_fell_silent_is_named(site: Client) -> None:
    told(timestamp=timezone.now() - timedelta(seconds=13))

    page = shown(site)

    assert "(mars, process 4711) has told nothing of itself for 13 seconds" in page
    assert 'class="silent"' in page


@pytest.mark.parametrize(("status", "is_said"), [(Conf.IDLE, True), (Conf.STARTING, False)])
def test_fewer_workers_than_were_set_are_counted_once_the_cluster_has_started(
    site: Client, settings: Settings, status: str, is_said: bool
) -> None:
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"workers": 3}
    told(status=status)

    assert ("has 2 of 3 workers" in shown(site)) is is_said


def test_schedules_that_could_not_be_queued_are_counted(site: Client) -> None:
    told()
    for error in ("No module named 'shop'", "", None):
        row = Schedule.objects.create(func="shop.tasks.send")
        Schedule.objects.filter(pk=row.pk).update(error=error)

    assert "1 schedule could not be queued" in shown(site)


def test_a_cluster_that_has_stopped_works_on_no_queue(site: Client) -> None:
    told(status=Conf.STOPPED)
    get_broker().enqueue("waits")

    assert "1 task waits in the queue tests" in shown(site)


# What is away


def redis_at(port: int) -> dict[str, Any]:
    return {"name": "tests", "redis": {"host": "127.0.0.1", "port": port}}


def test_a_broker_that_is_away_is_said_once_and_the_links_are_there(
    site: Client, settings: Settings
) -> None:
    port = free_port()
    settings.Q_CLUSTER = redis_at(port)

    page = shown(site)

    assert page.count(f"Redis at 127.0.0.1:{port}") == 1
    assert reverse("admin:django_q_schedule_changelist") in page


def test_a_broker_that_does_not_answer_is_not_waited_for(
    site: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "PATIENCE_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings.Q_CLUSTER = redis_at(mute.getsockname()[1])

        page = shown(site)

    assert "The broker has not answered within" in page


def test_a_table_that_is_missing_is_named_with_the_cure(site: Client) -> None:
    with atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_q_clusterstatus RENAME TO elsewhere")
        try:
            page = shown(site)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE elsewhere RENAME TO django_q_clusterstatus")

    assert "django_q_clusterstatus is missing" in page
    assert "manage.py migrate" in page


def test_settings_that_cannot_be_used_are_explained(site: Client, settings: Settings) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker_class": "no.such.Broker"}

    assert "no.such.Broker" in shown(site)


# Who sees it


def test_only_who_may_view_something_of_the_app_sees_the_panel() -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    client = Client()
    client.force_login(staff)
    told()
    staff.user_permissions.set(Permission.objects.filter(codename="add_schedule"))

    assert "mars" not in shown(client)

    staff.user_permissions.set(Permission.objects.filter(codename="view_schedule"))

    assert "mars" in shown(client)


def test_without_time_zones_times_are_shown_as_well(site: Client, settings: Settings) -> None:
    settings.USE_TZ = False
    now = timezone.now()
    told(timestamp=now, tob=now.timestamp() - 7200, running=[{"func": "shop.fetch", "since": now}])

    page = shown(site)

    assert "2 hours" in page
    assert "shop.fetch" in page
