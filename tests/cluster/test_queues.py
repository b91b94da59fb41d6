"""One `qcluster` on several queues: each with workers, settings and a sentinel of its own."""

import os
import re
import signal
from typing import Any

import pytest

from tests.databases import SQLite
from tests.harness import ClusterProcess, Project, command_line, wait_gone

QUEUES: dict[str, Any] = {
    "workers": 2,
    "save_limit": 0,
    "ALT_CLUSTERS": {"long": {"workers": 1, "timeout": 300, "retry": 2}, "short": {"workers": 1}},
}
BOTH = ("-n", "project", "--cluster-name", "long")

JOBS = '''\
"""Tasks that tell where they run."""

import os

from django_q.conf import get_settings
from django_q.tasks import async_task
from tests.jobs import note


def tell(label):
    note(label, "start")
    settings = get_settings()
    return [settings.cluster_name, settings.timeout, os.environ.get("Q_CLUSTER_NAME"), os.getpid()]


def pass_on(label):
    async_task("told.tell", label)
'''

ENQUEUE = """
from datetime import timedelta
from django.utils import timezone
from django_q.tasks import async_task, schedule

past = timezone.now() - timedelta(minutes=1)
for options in ({}, {"cluster": "long"}):
    async_task("told.tell", "sent", **options)
    async_task("told.pass_on", "passed-on", **options)
    schedule("told.tell", "scheduled", next_run=past, **options)
"""

RELATED = """
from django_q.tasks import async_chain, async_iter, async_task

async_chain([("told.tell", ("linked",)), ("told.tell", ("linked",), {"cluster": "long"})])
async_task("told.tell", "grouped", group="group", cluster="long")
async_iter("tests.jobs.ok", ["one", "two"], cluster="long")
"""

ITERABLE = """
from django_q.models import Task
from django_q.tasks import count_group
[count_group("group"), *Task.objects.filter(func="tests.jobs.ok").values_list("cluster", flat=True)]
"""

TOLD = """
from django_q.models import Task
[[task.args[0], task.cluster, *task.result] for task in Task.objects.filter(func="told.tell")]
"""

STATS = """
from django_q.status import Stat
{stat.name: [stat.pid, stat.sentinel, stat.workers, str(stat.cluster_id)]
 for stat in Stat.get_all() if str(stat.status) == "Idle"}
"""


@pytest.fixture
def project(project: Project) -> Project:
    (project.path / "told.py").write_text(JOBS)
    project.configure(QUEUES)
    return project


def start(project: Project, *arguments: str, **env: str) -> ClusterProcess:
    """Start clusters on two queues, and return when both run."""
    cluster = project.start_cluster(*(arguments or BOTH), **env)
    cluster.wait_for_line(r"Q Cluster .* running\.", count=2)
    return cluster


def told(project: Project, count: int) -> list[list[Any]]:
    """Wait for so many tasks: label, queue, what they found there, and the worker's pid."""
    counted = "SELECT count(*) FROM django_q_task WHERE func = 'told.tell'"
    project.wait_until(lambda: project.query(counted) == [(count,)], 60, f"{count} tasks")
    found: list[list[Any]] = project.run(TOLD)
    return found


def stats(project: Project, count: int = 2) -> dict[str, list[Any]]:
    """Wait until so many clusters are idle, and return what they say of themselves, by queue."""
    found: dict[str, list[Any]] = project.wait_until(
        lambda: found if len(found := project.run(STATS)) == count else None, what="idle clusters"
    )
    return found


def hold_workers(project: Project) -> Any:
    """Have a task wait at a gate in each queue."""
    gate = project.gate()
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('tests.jobs.gate', 'project', {gate.path!r})\n"
        f"async_task('tests.jobs.gate', 'long', {gate.path!r}, cluster='long')"
    )
    return gate


def assert_nothing_is_left(project: Project, cluster: ClusterProcess) -> None:
    project.wait_until(lambda: not cluster.descendants(), what="everybody to leave")
    assert project.processes() == []


def test_each_queue_is_worked_on_by_a_cluster_of_its_own(project: Project) -> None:
    project.run(ENQUEUE + RELATED)

    cluster = start(project)
    tasks = told(project, 9)
    project.wait_until(lambda: project.run(ITERABLE) == [1, "long"], what="the iterable's row")
    known = stats(project)
    title = command_line(cluster.pid)
    cluster.terminate(group=True)

    assert cluster.wait() == 0, cluster.log
    # What each task found where it ran, and by whom it was run.
    root, long = ("project", "project", None, None), ("long", "long", 300, "long")
    assert {tuple(task[:5]) for task in tasks} == {
        *((label, *root) for label in ("sent", "passed-on", "scheduled", "linked")),
        *((label, *long) for label in ("sent", "passed-on", "scheduled", "linked", "grouped")),
    }
    workers = {queue: set(stat[2]) for queue, stat in known.items()}
    assert {queue: len(pids) for queue, pids in workers.items()} == {"project": 2, "long": 1}
    assert all(pid in workers[queue] for _, queue, *_, pid in tasks)
    # One main process, and each cluster with its own sentinel, id and lines.
    assert {stat[0] for stat in known.values()} == {cluster.pid}
    assert re.fullmatch(r"qcluster MainProcess \w+(-\w+){3} \w+(-\w+){3}", title)
    assert len({stat[1] for stat in known.values()}) == len({s[3] for s in known.values()}) == 2
    for line, count in {
        r"Q Cluster \S+ starting": 2,
        r"Q Cluster \S+ works on project\.": 1,
        r"Q Cluster \S+ works on long\.": 1,
        "guarding cluster at": 2,
        "ready for work at": 3,
        "pushing tasks at": 2,
        r"Q Cluster \S+ stopping": 2,
        r"Q Cluster \S+ has stopped": 2,
    }.items():
        cluster.wait_for_line(line, count=count)
        with pytest.raises(AssertionError):
            cluster.wait_for_line(line, timeout=0, count=count + 1)
    assert_nothing_is_left(project, cluster)


ELSEWHERE = """
from datetime import timedelta
from django.utils import timezone
from django_q.tasks import async_chain, async_task, schedule

past = timezone.now() - timedelta(minutes=1)
async_task("told.tell", "sent", cluster="long")
schedule("told.tell", "scheduled", next_run=past, cluster="long")
there, back = ({"cluster": name} for name in ("long", "project"))
links = [("first", back), ("second", there), ("third", there), ("fourth", back)]
async_chain([("told.tell", (label,), options) for label, options in links])
"""


def test_a_queue_may_have_another_broker_and_is_reached_from_the_other_queues(
    project: Project,
) -> None:
    second = SQLite(project.path / "second.sqlite3")
    entry = {"orm": "second", "workers": 1}
    databases = {"default": project.database.settings, "second": second.settings}
    project.configure({"workers": 1, "ALT_CLUSTERS": {"long": entry}}, DATABASES=databases)
    project.migrate("second")
    project.run(ELSEWHERE)
    sent = [
        each.query("SELECT key FROM django_q_ormq ORDER BY key")
        for each in (project.database, second)
    ]

    cluster = start(project)
    tasks = told(project, 6)

    assert cluster.stop() == 0, cluster.log
    assert sent == [[("project",)], [("long",)]]
    assert sorted(task[:2] for task in tasks) == [
        ["first", "project"],
        ["fourth", "project"],
        ["scheduled", "long"],
        ["second", "long"],
        ["sent", "long"],
        ["third", "long"],
    ]
    assert project.starts() == {task[0]: 1 for task in tasks}
    for database in (project.database, second):
        assert database.query("SELECT count(*) FROM django_q_ormq") == [(0,)]


def test_the_death_of_a_sentinel_is_no_affair_of_the_other_queues(project: Project) -> None:
    cluster = start(project)
    before = stats(project)
    mark = cluster.mark()

    os.kill(before["long"][1], signal.SIGKILL)
    cluster.wait_for_line("Starting a new sentinel", since=mark)
    cluster.wait_for_line("ready for work at", since=mark)
    left = wait_gone(before["long"][2], 5)
    project.run(ENQUEUE)
    told(project, 6)
    after = project.wait_until(
        lambda: (
            f if len(f := project.run(STATS)) == 2 and f["long"][1] != before["long"][1] else None
        ),
        what="the new sentinel in the status",
    )
    cluster.terminate()

    assert cluster.wait() == 0, cluster.log
    assert left == []
    assert after["project"] == before["project"]
    assert after["long"][3] == before["long"][3]
    assert_nothing_is_left(project, cluster)


def test_a_second_signal_stops_all_clusters_at_once(project: Project) -> None:
    hold_workers(project)
    cluster = start(project)
    project.wait_for_starts(2)

    cluster.send(signal.SIGINT, group=True)
    cluster.wait_for_line(r"Q Cluster .* stopping\.", count=2)
    cluster.send(signal.SIGINT, group=True)

    assert cluster.wait(20) == 0, cluster.log
    # Ended and given back, not failed.
    assert project.tasks() == []
    assert sorted(project.query("SELECT key, attempts FROM django_q_ormq")) == [
        ("long", 0),
        ("project", 0),
    ]
    assert_nothing_is_left(project, cluster)


def test_nothing_outlives_a_main_process_that_was_killed(project: Project) -> None:
    gate = hold_workers(project)
    cluster = start(project)
    project.wait_for_starts(2)

    cluster.kill()
    cluster.wait_for_line("The main process is gone; stopping", count=2)
    gate.open()

    assert_nothing_is_left(project, cluster)
    assert [task["success"] for task in project.tasks()] == [1, 1]


def test_each_stops_when_its_queue_is_empty_if_it_shall_run_once(project: Project) -> None:
    project.run(ENQUEUE)

    cluster = project.start_cluster("--run-once", *BOTH)

    assert cluster.wait() == 0, cluster.log
    ran = {(label, queue) for label, queue, *_ in project.run(TOLD)}
    assert {("sent", "project"), ("sent", "long"), ("passed-on", "project")} <= ran
    assert project.query("SELECT count(*) FROM django_q_ormq") == [(0,)]
    assert_nothing_is_left(project, cluster)


def test_processes_that_inherit_nothing_live_in_the_settings_of_their_queue(
    project: Project,
) -> None:
    project.configure(QUEUES | {"start_method": "spawn", "workers": 1})
    project.run(ENQUEUE)

    # The variable names another queue than most of these processes work on.
    cluster = start(project, "-n", "long", "-n", "project", Q_CLUSTER_NAME="short")
    tasks = told(project, 6)
    cluster.terminate(group=True)

    assert cluster.wait() == 0, cluster.log
    assert {tuple(task[1:5]) for task in tasks} == {
        ("project", "project", None, "project"),
        ("long", "long", 300, "long"),
    }
    assert_nothing_is_left(project, cluster)


# What ends it


BROKERS = """\
from django_q.brokers import Broker
from django_q.errors import BrokerUnavailable

class Silent(Broker):
    def ping(self):
        return False

class Absent(Broker):
    @staticmethod
    def get_connection(list_key=None):
        raise BrokerUnavailable("nobody is there")
"""


def test_a_cluster_that_gives_up_ends_the_others_too(project: Project) -> None:
    (project.path / "strange.py").write_text(BROKERS)
    silent = {"broker_class": "strange.Silent", "connect_timeout": 0.5}
    project.configure({"workers": 1, "ALT_CLUSTERS": {"long": silent}})

    cluster = project.start_cluster(*BOTH)

    assert cluster.wait() == 1
    cluster.wait_for_line(r"CRITICAL .* was not reached within 0\.5 seconds \(connect_timeout\)")
    cluster.wait_for_line("has stopped", count=2)
    assert_nothing_is_left(project, cluster)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (BOTH, "The broker of long was not reached within 0.5 seconds"),
        (("-n", "short", "-n", "short"), "The queue 'short' is named twice"),
        (("-n", "project", "-n", "main"), "The queue 'main' is named twice"),
    ],
    ids=["absent", "twice", "both-names-of-the-root"],
)
def test_nothing_is_started_when_one_cannot_be(
    project: Project, arguments: tuple[str, ...], sentence: str
) -> None:
    (project.path / "strange.py").write_text(BROKERS)
    absent = {"broker_class": "strange.Absent", "connect_timeout": 0.5}
    project.configure({"cluster_name": "main", "ALT_CLUSTERS": {"long": absent}})

    done = project.manage("qcluster", *arguments, check=False)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "starting" not in done.stdout + done.stderr
