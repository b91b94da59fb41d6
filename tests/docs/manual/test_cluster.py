"""The manual's chapter "Cluster": what it prints, by the programs that it names.

Several queues are from the same page of Django Q2. How the managers fared is in the table that is
printed last; more of them are in tests/deployment.
"""

import json
import os
import re
import signal
from collections import Counter

import pytest

from tests.docs.manual.snippets import snippet
from tests.harness import ClusterProcess, Project
from tests.managers import STOPPING, Outcome, RecordOutcome, assert_stopped, begin, type_in
from tests.servers import free_port

QCLUSTER = snippet("cluster/01_qcluster").strip()
STOP = snippet("cluster/03_stopping").splitlines()


# What a cluster prints


def said(lines: list[str]) -> list[str]:
    """Return what a cluster said, without the time, and whoever it was."""
    variable = {
        r"^\d\d:\d\d:\d\d \[Q\]": "[Q]",
        r"Process-[0-9a-f]{32}": "PROCESS",
        r"Q Cluster [a-z]+(-[a-z]+){3} ": "Q Cluster NAME ",
        r" at \d+$": " at PID",
    }
    text = "\n".join(lines)
    for pattern, name in variable.items():
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    # Django Q2's cluster has no process that does this.
    return [line for line in text.splitlines() if line != "[Q] INFO PROCESS stopped scheduling"]


def start_as_printed(project: Project) -> ClusterProcess:
    """Start a cluster as large as the page's, and compare what it says."""
    project.configure({"workers": 8})
    cluster = type_in(project, QCLUSTER)
    page = said(snippet("cluster/02_starting").splitlines())
    project.wait_until(lambda: len(cluster.lines) >= len(page), what="as many lines as the page's")
    # Nine processes report when they are up, in whatever order that is.
    start = said(cluster.lines)
    assert start[0] == page[0]
    assert Counter(start) == Counter(page)
    return cluster


def without(lines: list[str], *texts: str) -> list[str]:
    return [line for line in lines if not any(text in line for text in texts)]


EIGHT_ANEW = "eight workers take long to start anew, and say the same"


@pytest.mark.needs_fork(EIGHT_ANEW)
@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["ctrl-c", "SIGTERM"]
)
def test_a_cluster_says_what_the_page_says(project: Project, number: int, group: bool) -> None:
    cluster = start_as_printed(project)
    started = cluster.mark()

    cluster.send(number, group=group)

    assert cluster.wait() == 0, cluster.log
    page, stop = said(STOP), said(cluster.lines[started:])
    assert Counter(stop) == Counter(page)
    # The pusher stays until it has given back what no worker had started; and the signal tells the
    # sentinel at once, whenever main comes to say so.
    anytime = ("stopped pushing tasks", "Q Cluster NAME stopping.")
    assert without(stop, *anytime) == without(page, *anytime)


@pytest.mark.needs_fork(EIGHT_ANEW)
def test_sigkill_stops_the_rest_of_the_cluster_only(project: Project) -> None:
    cluster = start_as_printed(project)
    started = cluster.mark()

    cluster.kill()

    project.wait_until(lambda: not project.processes(), what="the end of the others")
    assert cluster.wait() == -signal.SIGKILL
    stop = said(cluster.log.splitlines()[started:])
    assert stop[0] == "[Q] ERROR The main process is gone; stopping"
    assert Counter(stop[1:]) == Counter(without(said(STOP), "Q Cluster NAME"))


# Several clusters


def test_clusters_of_one_name_share_a_queue(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1})
    clusters = [type_in(project, QCLUSTER) for _ in range(2)]
    project.run(
        "from django_q.tasks import async_task\n"
        f"[async_task('tests.jobs.gate', i, {gate.path!r}) for i in range(2)] and None"
    )

    project.wait_for_starts(2)

    workers = {note.pid for note in project.ledger()}
    assert [len(workers & {*cluster.descendants()}) for cluster in clusters] == [1, 1]
    gate.open()
    assert [cluster.stop() for cluster in clusters] == [0, 0]


@pytest.mark.parametrize(
    "line",
    ["$ Q_CLUSTER_NAME=long python manage.py qcluster", "$ python manage.py qcluster --name long"],
    ids=["Linux", "Windows"],
)
def test_the_keyword_cluster_chooses_who_runs_a_task_and_who_does_a_schedule(
    project: Project, line: str
) -> None:
    project.configure({"workers": 1, "ALT_CLUSTERS": {"long": {"timeout": 50}}})
    clusters = {"default": type_in(project, QCLUSTER), "long": type_in(project, line)}
    for cluster in clusters.values():
        cluster.wait_for_line("running")
    project.run(
        "from django_q.tasks import async_task, schedule\n"
        "async_task('tests.jobs.ok', 'default-task')\n"
        "async_task('tests.jobs.ok', 'long-task', cluster='long')\n"
        "schedule('tests.jobs.ok', 'default-schedule')\n"
        "schedule('tests.jobs.ok', 'long-schedule', cluster='long') and None"
    )

    project.wait_for_tasks(4)

    for name, cluster in clusters.items():
        ran = {note.label for note in project.ledger() if note.pid in cluster.descendants()}
        assert ran == {f"{name}-task", f"{name}-schedule"}


# Process managers


def test_honcho_runs_a_cluster(project: Project, record_outcome: RecordOutcome) -> None:
    (project.path / "Procfile").write_text(snippet("cluster/04_Procfile"))
    honcho = type_in(project, "$ honcho start")
    gate = begin(project, "busy")

    honcho.terminate()
    honcho.wait_for_line(STOPPING)
    gate.open()

    assert honcho.wait() == 128 + signal.SIGTERM, honcho.log
    honcho.wait_for_line("has stopped")
    # It goes by the shell that it starts, which the signal ends unless it became the cluster.
    told = re.search(r"worker\.1 stopped \(rc=(0|-15)\)", honcho.log)
    assert told, honcho.log
    assert "SIGKILL" not in honcho.log
    assert_stopped(project, "busy")
    code = "0" if told[1] == "0" else f"{told[1]} (its shell's)"
    record_outcome(Outcome("honcho", "honcho start", "SIGTERM", "5 s", code, "143"))


def test_circus_runs_a_cluster(project: Project, record_outcome: RecordOutcome) -> None:
    endpoint, pubsub_endpoint = lay_out_circus(project)
    control = f"$ circusctl --endpoint {endpoint}"
    circus = type_in(project, "$ circusd circus.ini")
    listener = type_in(project, f"$ circusctl --endpoint {pubsub_endpoint} listen watcher.django_q")
    gate = begin(project, "busy")
    # It hears only what comes after it has connected, and does not tell when that is.
    project.wait_until(
        lambda: (
            type_in(project, f"{control} set django_q max_retry 5").wait() == 0
            and "updated" in listener.log
        ),
        what="a listener that hears",
    )

    quitting = type_in(project, f"{control} quit")
    circus.wait_for_line(STOPPING)
    gate.open()

    assert (quitting.wait(), circus.wait()) == (0, 0), circus.log
    circus.wait_for_line("has stopped")
    reaped = listener.wait_for_line(r"watcher\.django_q\.reap")
    [exit_code] = re.findall(r'"exit_code": (-?\d+)', reaped)
    assert exit_code == "0", listener.log
    listener.stop()
    assert_stopped(project, "busy")
    record_outcome(
        Outcome("circus", "circusd circus.ini", "circusctl quit", "30 s", exit_code, "0")
    )


def lay_out_circus(project: Project) -> list[str]:
    """Put circus.ini beside manage.py, with ports that are free, and return its endpoints."""
    text = re.sub(r"\b555[567]\b", lambda _: str(free_port()), snippet("cluster/05_circus"))
    (project.path / "circus.ini").write_text(text)
    return re.findall(r"^(?:pubsub_)?endpoint = (.*)", text, re.MULTILINE)


SUPERVISORD = """\
[unix_http_server]
file = %(here)s/supervisor.sock

[supervisord]
logfile = %(here)s/supervisord.log
pidfile = %(here)s/supervisord.pid
childlogdir = %(here)s

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://%(here)s/supervisor.sock

[include]
files = supervisor.conf
"""


def test_supervisor_runs_a_cluster(project: Project, record_outcome: RecordOutcome) -> None:
    (project.path / "supervisor.conf").write_text(snippet("cluster/06_supervisor"))
    (project.path / "supervisord.conf").write_text(SUPERVISORD)
    supervisor = type_in(project, "$ supervisord --nodaemon")
    first = begin(project, "first")

    restarting = type_in(project, "$ supervisorctl restart django-q")
    wait_for_child(project, STOPPING, 1)
    first.open()
    assert restarting.wait() == 0, restarting.log
    second = begin(project, "second")
    stopping = type_in(project, "$ supervisorctl stop django-q")
    wait_for_child(project, STOPPING, 2)
    second.open()
    assert stopping.wait() == 0, stopping.log

    assert stopping.lines == ["django-q: stopped"]
    told = re.findall(r"stopped: django-q \((.*)\)", supervisor.log)
    assert told == ["exit status 0"] * 2, supervisor.log
    assert project.processes() == [supervisor.pid]
    wait_for_child(project, "has stopped", 2)
    assert supervisor.stop() == 0
    assert_stopped(project, "first", "second")
    for command, status in zip(("restart", "stop"), told, strict=True):
        stop = f"supervisorctl {command} django-q"
        code = status.split()[-1]
        record_outcome(Outcome("supervisor", "supervisord", stop, "10 s", code, "0"))


def wait_for_child(project: Project, text: str, count: int) -> None:
    """Wait until the clusters have said so, in the files in which supervisor keeps it."""
    project.wait_until(
        lambda: (
            sum(path.read_text().count(text) for path in project.path.glob("django-q-*.log"))
            >= count
        ),
        what=f"{count} times {text!r} in supervisor's files",
    )


# The class Cluster; what else its reference promises is in tests/cluster/test_cluster_class.py

HELD = """\
import os

from django_q_broker_orm.broker import ORM


class Held(ORM):
    \"\"\"Lets no cluster start before the gate is open.\"\"\"

    def ping(self):
        os.close(os.open("gate", os.O_RDONLY))
        return super().ping()


def read(path):
    with open(path) as pipe:
        return pipe.read()
"""

LIFE = """\
import json
import os
import threading
from multiprocessing.process import BaseProcess

import django

django.setup()

from django_q.cluster import Cluster
from django_q.status import Stat
from django_q.tasks import async_task, result


def state():
    names = ("is_starting", "is_running", "is_stopping", "has_stopped")
    return [name for name in names if getattr(cluster, name)]


def watch_the_start():
    while not cluster.is_starting:
        pass
    told["at first"] = state(), cluster.start_event.is_set()
    os.open("gate", os.O_RDWR)


told = {}
cluster = Cluster()
watcher = threading.Thread(target=watch_the_start)
watcher.start()
cluster.start()
watcher.join()
told["then"] = state(), cluster.start_event.is_set()
told["classes"] = isinstance(cluster.sentinel, BaseProcess), isinstance(cluster.stat(), Stat)
told["stat"] = cluster.stat().pid == cluster.stat.pid == cluster.pid
task = async_task("held.read", "pipe")
with open("pipe", "w") as pipe:  # The task has opened it, too, and reads to its end.
    cluster.stop_event.set()
    told["in the end"] = state()
    pipe.write("read")
cluster.stop()
told["result"] = result(task)
told["at last"] = state(), cluster.stop_event.is_set()
print("TOLD " + json.dumps(told))
"""


def test_a_cluster_in_user_code_goes_through_the_states_of_the_reference(
    project: Project,
) -> None:
    project.configure({"broker_class": "held.Held"})
    for name in ("gate", "pipe"):
        os.mkfifo(project.path / name)
    (project.path / "held.py").write_text(HELD)
    (project.path / "life.py").write_text(LIFE)

    done = project.python("life.py")

    [line] = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    assert json.loads(line.removeprefix("TOLD ")) == {
        "at first": [["is_starting"], False],
        "then": [["is_running"], True],
        "classes": [True, True],
        "stat": True,
        "in the end": ["is_stopping"],
        "at last": [["has_stopped"], True],
        "result": "read",
    }
