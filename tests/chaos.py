"""Kills members of clusters at random and judges the ledger: what was lost, what ran twice.

project.configure(SETTINGS | {"workers": 4})
enqueue(project, labels)
chaos = Chaos(project, seed=1)
chaos.start()
while not is_done(project, labels):
    chaos.kill_one()
chaos.stop()
print(verdict(project, labels, chaos.deaths))
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness import (
    ClusterProcess,
    Note,
    Project,
    command_line,
    session_members,
    wait_gone,
)

SETTINGS: dict[str, Any] = {
    "retry": 3,
    "max_attempts": 1000,
    "backoff": 0,
    "save_limit": 0,
    "max_worker_deaths": 1000,
    "max_lapses": 1000,
}
"""Nothing is given up or cleared away: whatever is killed, each task is to succeed in the end."""

HELPERS = ("pusher", "monitor", "scheduler")
ROLES = ("main", "sentinel", *HELPERS, "worker", "cluster")
"""Whom `kill_one` kills; "cluster" is everybody at once, as the loss of a machine."""

ENQUEUE = """\
from django_q.tasks import async_task
for label in {labels!r}:
    async_task({func!r}, label, *{arguments!r}, task_name=label)
"""


LEFT = """\
from django_q.brokers import get_broker
broker = get_broker()
broker.queue_size() + (broker.lock_size() or 0)
"""


class Death(NamedTuple):
    """A kill, and what it could not but cost."""

    role: str
    pid: int
    """Of the process that was killed; the main one's for a whole cluster."""
    workers: frozenset[int]
    """The workers that ended with it."""
    recorded: frozenset[str]
    """The labels whose success was in the database before it: nothing excuses their repetition."""


class Verdict(NamedTuple):
    """What the ledger and the database say once all is over."""

    lost: list[str]
    """Labels without a recorded success."""
    twice: list[str]
    """Labels that started again though no death had hit their attempt."""
    excused: list[str]
    """Labels that started again because a death had."""
    orphans: list[str]
    """Processes that outlived their clusters."""


class Chaos:
    """A cluster under a process manager, and somebody who kills its processes."""

    def __init__(self, project: Project, seed: int, *arguments: str) -> None:
        self.project = project
        self.arguments = arguments
        self.random = random.Random(seed)
        self.deaths: list[Death] = []
        self.cluster: ClusterProcess | None = None

    def start(self) -> ClusterProcess:
        """Start a cluster, as the process manager does at first and after each death of main."""
        self.cluster = self.project.start_cluster(*self.arguments)
        return self.cluster

    def stop(self, timeout: float = 30) -> int:
        """Stop the cluster, and return its exit status when nobody of any is left to stop."""
        assert self.cluster is not None, "It was not started."
        status = self.cluster.stop(timeout)
        wait_gone(self.project.processes(), timeout)
        return status

    def kill_one(self, role: str | None = None) -> Death:
        """SIGKILL a living process of this role, or of a random one, as soon as there is one.

        A main process is replaced at once, while what it leaves behind may still be stopping.
        """
        role = role or self.random.choice(ROLES)
        if role in ("main", "cluster"):
            death = self._kill_main(whole=role == "cluster")
            self.start()
        else:
            death = self._kill_member(role)
        self.deaths.append(death)
        return death

    def _kill_main(self, whole: bool) -> Death:
        assert self.cluster is not None, "It was not started."
        recorded = recorded_labels(self.project)
        workers: list[int] = []
        if whole:
            # Halted first: nobody is born between the counting and the killing.
            self.cluster.send(signal.SIGSTOP, group=True)
            workers = members(self.project).get("worker", [])
            workers = [pid for pid in workers if os.getsid(pid) == self.cluster.pid]
        self.cluster.kill(group=whole)
        self.cluster.process.wait(10)
        role = "cluster" if whole else "main"
        return Death(role, self.cluster.pid, frozenset(workers), recorded)

    def _kill_member(self, role: str) -> Death:
        recorded = recorded_labels(self.project)
        while True:
            pid = self.random.choice(
                self.project.wait_until(lambda: members(self.project).get(role), what=f"a {role}")
            )
            with contextlib.suppress(ProcessLookupError):
                return self._kill(role, pid, recorded)

    @staticmethod
    def _kill(role: str, pid: int, recorded: frozenset[str]) -> Death:
        os.kill(pid, signal.SIGSTOP)
        ends = {pid} if role == "worker" else set()
        if role == "sentinel":
            # Its children die with it; those that have no title yet do no work yet.
            ends = set(descendants(pid))
        os.kill(pid, signal.SIGKILL)
        wait_gone([pid], 10)
        return Death(role, pid, frozenset(ends), recorded)


def enqueue(
    project: Project, labels: Iterable[str], func: str = "tests.jobs.sleep", *arguments: Any
) -> None:
    """Enqueue a task for each label, by which the ledger and `django_q_task.name` know it."""
    arguments = arguments or (0.01,)
    code = ENQUEUE.format(labels=list(labels), func=func, arguments=arguments)
    project.run(f"{code}None", timeout=600)


def recorded_labels(project: Project) -> frozenset[str]:
    """Return the labels of the tasks that are recorded as success; none while nobody answers."""
    try:
        rows = project.query("SELECT name FROM django_q_task WHERE success")
    except Exception:  # every driver has its own for a database that is away
        return frozenset()
    return frozenset(name for (name,) in rows)


def is_done(project: Project, labels: Iterable[str]) -> bool:
    """Are all of these recorded as success?"""
    return recorded_labels(project).issuperset(labels)


def packages_left(project: Project) -> int:
    """Return how many packages wait at the project's broker or are claimed from it."""
    return int(project.run(LEFT))


def members(project: Project) -> dict[str, list[int]]:
    """Return the living processes of all clusters of a project by role, read from their titles."""
    found: dict[str, list[int]] = {}
    for pid in session_members({cluster.pid for cluster in project.clusters}):
        role = role_of(pid)
        if role is not None:
            found.setdefault(role, []).append(pid)
    return found


def role_of(pid: int) -> str | None:
    """Return what a process of a cluster is; None of one that is only just becoming something."""
    title = command_line(pid).split()
    if title[:1] != ["qcluster"] or len(title) < 3:
        return None
    if title[2] in ("idle", "processing"):
        return "worker"
    if title[2] in HELPERS:
        return title[2]
    if title[2] == "sentinel":
        # A child that the sentinel has just forked is still called so too.
        return None if _is_sentinel(parent(pid)) else "sentinel"
    return "main" if title[1] == "MainProcess" and _leads_its_session(pid) else None


def _is_sentinel(pid: int) -> bool:
    return command_line(pid).split()[2:3] == ["sentinel"]


def _leads_its_session(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def parent(pid: int) -> int:
    """Return the parent of a process; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # "pid (name) state ppid …", and the name may hold anything.
    return int(stat.rpartition(b")")[2].split()[1])


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [number for number in numbers if parent(number) == pid]


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs: a fork server's are the sentinel's."""
    found = children(pid)
    return [*found, *(each for child in found for each in descendants(child))]


def verdict(project: Project, expected_labels: Iterable[str], deaths: list[Death]) -> Verdict:
    """Judge, once the clusters have been stopped."""
    lost = sorted(set(expected_labels) - recorded_labels(project))
    notes = project.ledger()
    repeated = sorted(label for label, count in project.starts().items() if count > 1)
    excused = [label for label in repeated if is_excused(label, notes, deaths)]
    twice = [label for label in repeated if label not in excused]
    orphans = [f"{pid} {command_line(pid)}" for pid in wait_gone(project.processes(), 5)]
    return Verdict(lost, twice, excused, orphans)


def is_excused(label: str, notes: list[Note], deaths: list[Death]) -> bool:
    """Did a death hit every attempt of this label but the last?"""
    *earlier, _ = [note.pid for note in notes if (note.label, note.event) == (label, "start")]
    return all(any(_hit(label, pid, notes, death) for death in deaths) for pid in earlier)


def _hit(label: str, worker: int, notes: list[Note], death: Death) -> bool:
    """Did this death end an attempt whose result was not in the database yet?"""
    if worker not in death.workers or label in death.recorded:
        return False
    # A worker's death costs what it was at; what it had reported before lives on in its lane.
    return death.role != "worker" or label == _last_started(worker, notes)


def _last_started(worker: int, notes: list[Note]) -> str | None:
    started = [note.label for note in notes if (note.event, note.pid) == ("start", worker)]
    return started[-1] if started else None
