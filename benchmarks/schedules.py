"""Shows that two clusters run each of many schedules once and on time, a malformed one among them.

`hatch run stress --schedules 12000` makes so many one-off schedules before a minute begins, 200
of them due at the start of each of its seconds, and lets two clusters of two workers share them.
Each task notes by how much it is late.
"""

from __future__ import annotations

import math
import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import evidence
from benchmarks.brokers import Carrier
from benchmarks.databases import Provider
from benchmarks.stage import staged
from tests.harness import ClusterProcess, Project

CLUSTERS = 2
WORKERS = 2
PATIENCE_SECONDS = 120
LATE_SECONDS = 1.0
"""What 95 of 100 tasks must start within."""

MAKE = """\
from datetime import timedelta
from django.utils import timezone
from django_q.models import Schedule
first = timezone.now().replace(microsecond=0) + timedelta(seconds={lead})
def plan(number, **fields):
    due = first + timedelta(seconds=number // {each_second})
    given = dict(func="tests.jobs.scheduled", args=repr(str(number)), intended_date_kwarg="due")
    return Schedule(**given | dict(next_run=due) | fields)
rows = [plan(number) for number in range({count})]
rows.append(plan({count} // 2, name="malformed", args="(1,"))
Schedule.objects.bulk_create(rows, 500)
first.timestamp()
"""

MARKED = re.compile(r"Schedule \[malformed\] is paused")


@dataclass(frozen=True)
class Load:
    """How many schedules there are, and how many are due at once."""

    count: int
    each_second: int = 200
    lead_seconds: float = 8.0
    """From their making to the first that is due: both clusters should have started by then."""

    @property
    def seconds(self) -> int:
        """Return for how long some are due each second."""
        return math.ceil(self.count / self.each_second)


@dataclass
class Figures:
    """What came of it."""

    database: str
    broker: str
    load: Load
    ran: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """By how many seconds each start was late, in ascending order."""
    shares: list[int] = field(default_factory=list)
    """How many each cluster has queued."""
    marked: int = 0
    """Malformed schedules that carry their error."""
    logged: int = 0
    """Lines of the log about it, over all clusters."""
    rows_left: int = 0
    """Schedules that should be gone, and are not."""
    machine_load: float = 0
    evidence: str = ""

    @property
    def good(self) -> bool:
        """Return whether everything was as it should be."""
        exact = not self.lost and not self.twice and not self.rows_left
        return exact and self.marked == self.logged == 1 and self.p(0.95) < LATE_SECONDS

    def p(self, share: float) -> float:
        """Return within how many seconds so large a share of the tasks had started."""
        if not self.late:
            return math.inf
        return self.late[min(len(self.late) - 1, int(share * len(self.late)))]

    def line(self) -> str:
        """Return everything in one line."""
        place = self.database if self.broker == "orm" else f"{self.broker} and {self.database}"
        due = f"{self.load.count:,} schedules, {self.load.each_second} due each second"
        middle = statistics.median(self.late) if self.late else math.inf
        late = f"late p50 {middle:.3f}, p95 {self.p(0.95):.3f}, p99 {self.p(0.99):.3f}"
        return "; ".join(
            [
                f"{place}, {CLUSTERS} clusters of {WORKERS} workers, load {self.machine_load:.1f}",
                f"{due}, {self.ran:,} runs",
                f"lost {len(self.lost)}, run twice {len(self.twice)}, rows left {self.rows_left}",
                f"{late}, max {self.p(1):.3f} s",
                "queued by each cluster " + " and ".join(f"{share:,}" for share in self.shares),
                f"malformed: marked {self.marked}, logged {self.logged}",
            ]
        )


def share(
    databases: Provider,
    carrier: Carrier,
    load: Load,
    say: Callable[[str], None],
    template: Path | None = None,
) -> Figures:
    """Let two clusters share the schedules, and judge; nothing is left behind."""
    with staged(databases, template) as project:
        project.configure({"workers": WORKERS, "orm": None} | carrier.q_cluster())
        clusters = run(project, load, say)
        figures = judge(project, clusters, Figures(project.database.name, carrier.name, load))
        if not figures.good:
            figures.evidence = str(evidence.keep(project, figures))
        return figures


def run(project: Project, load: Load, say: Callable[[str], None]) -> list[ClusterProcess]:
    """Make the schedules, run them all, and return the clusters that did, stopped."""
    say(f"making {load.count} schedules")
    lead = load.lead_seconds + load.count / 2000
    code = MAKE.format(lead=lead, each_second=load.each_second, count=load.count)
    first = project.run(code, timeout=PATIENCE_SECONDS)
    clusters = [project.start_cluster() for _ in range(CLUSTERS)]
    deadline = first + load.seconds + PATIENCE_SECONDS
    while (count := project.starts().total()) < load.count and time.time() < deadline:
        say(f"{count} of {load.count} schedules have run")
        # Seldom, and not at a second's start: what is measured is not to wait for it.
        time.sleep(1.5 - time.time() % 1)
    for cluster in clusters:
        cluster.stop()
    return clusters


def judge(project: Project, clusters: list[ClusterProcess], figures: Figures) -> Figures:
    """Compare the ledger with what was planned."""
    starts = project.starts()
    ran = {label.partition("@")[0] for label in starts}
    figures.ran = starts.total()
    figures.lost = [str(n) for n in range(figures.load.count) if str(n) not in ran]
    figures.twice = [label for label, count in starts.items() if count > 1]
    notes = (note.event for note in project.ledger() if note.event.startswith("late:"))
    figures.late = sorted(float(event.removeprefix("late:")) for event in notes)
    figures.shares = [cluster.log.count(" created task ") for cluster in clusters]
    figures.logged = sum(len(MARKED.findall(cluster.log)) for cluster in clusters)
    rows = project.query("SELECT name, error FROM django_q_schedule")
    figures.marked = sum(name == "malformed" and bool(error) for name, error in rows)
    figures.rows_left = len(rows) - figures.marked
    figures.machine_load = os.getloadavg()[0]
    return figures
