"""`django_q.cluster.Cluster` and `Stat`, as user code sees them."""

import json
import logging
import signal
import sys
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from django_q.cluster import get_mp_context
from django_q.cluster.board import Board
from django_q.cluster.cluster import Cluster
from django_q.cluster.fleet import Fleet
from tests.harness import ClusterProcess, Project

SCRIPT = """\
import json
import os
import sys

import django

django.setup()

from django_q.cluster import Cluster
from django_q.conf import Conf
from django_q.status import Stat
from django_q.tasks import async_task, result


def facts(cluster):
    return {name: bool(getattr(cluster, name))
            for name in ("is_starting", "is_running", "is_stopping", "has_stopped")}


cluster = Cluster()
told = {"before": facts(cluster), "status_before": str(cluster.stat.status)}
told["pid_is_ours"] = cluster.start() == cluster.pid == os.getpid()
told["running"] = facts(cluster)
told["seen"] = [stat.pid for stat in Stat.get_all()] == [cluster.pid]
told["started"] = cluster.start_event.is_set(), cluster.stop_event.is_set()
told["sentinel"] = cluster.sentinel.is_alive()
told["timeout"], told["host"] = cluster.timeout, cluster.host == os.uname().nodename
told["name"] = cluster.name
task = async_task("math.copysign", 2, -2)
told["result"] = result(task, wait=20000)
stat = cluster.stat
told["stat"] = {name: getattr(stat, name)
                for name in ("pid", "sentinel", "pusher", "monitor", "workers", "host")}
told["stat_id"] = str(stat.cluster_id) == str(cluster.cluster_id)
told["status"], told["uptime"] = str(stat.status), stat.uptime() > 0
# A result can be read a moment before the cluster itself has noted that it is committed.
told["empty"] = cluster.wait_until(lambda: cluster.stat.empty_queues(), 20)
told["stop"] = cluster.stop()
told["after"], told["status_after"] = facts(cluster), str(cluster.stat.status)
told["stop_again"] = cluster.stop()
print("TOLD " + json.dumps(told))
"""

STATES = ("is_starting", "is_running", "is_stopping", "has_stopped")


def states(true: str | None) -> dict[str, bool]:
    return {state: state == true for state in STATES}


def told_by(project: Project, script: str) -> dict[str, Any]:
    """Run a script in the project and return what it told."""
    (project.path / "script.py").write_text(script)
    done = project.python("script.py")
    [line] = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    told: dict[str, Any] = json.loads(line.removeprefix("TOLD "))
    return told


def test_a_cluster_is_started_asked_and_stopped_by_user_code(project: Project) -> None:
    project.configure({"workers": 2, "timeout": 17})

    told = told_by(project, SCRIPT)

    assert told["before"] == states(None)
    assert told["pid_is_ours"]
    assert told["running"] == states("is_running")
    assert told["started"] == [True, False]
    assert told["sentinel"]
    assert (told["timeout"], told["host"]) == (17, True)
    assert len(told["name"].split("-")) == 4
    assert told["result"] == -2.0
    assert (told["stop"], told["stop_again"]) == (True, False)
    assert told["after"] == states("has_stopped")


def test_the_stat_of_a_cluster_tells_its_processes(project: Project) -> None:
    told = told_by(project, SCRIPT)

    stat = told["stat"]
    pids = [stat["pid"], stat["sentinel"], stat["pusher"], stat["monitor"], *stat["workers"]]
    assert len(set(pids)) == 6
    assert all(pids)
    assert told["stat_id"]
    assert told["seen"]
    assert (told["status_before"], told["status_after"]) == ("Stopped", "Stopped")
    assert told["status"] in ("Idle", "Working")
    assert told["uptime"]
    assert told["empty"]


def test_running_clusters_are_seen_from_elsewhere_without_a_shared_cache(
    project: Project,
) -> None:
    clusters = [project.start_cluster() for _ in range(2)]
    for cluster in clusters:
        cluster.wait_for_line("running")

    code = (
        "from django_q.status import Stat\n"
        "[[s.pid, str(s.status), s.name, len(s.workers), bool(s.pusher and s.monitor),\n"
        "  s.uptime() > 0, Stat.get(s.pid, s.cluster_id).pid] for s in Stat.get_all()]"
    )
    stats = project.wait_until(
        lambda: (
            found if len(found := [s for s in project.run(code) if s[1] == "Idle"]) > 1 else None
        )
    )

    assert sorted(stats) == sorted(
        [c.pid, "Idle", "project", 2, True, True, c.pid] for c in clusters
    )
    assert [cluster.stop() for cluster in clusters] == [0, 0]
    assert {stat[1] for stat in project.run(code)} <= {"Stopped", "Stopping"}


@pytest.mark.django_db
def test_a_sentinel_for_which_there_is_no_room_is_started_a_little_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.Q_CLUSTER = {"orm": "default", "workers": 1}
    cluster = Cluster(fleet=Fleet())
    cluster.board = Board(1)
    cluster.sentinel = cast("BaseProcess", SimpleNamespace(exitcode=-9))
    answers = iter([OSError("no room"), OSError("no room"), None])
    started: list[bool] = []

    def start() -> None:
        answer = next(answers)
        if answer is not None:
            raise answer
        started.append(True)

    monkeypatch.setattr(cluster, "start_sentinel", start)
    monkeypatch.setattr(logging.getLogger("django-q"), "propagate", True)
    naps = []
    while not started:
        assert not cluster.mind()
        naps.append(cluster.nap())
        cluster.fleet.rest(cluster.nap())

    assert caplog.text.count("The sentinel died: -9") == 1
    assert caplog.text.count("Cannot start a sentinel: no room") == 2
    # It never waits itself, so that others have their turn; and it is not tried without a pause.
    assert max(naps) <= 1
    assert len(naps) > 3


SERVE = """\
import django
django.setup()
from django_q.cluster import Cluster
from django_q.conf import configure_logging
configure_logging(1)
cluster = Cluster()
cluster.start()
"""


def serve(project: Project, code: str) -> ClusterProcess:
    (project.path / "serve.py").write_text(code)
    cluster = ClusterProcess([sys.executable, "serve.py"], project, project.env)
    project.clusters.append(cluster)
    cluster.wait_for_line("running")
    return cluster


def test_a_signal_ends_a_cluster_that_user_code_started(project: Project) -> None:
    cluster = serve(project, SERVE + "raise SystemExit(cluster.join())\n")

    cluster.send(signal.SIGTERM)

    assert cluster.wait(10) == 0, cluster.log
    cluster.wait_for_line("has stopped")


def test_a_signal_ends_a_cluster_that_nobody_joins(project: Project) -> None:
    cluster = serve(project, SERVE)

    cluster.send(signal.SIGTERM)

    assert cluster.wait(10) == 0, cluster.log


def test_clusters_are_forked_whatever_the_default_of_the_platform_is() -> None:
    assert get_mp_context().get_start_method() == "fork"


IN_A_TRANSACTION = """\
import json

import django

django.setup()

from django.db import transaction
from django_q.cluster import Cluster
from django_q.models import Schedule
from django_q.tasks import async_task, result

cluster = Cluster()
with transaction.atomic():
    Schedule.objects.create(func="math.sqrt", next_run=None)
    cluster.start()
    told = {"count": Schedule.objects.count()}
told["result"] = result(async_task("math.copysign", 2, -2), wait=20000)
told["reborn"] = cluster.stat.reincarnations
cluster.stop()
print("TOLD " + json.dumps(told))
"""


# Not on SQLite, where a fork inherits the library's own list of who holds which lock.
@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
@pytest.mark.needs_fork("no other start method could share a connection")
def test_a_cluster_that_is_started_in_a_transaction_neither_ends_nor_inherits_it(
    project: Project,
) -> None:
    project.configure({"workers": 1})

    told = told_by(project, IN_A_TRANSACTION)

    assert told == {"count": 1, "result": -2, "reborn": 0}
