"""A cluster under load, what is done to it, and what came of it."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import evidence
from benchmarks.brokers import Carrier
from benchmarks.databases import Provider
from benchmarks.feeder import Feeder
from benchmarks.figures import STOP_SECONDS, Figures
from benchmarks.stage import staged
from tests.chaos import SETTINGS, Chaos, Verdict, members, packages_left, verdict
from tests.harness import Project, wait_gone
from tests.redis_servers import Redis
from tests.servers import MariaDB, PostgreSQL

HUNG_SECONDS = STOP_SECONDS + 5
PATIENCE_SECONDS = 120
"""How long a cluster may show no sign of life before it counts as stalled."""
HALTED = 0.25
"""Of a lease, at most: two thirds of it are left when it is renewed, so a halt costs no task."""
SETTLE_SECONDS = 8.0
"""For log lines that come late: every process has tried again within this time."""
LEFT_SECONDS = 30
"""What a dead cluster had claimed comes back within a few leases; later it counts as left."""
STARTS_BETWEEN = 40
"""How many tasks start at least between two events, so that each happens under load."""
DEPTH = 100
LOST = re.compile(r"Lost .*trying again|cannot .*trying again")
FOUND = re.compile(r"Found .* again|can .* again")
ALARM = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b(?! Failed ')|^Traceback ")
"""What else a log must not say of an outage; the tasks that fail on purpose may."""


@dataclass(frozen=True)
class Plan:
    """What is done to the cluster, and for how long."""

    kills: int = 0
    stops: int = 0
    restarts: int = 0
    redis_kills: int = 0
    away_seconds: float = 0
    seconds: float = 0
    tasks: int = 0
    """How many are to be enqueued at least."""
    workers: int = 4
    retry: int = 3
    seed: int = 0


class Stalled(Exception):
    """The cluster shows no sign of life."""


class Stress:
    """A cluster under load, and what is done to it."""

    def __init__(
        self,
        project: Project,
        databases: Provider,
        carrier: Carrier,
        plan: Plan,
        say: Callable[[str], None],
    ) -> None:
        self.project = project
        self.redis = carrier.server
        self.server: Redis | PostgreSQL | MariaDB | None = carrier.server or databases.server
        self.plan = plan
        self.say = say
        self.random = random.Random(plan.seed)
        self.chaos = Chaos(project, plan.seed)
        self.figures = Figures(project.database.name, plan.seed, carrier.name)
        self.pause = threading.Event().wait
        self.enqueued = project.path / "enqueued"
        self.enqueued.touch()

    def run(self) -> Figures:
        """Do everything that is planned, let the cluster finish, and judge."""
        began = time.monotonic()
        self.chaos.start()
        self.feeder = Feeder(self.project, "benchmarks.feed", self.enqueued, DEPTH, self.plan.seed)
        try:
            self.do_all()
            self.feeder.stop()
            self.drain()
        except Stalled:
            self.figures.stalled = True
        finally:
            self.feeder.kill()
        self.stop_cluster()
        # What a killed main process left behind may still be stopping.
        wait_gone(self.project.processes(), HUNG_SECONDS)
        self.judge()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    def do_all(self) -> None:
        """Kill, stop and restart in random order, spread over the time that there is."""
        plan, began = self.plan, time.monotonic()
        events = [self.kill] * plan.kills + [self.stop] * plan.stops
        events += [self.restart] * plan.restarts + [self.kill_redis] * plan.redis_kills
        self.random.shuffle(events)
        self.starts_between = max(STARTS_BETWEEN, plan.tasks // (len(events) + 1))
        for number, event in enumerate(events):
            self.work_until(began + plan.seconds * (number + 1) / (len(events) + 1))
            self.say(f"{event.__name__} {number + 1} of {len(events)}")
            event()
        self.work_until(began + plan.seconds)
        while self.taken() < plan.tasks:
            self.say(f"{self.taken()} of {plan.tasks} tasks enqueued")
            self.work_until(0)

    def work_until(self, moment: float) -> None:
        """Let the cluster work, at least until some more tasks have started."""
        size = self.project.ledger_path.stat().st_size
        # A line of the ledger, `task-1234 start 5678`, has about twenty bytes.
        self.await_life(
            lambda: self.project.ledger_path.stat().st_size > size + 20 * self.starts_between
        )
        while time.monotonic() < moment:
            self.look_after_main()
            self.pause(min(0.5, max(0.0, moment - time.monotonic())))

    def await_life(self, sign: Callable[[], Any]) -> None:
        """Wait for something that a cluster which works brings about."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not sign():
            self.feeder.check()
            self.look_after_main()
            if time.monotonic() > deadline:
                raise Stalled
            self.pause(0.02)

    def look_after_main(self) -> None:
        """Start the cluster again if it ended though nobody asked it to."""
        assert self.chaos.cluster is not None
        if self.chaos.cluster.process.poll() is not None:
            self.figures.ended += 1
            self.chaos.start()

    def kill(self) -> None:
        """Kill a member at random; before some deaths another one is halted for a moment."""
        if self.random.random() < 0.25:
            self.halt()
        try:
            death = self.chaos.kill_one()
        except AssertionError as nobody:
            raise Stalled from nobody
        self.figures.kills[death.role] += 1

    def halt(self) -> None:
        """Halt a member at random, and let it go on."""
        pids = sorted(pid for pids in members(self.project).values() for pid in pids)
        if not pids:
            return
        pid = self.random.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self.pause(self.random.uniform(0, HALTED * self.plan.retry))
            os.kill(pid, signal.SIGCONT)
            self.figures.halts += 1

    def kill_redis(self) -> None:
        """Kill redis-server, and start it again with what it has on disk."""
        assert self.redis is not None
        self.redis.kill()
        self.pause(self.plan.away_seconds)
        self.redis.start()
        self.figures.redis_kills += 1

    def stop(self) -> None:
        """Ask the whole group to stop, as systemd does, and start the next cluster."""
        self.figures.stops += 1
        self.stop_cluster()
        self.chaos.start()

    def stop_cluster(self) -> None:
        """Ask the whole group to stop, and kill it if it does not."""
        cluster = self.chaos.cluster
        assert cluster is not None
        asked = time.monotonic()
        cluster.terminate(group=True)
        try:
            cluster.wait(HUNG_SECONDS)
        except AssertionError:
            self.figures.hung += 1
            cluster.kill(group=True)
            cluster.wait()
        self.figures.slowest_stop = max(self.figures.slowest_stop, time.monotonic() - asked)

    def restart(self) -> None:
        """Restart the queue's server under load, and count what the log says of it."""
        assert self.server is not None
        assert self.chaos.cluster is not None
        cluster = self.chaos.cluster
        mark = cluster.mark()
        self.server.stop()
        self.pause(self.plan.away_seconds)
        self.server.start()
        with contextlib.suppress(AssertionError):
            cluster.wait_for_line(FOUND.pattern, PATIENCE_SECONDS, since=mark)
        self.work_until(time.monotonic() + SETTLE_SECONDS)
        self.figures.restarts += 1
        for line in cluster.lines[mark:]:
            if LOST.search(line):
                self.figures.lost_lines += 1
            elif FOUND.search(line):
                self.figures.found_lines += 1
            elif ALARM.search(line):
                self.figures.other_lines.append(line)

    def drain(self) -> None:
        """Wait until all is recorded that was enqueued."""
        left, moved = len(self.answers()) + 1, time.monotonic()
        while left:
            self.look_after_main()
            now = len(self.expected().keys() - self.recorded())
            if now < left:
                left, moved = now, time.monotonic()
                self.say(f"waiting for {left} tasks")
            elif time.monotonic() > moved + PATIENCE_SECONDS:
                raise Stalled
            self.pause(0.5)
        self.empty()

    def empty(self) -> None:
        """Wait until the broker has nothing any more, and count what stays."""
        deadline = time.monotonic() + LEFT_SECONDS
        while left := packages_left(self.project):
            self.look_after_main()
            if time.monotonic() > deadline:
                self.figures.left = left
                break

    def taken(self) -> int:
        """Return how many tasks `async_task` has taken so far."""
        return self.enqueued.read_bytes().count(b" taken\n")

    def answers(self) -> dict[str, tuple[str, str]]:
        """Return label → (kind, answer) of all that the feeding process has tried to enqueue."""
        lines = (line.split() for line in self.enqueued.read_text().splitlines())
        return {label: (kind, answer) for label, kind, answer in lines}

    def expected(self) -> dict[str, str]:
        """Return label → kind of what must be recorded: taken by `async_task`, or seen to run."""
        started = self.project.starts()
        return {
            label: kind
            for label, (kind, answer) in self.answers().items()
            if answer == "taken" or label in started
        }

    def recorded(self) -> set[str]:
        """Return the labels of which the database has an outcome."""
        return {name for (name,) in self.project.query("SELECT name FROM django_q_task")}

    def judge(self) -> None:
        """Compare the ledgers with the database."""
        answers, expected = self.answers(), self.expected()
        succeed = [label for label, kind in expected.items() if kind != "failing"]
        found: Verdict = verdict(self.project, succeed, self.chaos.deaths)
        fail = expected.keys() - set(succeed)
        figures = self.figures
        figures.enqueued = len(expected)
        figures.unsure = sum(answers[label][1] == "raised" for label in expected)
        figures.lost = [*found.lost, *sorted(fail - self.recorded())]
        figures.again, figures.twice = len(found.excused), found.twice
        figures.orphans = found.orphans


def stress(
    databases: Provider,
    carrier: Carrier,
    plan: Plan,
    say: Callable[[str], None],
    template: Path | None = None,
) -> Figures:
    """Make a project, put it under stress, and leave nothing of it behind but what explains."""
    with staged(databases, template) as project:
        settings = {"workers": plan.workers, "retry": plan.retry, "stop_timeout": STOP_SECONDS}
        project.configure(SETTINGS | settings | {"orm": None} | carrier.q_cluster())
        run = Stress(project, databases, carrier, plan, say)
        figures = run.run()
        if not figures.good:
            figures.evidence = str(keep_evidence(run))
    return figures


def keep_evidence(run: Stress) -> Path:
    """Save what tells how it came to this, and return the folder."""
    folder = evidence.keep(run.project, run.figures)
    deaths = (f"{death.role} {death.pid} {sorted(death.workers)}\n" for death in run.chaos.deaths)
    (folder / "deaths").write_text("".join(deaths))
    return folder
