"""Prunes a table of very many results while a cluster works, and shows what that costs it."""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.databases import Provider
from benchmarks.feeder import Feeder
from tests.harness import ClusterProcess, Project, temporary_folder

DEPTH = 2000
CHUNK_ROWS = 100_000
SAVE_LIMIT = 250
"""The default, which applies once the settings say nothing."""
WARM_UP_SECONDS = 2.0
STALL_SECONDS = 1.0
"""No gap between two recorded results may be longer."""
PATIENCE_SECONDS = 1800

FILL = {
    "sqlite": """
        INSERT INTO django_q_task
            (id, name, func, result, started, stopped, success, attempt_count)
        WITH RECURSIVE numbers (number) AS (
            SELECT {first} UNION ALL SELECT number + 1 FROM numbers WHERE number < {last}
        )
        SELECT printf('%032x', number * 2654435761 % 4294967296), 'row-' || number,
            'math.floor', 'gAVLAS4=', {moment}, {moment}, 1, 1
        FROM numbers""",
    "postgresql": """
        INSERT INTO django_q_task
            (id, name, func, result, started, stopped, success, attempt_count)
        SELECT md5(number::text), 'row-' || number, 'math.floor', 'gAVLAS4=',
            {moment}, {moment}, true, 1
        FROM generate_series({first}, {last}) number""",
    "mariadb": """
        INSERT INTO django_q_task
            (id, name, func, result, started, stopped, success, attempt_count)
        SELECT md5(seq), concat('row-', seq), 'math.floor', 'gAVLAS4=',
            {moment}, {moment}, 1, 1
        FROM seq_{first}_to_{last}""",
}
"""A result every 10 ms, the last one an hour ago."""

MOMENT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 hour',"
    " ((number - {rows}) / 100.0) || ' seconds')",
    "postgresql": "now() - interval '1 hour' + (number - {rows}) * interval '10 ms'",
    "mariadb": "TIMESTAMPADD(MICROSECOND, -10000 * ({rows} - CAST(seq AS SIGNED)),"
    " UTC_TIMESTAMP(6) - INTERVAL 1 HOUR)",
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"moment": {"format": "%(created).6f %(message)s"}},
    "handlers": {"file": {"class": "logging.FileHandler", "formatter": "moment"}},
    "loggers": {"django-q": {"handlers": ["file"], "level": "INFO", "propagate": False}},
}
"""The lines of a cluster with their exact time: the monitor writes one after each commit."""


class Phase(NamedTuple):
    """What was recorded within a window of time."""

    seconds: float
    per_second: float
    longest_gap: float


@dataclass
class PruningFigures:
    """What pruning cost."""

    database: str
    rows: int
    before: Phase
    """With the same table and nothing to prune."""
    during: Phase
    after: Phase
    kept: int
    """Rows that are left once the queue is empty."""
    finished: bool
    evidence: str = ""

    @property
    def good(self) -> bool:
        """Return whether everything was pruned and the cluster never stood still."""
        return self.finished and self.during.longest_gap <= STALL_SECONDS

    def line(self) -> str:
        """Return everything in one line."""
        phases = {"before": self.before, "during": self.during, "after": self.after}
        told = ", ".join(
            f"{name} {phase.per_second:,.0f}/s (longest gap {1000 * phase.longest_gap:.0f} ms)"
            for name, phase in phases.items()
        )
        verb = "pruned in" if self.finished else "NOT PRUNED in"
        return (
            f"{self.database}: {self.rows:,} rows {verb} {self.during.seconds:.1f} s, "
            f"{self.kept:,} kept; results recorded {told}"
        )


def prune_under_load(
    databases: Provider, rows: int, seconds: float, say: Callable[[str], None]
) -> PruningFigures:
    """Fill the table, and measure a busy cluster before, while and after it is pruned."""
    with temporary_folder() as folder:
        (folder / "database").mkdir()
        database = databases.new(folder / "database")
        project = Project(folder, database)
        project.migrate()
        run = Pruning(project, rows, seconds, say)
        try:
            return run.run()
        finally:
            project.close()
            database.drop()


class Pruning:
    """A project whose table is filled and pruned."""

    def __init__(
        self, project: Project, rows: int, seconds: float, say: Callable[[str], None]
    ) -> None:
        self.project = project
        self.rows = rows
        self.seconds = seconds
        self.say = say
        self.pause = threading.Event().wait
        self.log = project.path / "moments"

    def run(self) -> PruningFigures:
        """Measure three times, with the same load."""
        self.say(f"filling {self.rows:,} rows")
        fill(self.project, self.rows, self.say)
        self.configure(save_limit=0)
        with self.fed():
            before, cluster = self.measure_before()
            cluster.stop()
            self.configure()
            self.project.start_cluster()
            began, ended, finished = self.await_pruning()
            self.say("measuring after it")
            self.pause(WARM_UP_SECONDS)
            after = self.window()
        self.drain()
        moments = recorded_moments(self.log)
        [(kept,)] = self.project.query("SELECT count(*) FROM django_q_task")
        return PruningFigures(
            self.project.database.name,
            self.rows,
            phase(moments, *before),
            # The new cluster has to start first.
            phase(moments, max(began, first_after(moments, began)), ended),
            phase(moments, *after),
            kept,
            finished,
        )

    def configure(self, **q_cluster: int) -> None:
        """Write the settings anew, with a log that tells the time."""
        handler = LOGGING["handlers"]["file"] | {"filename": str(self.log)}
        self.project.configure(q_cluster, LOGGING=LOGGING | {"handlers": {"file": handler}})

    @contextlib.contextmanager
    def fed(self) -> Any:
        """Keep the queue full."""
        feeder = Feeder(self.project, "benchmarks.flood", DEPTH)
        try:
            yield
            feeder.check()
            feeder.stop()
        finally:
            feeder.kill()

    def measure_before(self) -> tuple[tuple[float, float], ClusterProcess]:
        """Let a cluster work that has nothing to prune."""
        self.say("measuring before it")
        cluster = self.project.start_cluster()
        self.project.wait_until(lambda: recorded_moments(self.log), 60, "the first result")
        self.pause(WARM_UP_SECONDS)
        return self.window(), cluster

    def window(self) -> tuple[float, float]:
        """Let it work for a while, and return from when to when."""
        began = time.time()
        self.pause(self.seconds)
        return began, time.time()

    def await_pruning(self) -> tuple[float, float, bool]:
        """Wait until the first row is gone, then until the last one is; return when, and if."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with contextlib.closing(self.project.database.connect()) as connection:
            # Read by the primary key, so that the looking costs nothing.
            watch = connection.cursor()
            ids = [self.id_of(1), self.id_of(max(1, self.rows - SAVE_LIMIT))]
            moments = []
            for text, row in zip(("waiting for the pruning", "pruning"), ids, strict=True):
                self.say(text)
                while exists(watch, row) and time.monotonic() < deadline:
                    self.pause(0.05)
                moments.append(time.time())
            began, ended = moments
            return began, ended, time.monotonic() < deadline

    def id_of(self, number: int) -> str:
        """Return the id of the row that was filled in with this number."""
        sql = "SELECT id FROM django_q_task WHERE name = ?"
        rows = self.project.query(sql, f"row-{number}")
        return str(rows[0][0]) if rows else ""

    def drain(self) -> None:
        """Let the cluster finish, and prune once more."""
        self.say("waiting for the last tasks")
        count = "SELECT count(*) FROM django_q_ormq"
        self.project.wait_until(lambda: self.project.query(count) == [(0,)], 120, "an empty queue")
        results = "SELECT count(*) FROM django_q_task"
        with contextlib.suppress(AssertionError):
            self.project.wait_until(lambda: self.project.query(results)[0][0] <= SAVE_LIMIT, 10)


def exists(cursor: Any, row: str) -> bool:
    """Return whether there is a row with this id."""
    cursor.execute(f"SELECT count(*) FROM django_q_task WHERE id = '{row}'")
    return bool(cursor.fetchone()[0])


def fill(project: Project, rows: int, say: Callable[[str], None]) -> None:
    """Insert finished tasks, as many as `rows`, in bulk."""
    name = project.database.name
    with contextlib.closing(project.database.connect()) as connection:
        cursor = connection.cursor()
        for first in range(1, rows + 1, CHUNK_ROWS):
            last = min(rows, first + CHUNK_ROWS - 1)
            moment = MOMENT[name].format(rows=rows)
            cursor.execute(FILL[name].format(first=first, last=last, moment=moment))
            say(f"filled {last:,} of {rows:,} rows")
        if name == "postgresql":
            # As its own daemon does after a while.
            cursor.execute("VACUUM ANALYZE django_q_task")
        elif name == "mariadb":
            cursor.execute("ANALYZE TABLE django_q_task")


def recorded_moments(log: Path) -> list[float]:
    """Return when each result was recorded, as the cluster's log tells it."""
    if not log.exists():
        return []
    lines = log.read_text().splitlines()
    return sorted(float(line.split(maxsplit=1)[0]) for line in lines if " Processed '" in line)


def first_after(moments: list[float], began: float) -> float:
    """Return the first of these moments that is not before another."""
    place = bisect_left(moments, began)
    return moments[place] if place < len(moments) else began


def phase(moments: list[float], began: float, ended: float) -> Phase:
    """Return what was recorded between two moments; a gap may reach over the edges."""
    inside = moments[bisect_left(moments, began) : bisect_right(moments, ended)]
    edges = [began, *inside, ended]
    gaps = [later - earlier for earlier, later in pairwise(edges)]
    seconds = ended - began
    return Phase(seconds, len(inside) / seconds if seconds > 0 else 0.0, max(gaps))
