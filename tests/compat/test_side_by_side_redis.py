"""Clusters and producers of Django Q2 and of ours on one Redis: the days of a rolling upgrade."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.compat.old_sites import Q2, OldSite
from tests.compat.test_side_by_side import ENQUEUE, LABELS, RAN, READ, SLEEP
from tests.harness import Project
from tests.redis_servers import Redis

Q2_ON_REDIS = dataclasses.replace(Q2, others=("redis",))

EACH_SIDE = 150

QUEUE = """
from django_q.brokers import get_broker
from django_q.tasks import async_task
broker = get_broker()
for number in range(3):
    async_task("tests.jobs.ok", "{side}-%d" % number)
[broker.list_key, broker.queue_size()]
"""

UNPACK = """
from django_q.brokers import get_broker
from django_q.signing import SignedPackage
broker = get_broker()
packages = [pair[1] for _ in range(6) for pair in broker.dequeue()]
sorted(SignedPackage.loads(package)["args"][0] for package in packages)
"""

CLUSTERS = """
from django_q.status import Stat
[[str(stat.cluster_id), stat.pid] for stat in Stat.get_all()]
"""

KEEP_BACK = """
from django_q.brokers import get_broker
from django_q.signing import SignedPackage
task = {"id": "1" * 32, "name": "urgent", "func": "tests.jobs.ok", "args": ("urgent",),
        "kwargs": {}, "started": __import__("django.utils.timezone").utils.timezone.now()}
get_broker().enqueue(SignedPackage.dumps(task), priority=1)
"""

SIZE = "from django_q.brokers import get_broker\nget_broker().queue_size()"

EmptyQueue = Callable[[], None]


@pytest.fixture
def name() -> str:
    """Return the name of a queue of the test's own."""
    return f"side-{uuid4().hex[:8]}"


@pytest.fixture
def ours(project: Project, redis_server: Redis, name: str) -> Project:
    """Return the project as ours runs it on Redis."""
    address = redis_server.settings()
    project.configure({"name": name, "orm": None, "redis": address, "save_limit": 0})
    return project


@pytest.fixture
def django_q2(ours: Project) -> OldSite:
    """Return the project as Django Q2 runs it on the same Redis."""
    return OldSite(ours, Q2_ON_REDIS)


@pytest.fixture
def wait_for_empty_queue(ours: Project, redis_server: Redis, name: str) -> EmptyQueue:
    """Return what waits until nothing is queued and nothing is held."""

    def is_empty() -> bool:
        keys = (f"django_q:{name}:q", f"{{django_q:{name}:q}}:claims")
        return not redis_server.run_command("EXISTS", *keys)

    return lambda: ours.wait_until(is_empty, 30, "an empty queue")


def test_both_put_bare_packages_into_one_list(
    ours: Project, django_q2: OldSite, redis_server: Redis, name: str
) -> None:
    key = f"django_q:{name}:q"

    assert django_q2.run(QUEUE.format(side="theirs")) == [key, 3]
    assert ours.run(QUEUE.format(side="ours")) == [key, 6]

    assert redis_server.run_command("TYPE", key) == "list"
    assert redis_server.run_command("KEYS", f"*{name}*") == [key]
    expected = sorted(f"{side}-{number}" for side in ("theirs", "ours") for number in range(3))
    assert django_q2.run(UNPACK) == expected


def test_django_q2_runs_what_ours_enqueues(
    ours: Project, django_q2: OldSite, wait_for_empty_queue: EmptyQueue
) -> None:
    ids = ours.run(ENQUEUE)
    django_q2.queue_what_is_due()

    with django_q2.cluster():
        ours.wait_for_tasks(len(LABELS))
        wait_for_empty_queue()

    assert ours.starts() == dict.fromkeys(LABELS, 1)
    assert (ids["sum"], "hook") in [note[:2] for note in ours.ledger()]
    assert ours.run(READ.format(ids=ids)) == RAN


def test_ours_runs_what_django_q2_enqueues(
    ours: Project, django_q2: OldSite, wait_for_empty_queue: EmptyQueue
) -> None:
    ids = django_q2.run(ENQUEUE)

    ours.start_cluster()
    ours.wait_for_tasks(len(LABELS))
    wait_for_empty_queue()

    assert ours.starts() == dict.fromkeys(LABELS, 1)
    ours.wait_until(
        lambda: (ids["sum"], "hook") in [note[:2] for note in ours.ledger()], what="the hook"
    )
    assert django_q2.run(READ.format(ids=ids)) == RAN


def test_clusters_of_both_share_a_list_and_run_each_task_once(
    ours: Project, django_q2: OldSite, wait_for_empty_queue: EmptyQueue
) -> None:
    cluster = ours.start_cluster()
    cluster.wait_for_line("running")

    with django_q2.cluster() as theirs, ThreadPoolExecutor() as both:
        theirs.wait_for_line("running")
        enqueued = [
            both.submit(site.run, SLEEP.format(count=EACH_SIDE, side=side))
            for side, site in (("ours", ours), ("theirs", django_q2))
        ]
        for side in enqueued:
            side.result()
        ours.wait_for_tasks(2 * EACH_SIDE, timeout=60)
        wait_for_empty_queue()
        workers = set(cluster.descendants())

    expected = {f"{side}-{number}" for side in ("ours", "theirs") for number in range(EACH_SIDE)}
    assert ours.starts() == dict.fromkeys(expected, 1)
    assert len(ours.tasks()) == len(expected)
    by_ours = {note.label for note in ours.ledger() if note.pid in workers}
    assert 1 < len(by_ours) < len(expected)


def test_each_sees_the_clusters_of_both(ours: Project, django_q2: OldSite) -> None:
    cluster = ours.start_cluster()
    with django_q2.cluster() as theirs:
        pids = {cluster.pid, theirs.pid}

        def seen_by(site: Any) -> Callable[[], list[Any]]:
            def both() -> list[Any]:
                found: list[Any] = site.run(CLUSTERS)
                return found if {pid for _id, pid in found} == pids else []

            return both

        by_ours = ours.wait_until(seen_by(ours), 30, "both clusters")
        by_theirs = ours.wait_until(seen_by(django_q2), 30, "both clusters")

    assert len(by_ours) == 2
    assert {cluster_id for cluster_id, _pid in by_ours} == {each for each, _pid in by_theirs}


def test_what_is_not_in_the_list_is_for_ours_alone_which_runs_the_queue_empty(
    ours: Project, django_q2: OldSite, wait_for_empty_queue: EmptyQueue
) -> None:
    ours.run(KEEP_BACK)

    assert (ours.run(SIZE), django_q2.run(SIZE)) == (1, 0)
    assert ours.start_cluster("--run-once").wait() == 0
    wait_for_empty_queue()
    assert ours.starts() == {"urgent": 1}
