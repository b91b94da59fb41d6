"""Runs the benchmark and prints one table, or JSON."""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contenders import OURS, Q2, Contender
from benchmarks.databases import NAMES, Provider, provider
from benchmarks.measure import idleness, throughput

SAVE_LIMITS: dict[str, int | None] = {"default": None, "0": 0}

Report = dict[str, list[dict[str, Any]]]
"""Measurement → what each run of it found."""

ROWS: Sequence[tuple[str, str, str]] = (
    ("tasks", "tasks", "{:,.0f}"),
    ("enqueue_per_second", "enqueued per second", "{:,.0f}"),
    ("drain_per_second", "drained per second", "{:,.0f}"),
    ("run_per_second", "run per second", "{:,.0f}"),
    ("start_to_finish_seconds", "cluster start to empty queue, s", "{:,.2f}"),
    ("lost", "lost", "{:,.0f}"),
    ("twice", "run twice", "{:,.0f}"),
    ("recorded", "successes recorded at the end", "{:,.0f}"),
    ("samples", "single tasks", "{:,.0f}"),
    ("latency_p50_ms", "enqueue to start p50, ms", "{:,.1f}"),
    ("latency_p95_ms", "enqueue to start p95, ms", "{:,.1f}"),
    ("latency_p99_ms", "enqueue to start p99, ms", "{:,.1f}"),
    ("idle_seconds", "idle for, s", "{:,.0f}"),
    ("idle_cpu_percent", "CPU while idle, % of a core", "{:,.2f}"),
    ("idle_server_cpu_percent", "CPU of the server then, %", "{:,.2f}"),
    ("idle_statements_per_second", "SQL statements per second, idle", "{:,.2f}"),
    ("stop_seconds", "SIGTERM to the end, s", "{:,.2f}"),
    ("load", "load of the machine", "{:,.2f}"),
)

RATIOS: dict[str, bool] = {
    "enqueue_per_second": True,
    "drain_per_second": True,
    "run_per_second": True,
    "latency_p50_ms": False,
    "latency_p95_ms": False,
    "latency_p99_ms": False,
    "idle_cpu_percent": False,
    "idle_server_cpu_percent": False,
    "idle_statements_per_second": False,
    "stop_seconds": False,
}
"""What is compared, and whether more is better."""


def main() -> int:
    """Measure what the options ask for; 1 if a task of ours was lost or run twice."""
    options = parse_arguments()
    console = Console(stderr=options.json)
    contenders = [c for c in (Q2, OURS) if options.only in (None, c.key)]
    with provider(options.database, durable=True) as databases:
        title = f"{machine()}, {databases.title()}"
        reports = measure(console, contenders, databases, options)
    if options.json:
        print(json.dumps({"machine": title, "reports": reports}, indent=2))
    else:
        console.print(table(title, contenders, reports))
        console.print(notes(options))
    ours = [run for runs in reports.get(OURS.key, {}).values() for run in runs]
    return int(any(run.get("lost") or run.get("twice") for run in ours))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run bench", description=__doc__)
    parser.add_argument("--database", choices=NAMES, default="sqlite")
    parser.add_argument("--tasks", type=int, default=10_000, help="trivial tasks to drain")
    parser.add_argument("--q2-tasks", type=int, default=1_000, help="the same for Django Q2")
    parser.add_argument("--runs", type=int, default=1, help="repeat; the table has the medians")
    parser.add_argument("--only", choices=[Q2.key, OURS.key])
    parser.add_argument(
        "--save-limit", choices=list(SAVE_LIMITS), action="append", help="default: both"
    )
    parser.add_argument("--samples", type=int, default=200, help="single tasks for the latency")
    parser.add_argument("--idle-seconds", type=float, default=30)
    parser.add_argument("--no-idle", action="store_true", help="throughput only")
    parser.add_argument("--fresh", action="store_true", help="install everything again")
    parser.add_argument("--json", action="store_true", help="print JSON, with each single run")
    return parser.parse_args()


def measure(
    console: Console,
    contenders: Sequence[Contender],
    databases: Provider,
    options: argparse.Namespace,
) -> dict[str, Report]:
    """Take turns, so that a busy moment of the machine does not hit one of them alone."""
    pythons: dict[str, Path] = {}
    for contender in contenders:
        with console.status(f"installing {contender.title}"):
            pythons[contender.key] = contender.python(options.fresh)
    reports: dict[str, Report] = {contender.key: {} for contender in contenders}
    for turn in range(options.runs):
        for title, run in measurements(databases, options):
            for contender in contenders:
                with console.status(f"{contender.title}: {title}, run {turn + 1}"):
                    found = run(contender, pythons[contender.key])
                reports[contender.key].setdefault(title, []).append(found)
    return reports


def measurements(
    databases: Provider,
    options: argparse.Namespace,
) -> list[tuple[str, Callable[[Contender, Path], dict[str, Any]]]]:
    """Return what a turn consists of."""
    chosen: list[tuple[str, Callable[[Contender, Path], dict[str, Any]]]] = []
    for name in options.save_limit or SAVE_LIMITS:

        def drain(contender: Contender, python: Path, name: str = name) -> dict[str, Any]:
            count = options.q2_tasks if contender is Q2 else options.tasks
            return throughput(python, databases, count, SAVE_LIMITS[name])

        chosen.append((f"drain, save_limit {name}", drain))
    if not options.no_idle:
        chosen.append(
            (
                "idle",
                lambda _, python: idleness(
                    python, databases, options.samples, options.idle_seconds
                ),
            )
        )
    return chosen


def table(title: str, contenders: Sequence[Contender], reports: dict[str, Report]) -> Table:
    """Return the medians side by side."""
    result = Table(title=title)
    result.add_column("", no_wrap=True)
    for contender in contenders:
        result.add_column(f"{contender.title}\n{contender.version()}", justify="right")
    if len(contenders) == 2:
        result.add_column("better by", justify="right")
    for measurement in reports[contenders[0].key]:
        result.add_section()
        result.add_row(f"[bold]{measurement}[/]")
        for key, label, form in ROWS:
            add_row(result, label, form, key, [reports[c.key][measurement] for c in contenders])
    return result


def add_row(
    result: Table, label: str, form: str, key: str, columns: Sequence[list[dict[str, Any]]]
) -> None:
    """Add one figure, if it belongs to this measurement."""
    if key not in columns[0][0]:
        return
    medians = [statistics.median(run[key] for run in runs) for runs in columns]
    cells = [form.format(value) for value in medians]
    if len(medians) > 1:
        cells.append(ratio(key, *medians))
    result.add_row(label, *cells)


def ratio(key: str, theirs: float, ours: float) -> str:
    """Return how many times better ours is, where that can be said."""
    if key not in RATIOS:
        return ""
    over, under = (ours, theirs) if RATIOS[key] else (theirs, ours)
    return f"{over / under:,.1f} x" if under else "-"


def machine() -> str:
    """Return what this ran on."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.system()}, Python {python}"


def notes(options: argparse.Namespace) -> str:
    """Return what one has to know to read the table."""
    return (
        "Both: 2 workers, default settings but for save_limit, a new database each time. The "
        "tasks are enqueued before the cluster starts, and counted from a ledger that each "
        "appends to. Drained is from its first line until the queue is empty, when each result is "
        "stored and acknowledged; run is from its first line to its last. "
        f"Django Q2 gets {options.q2_tasks:,} tasks and not {options.tasks:,}, to save time: "
        "rates are comparable. Statements are what the database says it was asked while the "
        "cluster was idle, transaction control included; only SQLite's wake-up read is left out. "
        f"Medians of {options.runs} run(s)."
    )


if __name__ == "__main__":
    sys.exit(main())
