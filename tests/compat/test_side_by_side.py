"""Clusters and producers of Django Q2 and of ours on one queue: the days of a rolling upgrade."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.compat.old_sites import DJANGO_Q, Q2, OldSite, Release, wait_for_empty_queue
from tests.harness import Project

on_each_database = pytest.mark.parametrize("database_name", ["sqlite", "postgresql"], indirect=True)

ENQUEUE = """
from django_q.tasks import async_chain, async_task, schedule
from tests.jobs import ok
chain = [("tests.jobs.ok", ("first",)), ("tests.jobs.ok", ("second",))]
schedule("tests.jobs.ok", "scheduled", answer="on time", name="scheduled")
{
    "sum": async_task(
        "tests.jobs.add", 40, right=2, group="sums", hook="tests.jobs.note_hook", timeout=30
    ),
    "function": async_task(ok, "function", q_options={"task_name": "named"}),
    "failure": async_task("tests.jobs.fail", "failure"),
    "chain": async_chain(chain),
}
"""

READ = """
from django_q.models import Failure, Schedule, Success
from django_q.tasks import fetch, result, result_group
ids = {ids!r}
{{
    "sum": result(ids["sum"]),
    "arguments": [fetch(ids["sum"]).args, fetch(ids["sum"]).kwargs],
    "group": list(result_group("sums")),
    "named": result("named"),
    "failure": fetch(ids["failure"]).success,
    "chain": sorted(result_group(ids["chain"])),
    "scheduled": list(result_group("scheduled")),
    "schedules": Schedule.objects.count(),
    "counts": [Success.objects.count(), Failure.objects.count()],
}}
"""

RAN = {
    "sum": 42,
    "arguments": [[40], {"right": 2}],
    "group": [42],
    "named": "function",
    "failure": False,
    "chain": ["first", "second"],
    "scheduled": ["on time"],
    "schedules": 0,
    "counts": [5, 1],
}

LABELS = ("add", "function", "failure", "first", "second", "scheduled")

SLEEP = """
from django_q.tasks import async_task
for number in range({count}):
    async_task("tests.jobs.sleep", "{side}-%d" % number, 0.02)
"""

HOLD = """
from django_q.tasks import async_task
async_task("tests.jobs.gate", {label!r}, {gate!r})
"""

EACH_SIDE = 150


@pytest.fixture
def django_q2(project: Project) -> OldSite:
    """The project as Django Q2 runs it, on the database that ours has migrated."""
    project.configure({"ack_failures": True, "save_limit": 0})
    return OldSite(project, Q2, retry=60)


@on_each_database
def test_django_q2_runs_what_ours_enqueues(project: Project, django_q2: OldSite) -> None:
    ids = project.run(ENQUEUE)
    django_q2.queue_what_is_due()

    with django_q2.cluster():
        project.wait_for_starts(len(LABELS))
        wait_for_empty_queue(project)

    assert project.starts() == dict.fromkeys(LABELS, 1)
    assert (ids["sum"], "hook") in [note[:2] for note in project.ledger()]
    assert project.run(READ.format(ids=ids)) == RAN


@pytest.mark.parametrize(
    ("release", "database_name"),
    [(Q2, "sqlite"), (Q2, "postgresql"), (DJANGO_Q, "sqlite")],
    ids=str,
    indirect=["database_name"],
)
def test_ours_runs_what_old_producers_enqueue(project: Project, release: Release) -> None:
    project.configure({"ack_failures": True})
    old = OldSite(project, release)
    ids = old.run(ENQUEUE)

    project.start_cluster()
    project.wait_for_starts(len(LABELS))
    wait_for_empty_queue(project)

    assert project.starts() == dict.fromkeys(LABELS, 1)
    project.wait_until(
        lambda: (ids["sum"], "hook") in [note[:2] for note in project.ledger()], what="the hook"
    )
    assert old.run(READ.format(ids=ids)) == RAN


@on_each_database
def test_clusters_of_both_share_a_queue_and_run_each_task_once(
    project: Project, django_q2: OldSite
) -> None:
    project.configure({"workers": 3, "retry": 3, "save_limit": 0})
    gate = project.gate()
    project.run(HOLD.format(label="long", gate=gate.path))
    ours = project.start_cluster()
    project.wait_for_starts(1)

    with django_q2.cluster() as theirs, ThreadPoolExecutor() as both:
        theirs.wait_for_line("running")
        enqueued = [
            both.submit(site.run, SLEEP.format(count=EACH_SIDE, side=side))
            for side, site in (("ours", project), ("theirs", django_q2))
        ]
        for side in enqueued:
            side.result()
        outlive_the_first_lease(project)
        gate.open()
        wait_for_empty_queue(project)
        workers = set(ours.descendants())

    expected = {f"{side}-{number}" for side in ("ours", "theirs") for number in range(EACH_SIDE)}
    assert project.starts() == dict.fromkeys(expected | {"long"}, 1)
    assert len(project.tasks()) == len(expected) + 1
    by_ours = {note.label for note in project.ledger() if note.pid in workers}
    assert 1 < len(by_ours) < len(expected)


def outlive_the_first_lease(project: Project) -> None:
    """Wait until the running task's lease, renewed at a third of it, was renewed four times."""
    leases = set()

    def renewed() -> bool:
        leases.update(project.query("SELECT lock FROM django_q_ormq ORDER BY id LIMIT 1"))
        return len(leases) > 4

    project.wait_until(renewed, what="a renewed lease")


def test_django_q2_takes_over_what_a_killed_cluster_of_ours_held(
    project: Project, django_q2: OldSite
) -> None:
    project.configure({"workers": 1, "retry": 2})
    gate = project.gate()
    project.run(HOLD.format(label="held", gate=gate.path))
    ours = project.start_cluster()
    project.wait_for_starts(1)

    ours.kill(group=True)
    ours.wait()
    gate.open()

    with django_q2.cluster():
        wait_for_empty_queue(project)
    assert project.starts() == {"held": 2}
    assert [task["success"] for task in project.tasks()] == [True]


def test_ours_takes_over_what_a_killed_cluster_of_django_q2_held(
    project: Project, django_q2: OldSite
) -> None:
    hasty = OldSite(project, Q2, retry=2, workers=1)
    gate = project.gate()
    hasty.run(HOLD.format(label="held", gate=gate.path))
    with hasty.cluster():
        project.wait_for_starts(1)
    gate.open()

    project.start_cluster()
    wait_for_empty_queue(project)

    assert project.starts() == {"held": 2}
    assert [task["success"] for task in project.tasks()] == [True]


@pytest.mark.parametrize(
    ("release", "name", "retry", "database_name"),
    [
        (Q2, "0019", 60, "sqlite"),
        (Q2, "0019", 60, "postgresql"),
        # Where a time says since when and not until when, a queued row is due after `retry`.
        (DJANGO_Q, "0014", 5, "sqlite"),
    ],
    ids=str,
    indirect=["database_name"],
)
def test_our_migrations_taken_back_leave_old_clusters_all_that_is_queued(
    project: Project, release: Release, name: str, retry: int
) -> None:
    project.configure({"ack_failures": True})
    ids = project.run(ENQUEUE)

    project.manage("migrate", "--verbosity", "0", "django_q", name)
    old = OldSite(project, release, retry=retry)
    old.queue_what_is_due()
    with old.cluster():
        project.wait_for_starts(len(LABELS))
        wait_for_empty_queue(project)

    assert project.starts() == dict.fromkeys(LABELS, 1)
    assert old.run(READ.format(ids=ids)) == RAN
    assert "[ ]" not in old.manage("showmigrations", "django_q")
