"""What a cluster tells about itself, and where it can be read."""

import os
import pickle
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.core.cache import caches
from django.utils import timezone, translation

from django_q import status
from django_q.brokers import Broker
from django_q.conf import Conf
from django_q.models import ClusterStatus
from django_q.signing import SignedPackage
from django_q.status import Stat, Status

pytestmark = pytest.mark.django_db


class Keeper(Broker):
    """A broker with a place of its own for statuses, as Redis has."""

    kept: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.kept = {}

    def set_stat(self, key, value, timeout):
        self.kept[key] = value

    def get_stat(self, key):
        return self.kept.get(key)

    def get_stats(self, pattern):
        return list(self.kept.values())


@pytest.fixture
def snapshot():
    return {
        "cluster_id": uuid4(), "name": "tests", "host": "here", "pid": 10, "sentinel": 11,
        "pusher": 12, "monitor": 13, "scheduler": 14, "workers": [15, 16], "running": [],
        "reincarnations": 2, "tob": timezone.now() - timedelta(seconds=60), "status": "Idle",
        "task_q_size": 3, "done_q_size": 0, "recorded": 7,
    }  # fmt: skip


@pytest.fixture
def file_cache(settings, tmp_path):
    """A cache that other processes see, too."""
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(tmp_path)}}
    return caches["default"]


def test_a_stat_has_what_the_snapshot_tells(snapshot):
    stat = Stat.from_snapshot(snapshot)

    assert (stat.pid, stat.sentinel, stat.pusher, stat.monitor) == (10, 11, 12, 13)
    assert (stat.workers, stat.reincarnations, stat.status) == ([15, 16], 2, "Idle")
    assert (stat.name, stat.scheduler, stat.host) == ("tests", 14, "here")
    assert (stat.task_q_size, stat.done_q_size, stat.empty_queues()) == (3, 0, False)
    assert 60 <= stat.uptime() < 120
    assert stat.key == Stat.get_key(snapshot["cluster_id"])
    assert stat.key == f"django_q:tests:cluster:{snapshot['cluster_id']}"


def test_a_stat_is_found_in_the_table_where_no_cache_is_shared(snapshot):
    Stat.from_snapshot(snapshot).save()

    assert Stat.get(10, snapshot["cluster_id"]).workers == [15, 16]
    assert [stat.pid for stat in Stat.get_all()] == [10]
    assert ClusterStatus.objects.count() == 1


def test_saving_again_is_one_query(snapshot, django_assert_num_queries):
    stat = Stat.from_snapshot(snapshot)
    stat.save()

    with django_assert_num_queries(1):
        stat.save()


def test_a_status_dies_with_its_time(snapshot):
    Stat.from_snapshot(snapshot).save(ttl=-1)

    assert Stat.get_all() == []
    assert type(Stat.get(10, snapshot["cluster_id"])) is Status


def test_a_new_cluster_clears_the_dead_away(snapshot):
    Stat.from_snapshot(snapshot).save(ttl=-1)

    Stat.from_snapshot({**snapshot, "cluster_id": uuid4()}).save()

    assert ClusterStatus.objects.count() == 1


def test_no_live_cluster_is_passed_over_because_another_expired(snapshot):
    for ttl in (15, -1, 15, -1, 15):
        ClusterStatus.objects.create(
            key=Stat.get_key(uuid4()),
            value=Stat.from_snapshot(snapshot).pack(),
            expires=timezone.now() + timedelta(seconds=ttl),
        )

    assert len(Stat.get_all()) == 3


def test_an_unknown_cluster_is_a_stopped_one():
    found = Stat.get(4711, "nobody")

    assert (type(found), found.pid, found.cluster_id, str(found.status)) == (
        Status, 4711, "nobody", "Stopped",
    )  # fmt: skip


def test_one_argument_finds_by_cluster_id_or_by_pid(snapshot):
    Stat.from_snapshot(snapshot).save()

    assert Stat.get(10).workers == [15, 16]
    assert Stat.get(snapshot["cluster_id"]).workers == [15, 16]
    assert Stat.get(99).workers == []


def test_a_shared_cache_is_used_rather_than_the_table(snapshot, file_cache):
    Stat.from_snapshot(snapshot).save()

    assert [stat.pid for stat in Stat.get_all()] == [10]
    assert SignedPackage.loads(file_cache.get(Stat.get_key(snapshot["cluster_id"]))).pid == 10
    assert not ClusterStatus.objects.exists()


def test_a_broker_that_keeps_stats_is_used_rather_than_the_cache(snapshot, file_cache):
    keeper = Keeper()

    Stat.from_snapshot(snapshot).save(keeper)

    assert list(keeper.kept) == [Stat.get_key(snapshot["cluster_id"])]
    assert [stat.pid for stat in Stat.get_all(keeper)] == [10]
    assert Stat.get(10, snapshot["cluster_id"], broker=keeper).pid == 10
    assert file_cache.get(Stat.get_key(snapshot["cluster_id"])) is None


def test_statuses_of_another_key_are_not_shown(snapshot, settings):
    Stat.from_snapshot(snapshot).save()
    settings.SECRET_KEY = "another-key-of-another-site"

    assert Stat.get_all() == []
    assert Stat.get(10, snapshot["cluster_id"]) is None


def test_a_stat_of_django_q2_is_read(snapshot):
    """Its pickle holds the attributes alone, and not ours."""
    theirs = object.__new__(Stat)
    theirs.__dict__.update(
        pid=10, cluster_id=snapshot["cluster_id"], workers=[1], tob=datetime(2024, 1, 1, tzinfo=UTC)
    )
    ClusterStatus.objects.create(
        key=Stat.get_key(snapshot["cluster_id"]),
        value=SignedPackage.dumps(theirs, True),
        expires=timezone.now() + timedelta(seconds=3),
    )

    (found,) = Stat.get_all()

    assert (found.workers, found.name, found.scheduler, found.running) == ([1], None, 0, [])


def test_the_pickle_names_the_class_that_django_q2_knows(snapshot):
    pickled = pickle.dumps(Stat.from_snapshot(snapshot))

    assert b"django_q.status" in pickled
    assert b"status_store" not in pickled


def test_without_pickle_a_status_travels_as_json(snapshot, settings):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "serializer": "json"}

    Stat.from_snapshot(snapshot).save()

    (found,) = Stat.get_all()
    assert (found.workers, str(found.cluster_id)) == ([15, 16], str(snapshot["cluster_id"]))
    assert found.uptime() >= 60


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_a_state_is_read_in_the_readers_language(snapshot, settings, serializer):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "serializer": serializer}
    with translation.override("de"):
        Stat.from_snapshot({**snapshot, "status": Conf.WORKING}).save()

    [stat] = Stat.get_all()

    assert stat.status == Conf.WORKING == "Working"
    with translation.override("fr"):
        assert stat.status == Conf.WORKING != "Working"


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_what_runs_is_looked_for_when_the_status_is_told(snapshot, settings, serializer):
    since = timezone.now()
    task = {"pid": 15, "number": 3, "id": "a" * 32, "name": "n", "func": "f", "group": None}
    snapshot["running"] = lambda: [{**task, "since": since}]
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "serializer": serializer}

    Stat.from_snapshot(snapshot).save()

    assert [stat.running for stat in Stat.get_all()] == [[{**task, "since": since}]]


def test_a_cluster_id_that_was_carried_as_text_is_a_uuid_again(snapshot):
    told = Stat.from_snapshot({**snapshot, "cluster_id": str(snapshot["cluster_id"])})

    assert told.cluster_id == snapshot["cluster_id"]


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_time_of_birth_can_be_compared_with_now(snapshot, settings, use_tz):
    settings.USE_TZ = use_tz

    stat = Stat.from_snapshot({**snapshot, "tob": time.time() - 60})

    assert 60 <= (timezone.now() - stat.tob).total_seconds() < 120
    assert 60 <= stat.uptime() < 120


def test_the_store_can_be_replaced(snapshot, monkeypatch):
    saved = {}

    class Elsewhere:
        def save(self, key, text, ttl, broker=None):
            saved[key] = ttl

    monkeypatch.setattr(status, "store", Elsewhere())

    Stat.from_snapshot(snapshot).save()

    assert list(saved.values()) == [15]


def test_a_sentinel_may_be_given_instead_of_a_snapshot(snapshot):
    class Sentinel:
        pid = os.getpid()

        def snapshot(self):
            return snapshot

    assert Stat(Sentinel()).pusher == 12
