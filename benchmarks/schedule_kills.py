"""Shows that a cluster killed while it queues an occurrence costs none, and repeats none.

`hatch run stress --schedule-kills 50` kills a whole cluster so often, by turns after it has moved
a row on and before the broker has the task, and after that and before the row says so. Each time
the next cluster starts at once and gets new schedules: one that leaves no row, one that keeps its
own, one by seconds and one by cron. At last two clusters finish what is left.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import evidence
from benchmarks.brokers import Carrier
from benchmarks.databases import Provider
from benchmarks.kill_points import POINT, POINTS
from benchmarks.stage import staged
from tests.harness import ClusterProcess, Project, wait_gone
from tests.queues import RedisQueue

HEALTHY = 2
PATIENCE_SECONDS = 120
QUIET_SECONDS = 0.05
TIMES = 3
"""How often a schedule by seconds or by cron runs."""

MAKE = """\
from datetime import timedelta
from django.utils import timezone
from django_q.models import Schedule
first = timezone.now().replace(microsecond=0) - timedelta(hours=1)
kinds = dict(
    gone=dict(schedule_type="O"),
    kept=dict(schedule_type="O"),
    seconds=dict(schedule_type="I", seconds=1),
    cron=dict(schedule_type="C", cron="* * * * * *"),
)
Schedule.objects.bulk_create(
    Schedule(name=f"{{kind}}-{{number}}", args=repr(f"{{kind}}-{{number}}"), repeats=0,
             func="tests.jobs.scheduled", intended_date_kwarg="due", next_run=first, **fields)
    for number in range({kills}) for kind, fields in kinds.items()
)
first.isoformat()
"""
"""All are made at first, with no repeats left; when their time comes they get some."""

REPEATS = {"gone": -1, "kept": 1, "seconds": TIMES, "cron": TIMES}
RUNS = {"gone": 1, "kept": 1, "seconds": TIMES, "cron": TIMES}

ACTIVE = """\
SELECT count(*) FROM django_q_schedule
WHERE repeats <> 0 AND occurrence_task IS NULL AND error IS NULL
"""


@dataclass
class Figures:
    """What came of it."""

    database: str
    broker: str = "orm"
    planned: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    expected: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    """Runs at times at which nothing was due."""
    stored: set[str] = field(default_factory=set)
    """The task ids of occurrences that a dead cluster left in their rows."""
    wrong_rows: list[str] = field(default_factory=list)
    """Schedules that are not as they should be after their last run."""
    left: int = 0
    orphans: int = 0
    stalled: bool = False
    seconds: float = 0
    evidence: str = ""

    @property
    def good(self) -> bool:
        """Return whether everything was as it should be."""
        bad = (self.lost, self.twice, self.stray, self.wrong_rows)
        is_done = self.kills.total() == self.planned
        return is_done and not any([*bad, self.left, self.orphans, self.stalled])

    def line(self) -> str:
        """Return everything in one line."""
        place = self.database if self.broker == "orm" else f"{self.broker} and {self.database}"
        points = ", ".join(f"{self.kills[point]} {point}" for point in POINTS)
        parts = [
            f"{place}, {self.seconds:.0f} s",
            f"{self.kills.total()} of {self.planned} clusters killed ({points})",
            f"{self.expected} occurrences, {len(self.stored)} left in their rows by the dead",
            f"lost {len(self.lost)}, run twice {len(self.twice)}, stray {len(self.stray)}, "
            f"wrong rows {len(self.wrong_rows)}, packages left {self.left}, "
            f"orphan processes {self.orphans}",
        ]
        return "; ".join([*parts, "STALLED"] if self.stalled else parts)


class Stalled(Exception):
    """What was awaited did not come."""


class Killings:
    """A cluster that is killed again and again, and the next one."""

    def __init__(self, project: Project, figures: Figures) -> None:
        self.project = project
        self.figures = figures
        self.kills = figures.planned
        self.point = project.path / POINT

    def run(self, say: Callable[[str], None]) -> None:
        """Kill so often, let two clusters finish, and judge."""
        began = time.monotonic()
        self.first = datetime.fromisoformat(self.project.run(MAKE.format(kills=self.kills)))
        try:
            for number in range(self.kills):
                say(f"kill {number + 1} of {self.kills}")
                self.kill(number)
            say("finishing")
            self.finish()
        except Stalled:
            self.figures.stalled = True
        self.judge()
        self.figures.seconds = time.monotonic() - began

    def kill(self, number: int) -> None:
        """Let a cluster finish what it can, and die of the next schedules."""
        cluster = self.project.start_cluster()
        self.wait(lambda: " ready for work" in cluster.log or self.has_ended(cluster))
        self.wait(self.is_quiet)
        point = POINTS[number % 2]
        self.point.write_text(point)
        self.activate(number)
        self.wait(lambda: self.has_ended(cluster))
        if cluster.process.returncode == -signal.SIGKILL and not self.point.exists():
            self.figures.kills[point] += 1
        wait_gone(cluster.descendants(), PATIENCE_SECONDS)
        self.figures.stored |= self.stored()

    def activate(self, number: int) -> None:
        """Make the schedules of one kill due, all at once."""
        cases = " ".join(f"WHEN '{kind}-{number}' THEN {n}" for kind, n in REPEATS.items())
        names = ", ".join(f"'{kind}-{number}'" for kind in REPEATS)
        self.project.query(
            f"UPDATE django_q_schedule SET repeats = CASE name {cases} END WHERE name IN ({names})"
        )

    def finish(self) -> None:
        """Run two clusters until nothing is due, stored or queued."""
        clusters = [self.project.start_cluster() for _ in range(HEALTHY)]
        self.wait(lambda: self.is_quiet() and not self.stored())
        self.figures.left = len(self.project.queue.packages())
        for cluster in clusters:
            cluster.stop()

    def is_quiet(self) -> bool:
        """Is nothing due, queued or running but what is stored in rows?"""
        [(active,)] = self.project.query(ACTIVE)
        [(recorded,)] = self.project.query("SELECT count(*) FROM django_q_task WHERE success")
        if active or recorded < len(self.project.starts()):
            return False
        return self.project.queue.is_empty

    def stored(self) -> set[str]:
        """Return the task ids of the occurrences that rows have stored."""
        sql = "SELECT occurrence_task FROM django_q_schedule WHERE occurrence_task IS NOT NULL"
        return {task_id for (task_id,) in self.project.query(sql)}

    @staticmethod
    def has_ended(cluster: ClusterProcess) -> bool:
        """Has the main process ended?"""
        return cluster.process.poll() is not None

    @staticmethod
    def wait(condition: Callable[[], object]) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise Stalled
            time.sleep(QUIET_SECONDS)

    def judge(self) -> None:
        """Compare the ledger and the rows with what was planned."""
        figures, starts = self.figures, self.project.starts()
        expected = set(self.expected())
        figures.expected = len(expected)
        figures.lost = sorted(expected - starts.keys())
        figures.stray = sorted(starts.keys() - expected)
        figures.twice = sorted(label for label, count in starts.items() if count > 1)
        figures.wrong_rows = self.wrong_rows()
        figures.orphans = len(wait_gone(self.project.processes(), 5))

    def expected(self) -> list[str]:
        """Return `label@due` of each occurrence."""
        return [
            f"{kind}-{number}@{(self.first + timedelta(seconds=step)).astimezone(UTC).isoformat()}"
            for number in range(self.kills)
            for kind, runs in RUNS.items()
            for step in range(runs)
        ]

    def wrong_rows(self) -> list[str]:
        """Return the names of rows that should be gone, or should have ended and have not."""
        sql = "SELECT name, repeats, occurrence_task, error FROM django_q_schedule"
        rows = {name: rest for name, *rest in self.project.query(sql)}
        kept = {f"{kind}-{n}" for kind in RUNS if kind != "gone" for n in range(self.kills)}
        ended = {name for name, rest in rows.items() if rest == [0, None, None]}
        return sorted((rows.keys() | kept) - (ended & kept))


def make_deadly(project: Project) -> None:
    """Give the project's clusters a broker that kills them."""
    name = "DeadlyRedis" if isinstance(project.queue, RedisQueue) else "DeadlyORM"
    # Nothing that has run may be forgotten: what is queued again is recognised by its result.
    settings = {"workers": 1, "retry": 5, "save_limit": 0}
    project.configure(settings | {"broker_class": f"benchmarks.deadly.{name}"})


def kill_clusters(
    databases: Provider,
    carrier: Carrier,
    kills: int,
    say: Callable[[str], None],
    template: Path | None = None,
) -> Figures:
    """Make a project, kill its clusters, and leave nothing of it behind."""
    queue = RedisQueue(carrier.server) if carrier.server else None
    with staged(databases, template, queue) as project:
        figures = Figures(project.database.name, carrier.name, kills)
        make_deadly(project)
        Killings(project, figures).run(say)
        if not figures.good:
            figures.evidence = str(evidence.keep(project, figures))
    return figures
