"""Queued tasks in the admin: key and lock can be changed, but not under a cluster that has one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_q import package
from django_q.admin import queue
from django_q.admin.queue import READ_IN_LISTS
from django_q.brokers.registry import get_broker
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from tests.brokers.orm_database import database

pytestmark = pytest.mark.django_db

LIST = reverse("admin:django_q_ormq_changelist")
NOW = timezone.now()
LATER = NOW + timedelta(hours=1)
FORM = {"key": "tests", "lock_0": "2030-01-31", "lock_1": "18:00:00"}


@pytest.fixture
def site() -> Client:
    """Return a client that may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def signed(**fields: Any) -> str:
    task = {
        "id": "f" * 32, "name": "white-shop-oven-two", "func": "shop.tasks.send",
        "args": (1, "two"), "kwargs": {"to": "me"}, "group": "mails", "started": NOW, "timeout": 9,
    }  # fmt: skip
    return package.dumps(task | fields)


def queued(using: str = "default", **fields: Any) -> OrmQ:
    values = {"key": "tests", "payload": signed(), "lock": NOW} | fields
    return OrmQ.objects.using(using).create(**values)


def page_of(row: OrmQ, what: str = "change") -> str:
    return reverse(f"admin:django_q_ormq_{what}", args=(row.pk,))


def act(site: Client, action: str, *rows: OrmQ, **more: str) -> str:
    marked = [row.pk for row in rows]
    form = {"action": action, "_selected_action": marked} | more
    return site.post(LIST, form, follow=True).content.decode()


# The list


def test_the_list_tells_the_tasks_and_names_what_it_cannot_read(site: Client) -> None:
    queued()
    queued(payload="garbage")
    queued(payload=signed(args=("x" * READ_IN_LISTS,)))

    page = site.get(LIST).content.decode()

    assert all(page.count(text) == 1 for text in ("white-shop-oven-two", "shop.tasks.send"))
    assert "*BadSignature" in page
    assert "*TooLong" in page


def test_long_payloads_stay_in_the_database_and_no_row_asks_for_its_own(site: Client) -> None:
    for _ in range(3):
        queued(payload=signed(args=("x" * READ_IN_LISTS,)))
    site.get(LIST)

    with CaptureQueriesContext(connections["default"]) as queries:
        site.get(LIST)

    of_the_queue = [each["sql"] for each in queries if 'FROM "django_q_ormq"' in each["sql"]]
    assert [sql for sql in of_the_queue if '"id" = ' in sql] == []
    (of_the_list,) = (sql for sql in of_the_queue if "payload" in sql)
    assert of_the_list.count('"django_q_ormq"."payload"') == 2  # both in the CASE


def test_nothing_of_a_payload_is_run(site: Client) -> None:
    row = queued(payload=SignedPackage.dumps({"id": "a", "func": "f", "args": (Exploding(),)}))

    pages = [site.get(url).content.decode() for url in (LIST, page_of(row))]

    assert all("exploded" not in page for page in pages)
    assert "builtins.exec" in pages[1]


class Exploding:
    """What runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise RuntimeError('exploded')",)


def test_the_filter_offers_the_queues_that_there_are(site: Client) -> None:
    for key in ("tests", "short", "tests", "long"):
        queued(key=key)

    page = site.get(LIST, {"key": "short"}).content.decode()

    assert [f"?key={key}" in page for key in ("long", "short", "tests", "other")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert "1 queued task" in page.lower()


# A package's page


def test_the_page_of_a_package_shows_all_that_is_in_it(site: Client) -> None:
    page = site.get(page_of(queued(payload=signed(args=("x" * READ_IN_LISTS, "last")))))

    text = page.content.decode()
    parts = ("shop.tasks.send", "last", "timeout", "mails")
    assert [part for part in parts if part not in text] == []
    assert 'name="payload"' not in text


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("garbage", "carries no signature"),
        (signed()[:-1] + "_", "another SECRET_KEY or another"),
        (SignedPackage.dumps(["no task"]), "holds no task but list"),
    ],
    # Signed at their time: as ids they would differ from process to process.
    ids=["garbage", "forged", "no task"],
)
def test_the_page_of_what_cannot_be_read_says_why(site: Client, payload: str, reason: str) -> None:
    assert reason in site.get(page_of(queued(payload=payload))).content.decode()


def test_key_and_lock_are_changed_and_nothing_else(site: Client) -> None:
    row = queued(attempts=2)

    answer = site.post(page_of(row), FORM | {"key": "short", "payload": "mine", "attempts": "0"})

    assert answer.status_code == 302, answer.content.decode()
    after = OrmQ.objects.get()
    assert (after.key, after.payload, after.attempts) == ("short", row.payload, 2)
    assert after.lock == datetime.fromisoformat("2030-01-31T18:00:00Z")
    assert LogEntry.objects.count() == 1


def test_what_a_cluster_works_on_is_not_changed_under_it(site: Client) -> None:
    row = queued(claim=7, lock=LATER)

    assert "a cluster works on it" in site.get(page_of(row)).content.decode()
    page = site.post(page_of(row), FORM | {"key": "short"}, follow=True).content.decode()

    assert "Nothing was changed" in page
    after = OrmQ.objects.get()
    assert (after.key, after.claim, after.lock) == ("tests", 7, LATER)
    assert not LogEntry.objects.exists()


def test_a_claim_that_lapsed_is_over_and_counted_once_its_row_is_changed(site: Client) -> None:
    row = queued(claim=7, lock=NOW)

    site.post(page_of(row), FORM)

    after = OrmQ.objects.get()
    assert (after.claim, after.lapses) == (None, 1)


def test_packages_are_not_added_here(site: Client) -> None:
    assert site.get(reverse("admin:django_q_ormq_add")).status_code == 403


# Actions


def test_a_released_task_can_be_claimed_at_once_and_its_old_claim_is_worth_nothing(
    site: Client,
) -> None:
    queued()
    broker = get_broker()
    (zombie,) = broker.claim(1, 3600)

    page = act(site, "release", OrmQ.objects.get())

    assert "1 task was released." in page
    assert broker.acknowledge_many([zombie.receipt]) == [zombie.receipt]
    (again,) = broker.claim(1, 3600)
    assert (again.key, again.lapses) == (zombie.key, 0)
    assert LogEntry.objects.get().get_change_message() == "Released."


def test_queued_tasks_are_deleted(site: Client) -> None:
    rows = [queued(), queued(claim=7, lock=LATER), queued()]

    act(site, "delete_selected", *rows[:2], post="yes")

    assert OrmQ.objects.get() == rows[2]


def test_who_may_only_look_can_neither_release_nor_change(site: Client) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_ormq"))
    site.force_login(viewer)
    row = queued(claim=7, lock=LATER)

    act(site, "release", row)

    assert site.post(page_of(row), FORM).status_code == 403
    assert OrmQ.objects.get().claim == 7


# Where the queue is


@pytest.fixture
def elsewhere(tmp_path: Path, settings: Any, django_db_blocker: Any) -> Iterator[str]:
    """Have the queue in a database of its own."""
    with django_db_blocker.unblock(), database(tmp_path / "queue.sqlite3") as alias:
        settings.Q_CLUSTER = {"name": "tests", "orm": alias}
        yield alias


def test_a_queue_in_another_database_is_shown_changed_and_deleted_there(
    site: Client, elsewhere: str
) -> None:
    rows = [queued(elsewhere, claim=7, lock=LATER) for _ in range(3)]
    here = queued(payload="here")

    assert "3 queued tasks" in site.get(LIST).content.decode().lower()
    act(site, "release", rows[0])
    assert site.post(page_of(rows[0]), FORM | {"key": "short"}).status_code == 302
    assert site.get(page_of(rows[0], "history")).status_code == 200
    site.post(page_of(rows[1], "delete"), {"post": "yes"})
    act(site, "delete_selected", rows[2], post="yes")

    (after,) = OrmQ.objects.using(elsewhere)
    assert (after.pk, after.key, after.claim) == (rows[0].pk, "short", None)
    assert OrmQ.objects.get() == here


@pytest.mark.parametrize(
    ("options", "is_shown"),
    [
        ({"orm": "default"}, True),
        ({"memory": {}}, False),
        ({"memory": {}, "testing": True}, True),
        ({"memory": {}, "ALT_CLUSTERS": {"short": {"orm": "default"}}}, True),
        ({"redis": None}, True),
        ({"nonsense": 1, "workers": "many"}, False),
    ],
)
def test_it_is_there_where_a_queue_of_the_settings_is_in_a_database(
    settings: Any, options: dict[str, Any], is_shown: bool
) -> None:
    settings.Q_CLUSTER = {"name": "tests", **options}

    assert queue._is_shown() == is_shown
