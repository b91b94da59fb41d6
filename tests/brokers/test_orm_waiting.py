"""A blocked claim on SQLite returns when another process commits, not when a timer says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from django_q import databases
from django_q_broker_orm import wake
from django_q_broker_orm.broker import ORM
from django_q_broker_orm.inotify import Inotify
from django_q_broker_orm.table import Due
from tests.brokers.orm_database import (
    WAL,
    BlockedClaim,
    database,
    insert_like_django_q2,
    rolled_back,
    stranger,
)

INSERT_WHEN_TOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("SELECT COUNT(*) FROM django_q_ormq").fetchone()
print("ready", flush=True)
sys.stdin.readline()
connection.execute(
    "INSERT INTO django_q_ormq (key, payload, lock) VALUES ('tests', 'new', '2020-01-01 00:00:00')"
)
"""

ROLLBACK_JOURNAL = {"init_command": "PRAGMA journal_mode=DELETE;"}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may succeed because the longest wait is over."""
    monkeypatch.setattr("django_q_broker_orm.broker.LONGEST_WAIT_SECONDS", 60)


@pytest.fixture(params=[WAL, ROLLBACK_JOURNAL], ids=["wal", "rollback journal"])
def alias(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    settings: Settings,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[str]:
    settings.Q_CLUSTER = {"name": "tests", "orm": "queue"}
    options = request.param
    with django_db_blocker.unblock(), database(tmp_path / "queue.sqlite3", **options) as alias:
        yield alias


@pytest.fixture
def blocked(alias: str) -> Iterator[BlockedClaim]:
    claim = BlockedClaim()
    yield claim
    claim.ring()
    claim.outcome()
    claim.close()


@pytest.fixture
def without_inotify(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: str, names: Iterable[str]) -> Inotify:
        raise OSError("no inotify")

    monkeypatch.setattr(wake, "Inotify", refuse)


@pytest.fixture
def producer(alias: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that inserts a row when a line is written to it."""
    path = str(connections[alias].settings_dict["NAME"])
    with subprocess.Popen(
        [sys.executable, "-c", INSERT_WHEN_TOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate("\n" if process.poll() is None else None)


class TestABlockedClaim:
    def test_another_process_s_commit_wakes_it(
        self, producer: subprocess.Popen[str], blocked: BlockedClaim
    ) -> None:
        producer.communicate("\n")

        assert blocked.outcome() == ["new"]

    @pytest.mark.usefixtures("without_inotify")
    def test_without_inotify_it_polls(
        self, producer: subprocess.Popen[str], blocked: BlockedClaim
    ) -> None:
        producer.communicate("\n")

        assert blocked.outcome() == ["new"]

    def test_an_enqueue_in_this_process_wakes_it(self, blocked: BlockedClaim) -> None:
        ORM().enqueue("package")

        assert blocked.outcome() == ["package"]

    def test_the_waker_ends_it(self, blocked: BlockedClaim) -> None:
        blocked.ring()

        assert blocked.outcome() == []

    def test_other_writes_of_the_site_do_not(self, alias: str, blocked: BlockedClaim) -> None:
        with stranger() as other:
            other.execute("CREATE TABLE unrelated (id INTEGER)")
            insert_like_django_q2(other, "of another queue", key="another")
            other.execute("DELETE FROM django_q_ormq")
            insert_like_django_q2(other, "wanted")

        assert blocked.outcome() == ["wanted"]


class TestTime:
    def test_a_delayed_package_is_claimed_when_its_time_comes(self, alias: str) -> None:
        broker = ORM()
        soon = timezone.now() + timedelta(milliseconds=80)
        broker.enqueue("delayed", available_at=soon)

        (delivery,) = broker.claim(1, 60)

        assert delivery.package == "delayed"
        assert timezone.now() >= soon
        broker.close()

    def test_a_lapsed_lease_is_claimed_when_it_ends(self, alias: str) -> None:
        broker = ORM()
        broker.enqueue("package")
        broker.claim(1, 0.08)

        (again,) = broker.claim(1, 60)

        assert again.lapses == 1
        broker.close()


class CountedBroker(ORM):
    """Counts how often its claims ask the table what is due, and never waits."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self._ask = self._table.due
        self._table.due = self._count  # type: ignore[method-assign]
        self._waiter.wait = lambda seconds: wake.Woken.RUNG  # type: ignore[method-assign]

    def _count(self, now: datetime) -> Due:
        self.looks += 1
        return self._ask(now)


@pytest.fixture
def idle(alias: str) -> Iterator[CountedBroker]:
    """A broker that has looked once, and found nothing."""
    broker = CountedBroker()
    assert broker.claim(1, 60) == []
    assert broker.looks == 1
    yield broker
    broker.close()


class TestAnIdleQueue:
    def test_is_not_asked_again_while_nobody_writes(self, idle: CountedBroker) -> None:
        for _ in range(5):
            idle.claim(1, 60)

        assert idle.looks == 1

    def test_is_asked_again_after_another_s_commit(self, idle: CountedBroker) -> None:
        with stranger() as other:
            insert_like_django_q2(other)

        assert len(idle.claim(1, 60)) == 1

    def test_is_asked_again_after_a_write_of_its_own(self, idle: CountedBroker) -> None:
        idle.enqueue("package")

        assert len(idle.claim(1, 60)) == 1

    def test_is_asked_again_over_another_connection(self, idle: CountedBroker) -> None:
        connections[idle.alias].close()

        idle.claim(1, 60)

        assert idle.looks == 2

    def test_is_asked_again_when_the_next_lock_has_come_due(
        self, idle: CountedBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        later = timezone.now() + timedelta(hours=1)
        idle.enqueue("delayed", available_at=later)
        assert [idle.claim(1, 60), idle.claim(1, 60)] == [[], []]
        looks = idle.looks

        monkeypatch.setattr(idle._clock, "now", lambda: later)

        assert len(idle.claim(1, 60)) == 1
        assert looks == 2

    def test_is_asked_now_and_then_whatever_the_database_says(
        self, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_q_broker_orm.broker.LONGEST_LULL_SECONDS", 0)
        broker = CountedBroker()

        broker.claim(1, 60)
        broker.claim(1, 60)

        assert broker.looks == 2
        broker.close()

    def test_is_asked_inside_a_transaction(self, idle: CountedBroker) -> None:
        with rolled_back():
            idle.claim(1, 60)

        assert idle.looks == 2


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_other_files_in_the_database_s_folder_are_not_looked_into(
    alias: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiter = wake.SQLiteWaiter(alias)
    waiter.before_looking()
    waiter._stirred_at = float("-inf")
    reads = []
    read = waiter._read_version
    monkeypatch.setattr(waiter, "_read_version", lambda: reads.append(1) or read())

    (tmp_path / "site.log").write_text("x")
    waiter.wait(0.02)

    assert len(reads) == 2  # one before the wait, one after it
    waiter.close()


class TestTheWriteAheadLog:
    @pytest.mark.parametrize("alias", [WAL], indirect=True)
    def test_it_is_emptied_when_work_ceases(self, alias: str) -> None:
        databases.prepare(alias)
        broker = ORM()
        broker.enqueue_many(["package"] * 10)
        log = Path(f"{connections[alias].settings_dict['NAME']}-wal")
        assert log.stat().st_size > 0

        broker._waiter.before_looking()
        broker._waiter.found_work()
        broker._waiter.wait(0)

        assert log.stat().st_size == 0
        broker.close()


class TestInotify:
    def test_a_folder_that_is_not_there_is_an_oserror(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="No such file"):
            Inotify(str(tmp_path / "missing"), ["x"])

    @pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
    def test_only_the_named_files_are_heard(self, tmp_path: Path) -> None:
        listener = Inotify(str(tmp_path), ["queue.db", "queue.db-wal"])

        (tmp_path / "queue.db.log").write_text("x")
        other = listener.drain()
        (tmp_path / "queue.db-wal").write_text("x")
        ours = listener.drain()

        listener.close()
        assert (other, ours) == (False, True)

    def test_changes_that_nobody_hears_of_end_in_polling(
        self, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiter = wake.SQLiteWaiter(alias)
        monkeypatch.setattr(Inotify, "drain", lambda self: False)
        with stranger() as other:
            for number in range(wake.DEAF_AFTER):
                waiter.before_looking()
                insert_like_django_q2(other, str(number))
                assert waiter.wait(0) is wake.Woken.CHANGED

        assert waiter._inotify is None


def test_a_look_that_takes_longer_than_a_claim_may_wait_ends_it(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = ORM("tests")
    # Over before it begins: waited for less than no time, which no system can sleep.
    monkeypatch.setattr("django_q_broker_orm.broker.LONGEST_WAIT_SECONDS", -1)
    broker._waiter = wake.Waiter(0.2)

    assert broker.claim(1, 60) == []
