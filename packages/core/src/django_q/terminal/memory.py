"""The screen of `qmemory`: what each cluster of this host has in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from django_q.brokers import Broker
from django_q.status import Stat
from django_q.terminal.clusters import BAR, HEADER, UNKNOWN, found
from django_q.terminal.console import cell
from django_q.terminal.processes import memory_of, require_psutil
from django_q.terminal.screen import is_live, watch
from django_q.terminal.sight import Sight

COLUMNS = {
    "Available (%)": "available_percent",
    "Available (MB)": "available_mb",
    "Total (MB)": "total_mb",
    "Sentinel (MB)": "sentinel_mb",
    "Monitor (MB)": "monitor_mb",
    "Workers (MB)": "workers_mb",
}
"""Heading → what it shows of `memory_of()`; before them come the host and the cluster's id."""

WORKER_WIDTH = 9
ELSEWHERE = "-: on another host; run qmemory there."


class LowWater:
    """The least memory that this host had left while it was looked at."""

    def __init__(self) -> None:
        self.percent: float | None = None
        self.at = ""

    def note(self, clusters: Sequence[dict[str, Any]]) -> None:
        """Take the figures of a moment into account."""
        for each in clusters:
            percent = each["available_percent"]
            if percent is not None and (self.percent is None or percent < self.percent):
                self.percent, self.at = percent, f"{datetime.now():%Y-%m-%d %H:%M:%S}"

    def __str__(self) -> str:
        return f"Available lowest (%): {self.percent} ({self.at})" if self.at else ""


def show_memory(
    console: Console, broker: Broker | None = None, run_once: bool = False, workers: bool = False
) -> list[Stat] | None:
    """Show it until `q` is pressed; or once, and return the clusters' statuses."""
    require_psutil()
    low = LowWater()
    if run_once or not is_live(console):
        stats = found(broker)
        console.print(drawing([memory_of(stat) for stat in stats], low, workers, console.width))
        return stats
    clusters = Sight(lambda: found(broker))

    def draw(height: int) -> ConsoleRenderable:
        facts = [memory_of(stat) for stat in clusters.look() or []]
        drawn = drawing(facts, low, workers, console.width, clusters.trouble)
        return Group(drawn, cell("[Press q to quit]", "dim"))

    watch(console, draw)
    return None


def drawing(
    clusters: Sequence[dict[str, Any]],
    low: LowWater,
    workers: bool,
    width: int,
    trouble: str | None = None,
) -> Group:
    """All of it."""
    low.note(clusters)
    parts: list[ConsoleRenderable] = [memory_table(clusters)]
    if workers:
        for part in worker_tables(clusters, width):
            parts += [Text(), part]
    parts += [Text(), cell(low)]
    if any(not each["is_this_host"] for each in clusters):
        parts.append(cell(ELSEWHERE, "yellow"))
    if trouble:
        parts.append(cell(trouble, "bold red"))
    return Group(*parts)


def memory_table(clusters: Sequence[dict[str, Any]]) -> Table:
    """A row for each cluster."""
    table = _table(HEADER)
    table.add_column("Host")
    table.add_column("Id", justify="right", no_wrap=True)
    for heading in COLUMNS:
        # In two lines, so that there is room for the host.
        table.add_column(Text(heading.replace(" ", "\n")), justify="right", no_wrap=True)
    for each in clusters:
        figures = [_figure(each[key]) for key in COLUMNS.values()]
        table.add_row(cell(each["host"]), cell(each["pid"]), *figures)
    if not clusters:
        table.add_row(cell("No cluster", "yellow"))
    return table


def worker_tables(clusters: Sequence[dict[str, Any]], width: int) -> Iterator[Table]:
    """A column for each worker, W1 and so on; as many tables as it takes in that width."""
    most = max((len(each["workers"]) for each in clusters), default=0)
    step = max(1, width // WORKER_WIDTH - 1)
    for first in range(0, most, step):
        columns = range(first, min(most, first + step))
        table = _table(BAR)
        table.add_column("Id", justify="right", no_wrap=True)
        for column in columns:
            table.add_column(f"W{column + 1}", justify="right", no_wrap=True)
        for each in clusters:
            figures = [worker["mb"] for worker in each["workers"]]
            cells = [_figure(figures[i]) if i < len(figures) else Text() for i in columns]
            table.add_row(cell(each["pid"]), *cells)
        yield table


def _figure(value: float | None) -> Text:
    return cell(UNKNOWN if value is None else f"{value:.1f}")


def _table(header: str) -> Table:
    return Table(box=None, expand=True, collapse_padding=True, pad_edge=False, header_style=header)
