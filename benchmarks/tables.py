"""The benchmark's tables: the medians side by side, and what one has to know to read them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.contenders import Contender

Runs = list[dict[str, Any]]
"""What each run of one measurement found."""

Report = dict[str, Runs]
"""Measurement → its runs."""

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
    ("idle_broker_cpu_percent", "CPU of Redis then, %", "{:,.2f}"),
    ("idle_statements_per_second", "SQL statements per second, idle", "{:,.2f}"),
    ("idle_commands_per_second", "Redis commands per second, idle", "{:,.2f}"),
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
    "idle_broker_cpu_percent": False,
    "idle_statements_per_second": False,
    "idle_commands_per_second": False,
    "stop_seconds": False,
}
"""What is compared, and whether more is better."""


RIVALS_COLUMNS: Sequence[tuple[str, str]] = (
    ("tasks", "tasks"),
    ("enqueue_per_second", "enqueued\nper s"),
    ("run_per_second", "run\nper s"),
    ("drain_per_second", "drained\nper s"),
    ("lost", "lost"),
    ("twice", "run\ntwice"),
)


@dataclass(frozen=True)
class Drain:
    """A queue with the settings that it ran with, among its rivals."""

    queue: str
    setting: str
    results: str
    """What it stores of a task's result."""
    runs: Runs
    ours: bool = False

    @property
    def per_second(self) -> float:
        """Return how many tasks it drained per second, in the median."""
        return median(self.runs, "drain_per_second")


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
    medians = [median(runs, key) for runs in columns]
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


def rivals_table(title: str, drains: Sequence[Drain]) -> Table:
    """Return all queues one below the other, and how many times faster ours drains."""
    result = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    result.add_column("on the same Redis", min_width=20)
    for _, label in RIVALS_COLUMNS:
        result.add_column(label, justify="right")
    result.add_column("ours\ndrains", justify="right")
    slowest = min((drain.per_second for drain in drains if drain.ours), default=None)
    for drain in drains:
        cells = [f"{median(drain.runs, key):,.0f}" for key, _ in RIVALS_COLUMNS]
        compares = slowest is not None and not drain.ours
        faster = ratio("drain_per_second", drain.per_second, slowest or 0) if compares else ""
        result.add_row(f"[bold]{drain.queue}[/]\n{drain.setting}", *cells, faster)
    return result


def versus_fastest(drains: Sequence[Drain]) -> str:
    """Return how many times faster ours drains than the fastest of the others, a line for each."""
    best = max((drain for drain in drains if not drain.ours), key=lambda drain: drain.per_second)
    lines = [
        f"The fastest of the others is {best.queue} with {best.setting}: "
        f"{best.per_second:,.0f} per second."
    ]
    for drain in drains:
        if drain.ours:
            times = ratio("drain_per_second", best.per_second, drain.per_second)
            rate = f"{drain.per_second:,.0f} per second"
            lines.append(f"{drain.queue} with {drain.setting}: {rate}, {times} that.")
    return "\n".join(lines)


def median(runs: Runs, key: str) -> float:
    """Return the median of one figure."""
    return float(statistics.median(run[key] for run in runs))


def notes(tasks: int, q2_tasks: int, runs: int) -> str:
    """Return what one has to know to read the table."""
    return (
        "Both: 2 workers, default settings but for save_limit, a new database each time. The "
        "tasks are enqueued before the cluster starts, and counted from a ledger that each "
        "appends to. Drained is from its first line until the queue is empty, when each result is "
        "stored and acknowledged; run is from its first line to its last. "
        f"Django Q2 gets {q2_tasks:,} tasks and not {tasks:,}, to save time: "
        "rates are comparable. Statements are what the database says it was asked while the "
        "cluster was idle, transaction control included; only SQLite's wake-up read is left out. "
        f"Medians of {runs} run(s)."
    )


def rivals_notes(drains: Sequence[Drain]) -> str:
    """Return what one has to know to read the table of all queues."""
    stored = "; ".join(dict.fromkeys(f"{drain.queue} {drain.results}" for drain in drains))
    return (
        "Two worker processes each, one producer that enqueues one by one before they start, the "
        "same task, the same Redis, emptied each time. Drained is from the first task's line in "
        "the ledger until nothing waits or is claimed. Each stores of the results what it does by "
        f"default: {stored}. The last column compares the slower of our settings."
    )
