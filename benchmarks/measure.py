"""The measurements: one site in a folder of its own, its producers and its cluster."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.databases import Provider
from tests.databases import Database
from tests.harness import session_members, temporary_folder, wait_gone

SITE = Path(__file__).resolve().parent / "site"
LOOK_SECONDS = 0.02
STALL_SECONDS = 90
SETTLE_SECONDS = 3
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Site:
    """A migrated database, a ledger, and the interpreter that runs it all."""

    python: Path
    folder: Path
    database: Database
    save_limit: int | None = None
    trace: bool = False
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of everything that the site starts."""
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench_settings",
            "PYTHONPATH": str(SITE),
            "BENCH_DATABASE": str(self.folder / "bench_database.py"),
            "BENCH_FOLDER": str(self.folder),
            "BENCH_SAVE_LIMIT": "" if self.save_limit is None else str(self.save_limit),
            "BENCH_TRACE": "1" if self.trace else "",
        }
        return env

    def migrate(self) -> None:
        """Make the tables."""
        text = f"{self.database.prelude}DATABASE = {self.database.settings!r}\n"
        (self.folder / "bench_database.py").write_text(text)
        self._run("-m", "django", "migrate", "--verbosity", "0")

    def produce(self, kind: str, count: int) -> Any:
        """Enqueue tasks and return what the producer saw."""
        return json.loads(self._run(str(SITE / "produce.py"), kind, str(count)))

    @contextlib.contextmanager
    def cluster(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run a cluster, and leave nothing of it behind."""
        with (self.folder / "cluster.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self.python), "-m", "django", "qcluster"],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            stop(process)

    def ledger(self) -> list[tuple[int, int]]:
        """Return (label, nanoseconds) of every run, in order."""
        path = self.folder / "ledger"
        if not path.exists():
            return []
        pairs = (line.split() for line in path.read_text().splitlines())
        return [(int(label), int(moment)) for label, moment in pairs]

    def forget_ledger(self) -> None:
        """Start counting anew; only while no cluster runs, since workers keep the file open."""
        (self.folder / "ledger").unlink(missing_ok=True)

    def query(self, sql: str) -> Any:
        """Return the first value that the database answers."""
        return self.database.query(sql)[0][0]

    def traced(self) -> list[str]:
        """Return the SQL statements that SQLite's own trace has seen so far."""
        path = self.folder / "statements"
        return path.read_text().splitlines() if path.exists() else []

    def _run(self, *arguments: str) -> str:
        with (self.folder / "producer.log").open("ab") as log:
            done = subprocess.run(
                [str(self.python), *arguments],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                check=False,
            )
        if done.returncode:
            text = (self.folder / "producer.log").read_text()
            sys.exit(f"{arguments} ended with {done.returncode}:\n{text}{done.stdout}")
        return done.stdout


@contextlib.contextmanager
def fresh_site(
    python: Path, provider: Provider, save_limit: int | None = None, trace: bool = False
) -> Iterator[Site]:
    """Yield a site with an empty database."""
    with temporary_folder() as folder:
        # A folder of its own: ledger and traces are no events beside the database.
        (folder / "database").mkdir()
        database = provider.new(folder / "database")
        site = Site(python, folder, database, save_limit, trace)
        site.migrate()
        yield site
        database.drop()


def throughput(
    python: Path, provider: Provider, count: int, save_limit: int | None
) -> dict[str, Any]:
    """Enqueue `count` trivial tasks, then start a cluster and let it work until all are done."""
    with fresh_site(python, provider, save_limit) as site:
        produced = site.produce("burst", count)
        load = os.getloadavg()[0]
        began = time.time_ns()
        with site.cluster() as cluster:
            finished = wait_for_drain(site, cluster, count)
            stop_seconds = stop(cluster)
        runs = site.ledger()
        recorded = site.query("SELECT count(*) FROM django_q_task WHERE success")
    labels = Counter(label for label, _ in runs)
    moments = sorted(moment for _, moment in runs) or [began]
    return {
        "tasks": count,
        "enqueue_per_second": count / produced["seconds"],
        "drain_per_second": rate(len(labels), finished - moments[0]),
        "run_per_second": rate(len(runs) - 1, moments[-1] - moments[0]),
        "start_to_finish_seconds": (finished - began) / 1e9,
        "lost": count - len(labels),
        "twice": sum(times - 1 for times in labels.values()),
        "recorded": recorded,
        "stop_seconds": stop_seconds,
        "load": load,
    }


def wait_for_drain(site: Site, cluster: subprocess.Popen[bytes], count: int) -> int:
    """Return the moment at which all have run and the queue is empty, or when nothing moves."""
    ledger = site.folder / "ledger"
    last_size, moved = -1, time.monotonic()
    while time.monotonic() - moved < STALL_SECONDS and cluster.poll() is None:
        size = ledger.stat().st_size if ledger.exists() else 0
        if size != last_size:
            last_size, moved = size, time.monotonic()
        elif len(site.ledger()) >= count and not site.query("SELECT count(*) FROM django_q_ormq"):
            break
        time.sleep(LOOK_SECONDS)
    return time.time_ns()


def idleness(python: Path, provider: Provider, samples: int, idle_seconds: float) -> dict[str, Any]:
    """Measure an idle cluster: how soon it starts a task, what it costs, how fast it stops."""
    trace = provider.server is None
    with fresh_site(python, provider, trace=trace) as site, site.cluster() as cluster:
        began = site.produce("singles", 1)
        wait_for_drain(site, cluster, 1)
        began = site.produce("singles", samples)
        wait_for_drain(site, cluster, samples + 1)
        latencies = start_latencies(began, site.ledger()[1:])
        time.sleep(SETTLE_SECONDS)
        load = os.getloadavg()[0]
        idle = idle_cost(site, provider, cluster, idle_seconds)
        stop_seconds = stop(cluster)
    return {
        "samples": len(latencies),
        "latency_p50_ms": percentile(latencies, 50),
        "latency_p95_ms": percentile(latencies, 95),
        "latency_p99_ms": percentile(latencies, 99),
        "stop_seconds": stop_seconds,
        "load": load,
        **idle,
    }


def start_latencies(began: dict[str, int], runs: list[tuple[int, int]]) -> list[float]:
    """Return the milliseconds from the call of `async_task` to the task's first line, sorted."""
    return sorted((moment - began[str(label)]) / 1e6 for label, moment in runs)


def idle_cost(
    site: Site, provider: Provider, cluster: subprocess.Popen[bytes], seconds: float
) -> dict[str, Any]:
    """Return the processor time and the SQL statements of a cluster that has nothing to do."""
    with provider.statements(site.database) as logged:
        traced = len(site.traced())
        cpu, server_cpu = cpu_seconds(cluster.pid), server_seconds(provider)
        began = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        cpu = cpu_seconds(cluster.pid) - cpu
        server_cpu = server_seconds(provider) - server_cpu
    statements = logged or site.traced()[traced:]
    cost = {
        "idle_seconds": elapsed,
        "idle_cpu_percent": 100 * cpu / elapsed,
        "idle_statements_per_second": len(statements) / elapsed,
        "idle_statements": dict(Counter(statements).most_common(10)),
        "processes": len(session_members({cluster.pid})),
    }
    if provider.server is not None:
        cost["idle_server_cpu_percent"] = 100 * server_cpu / elapsed
    return cost


def cpu_seconds(session: int) -> float:
    """Return the processor time that the processes of a session have used so far."""
    return sum(sum(ticks(pid)[:2]) for pid in session_members({session})) / TICKS_PER_SECOND


def server_seconds(provider: Provider) -> float:
    """Return the processor time of the database server, that of ended sessions included."""
    if provider.server is None or provider.server.process is None:
        return 0.0
    # PostgreSQL gives each of its processes a session of its own.
    processes = family(provider.server.process.pid)
    return sum(sum(ticks(pid)) for pid in processes) / TICKS_PER_SECOND


def family(pid: int) -> list[int]:
    """Return a process and everything that descends from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def ticks(pid: int) -> list[int]:
    """Return a process's user and system time and that of its ended children, or nothing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [int(field) for field in fields[11:15]]


def stop(process: subprocess.Popen[bytes], patience_seconds: float = 60) -> float:
    """Terminate a cluster, and kill what does not listen; return the seconds until all is gone."""
    began = time.monotonic()
    members = session_members({process.pid})
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_seconds)
    survivors = wait_gone(members, max(0.0, patience_seconds - (time.monotonic() - began)))
    for pid in survivors:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    return time.monotonic() - began


def rate(count: int, nanoseconds: int) -> float:
    """Return events per second."""
    return count / (nanoseconds / 1e9) if nanoseconds > 0 else 0.0


def percentile(ordered: list[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
