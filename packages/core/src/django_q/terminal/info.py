"""The table of `qinfo`: nine figures, summed over all clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from django_q.conf import get_settings
from django_q.terminal.console import cell

if TYPE_CHECKING:
    from django_q.overview import Overview


def info_table(overview: Overview) -> Table:
    """Three rows of three figures, under the `name` of the site's clusters."""
    title = cell(f"{get_settings().name} summary", "bold green")
    table = Table(title=title, box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
    for row in _rows(overview):
        table.add_row(*(cell(part) for figure in row for part in figure))
    return table


def _rows(overview: Overview) -> Iterator[tuple[tuple[str, object], ...]]:
    rate, unit = overview.rate()
    average = overview.average_seconds
    yield (
        ("Clusters", overview.clusters),
        ("Workers", overview.workers),
        ("Restarts", overview.restarts),
    )
    yield (
        ("Queued", overview.queued),
        ("Successes", overview.successes),
        ("Failures", overview.failures),
    )
    yield (
        ("Schedules", overview.schedules),
        (f"Tasks/{unit}", f"{rate:.2f}"),
        ("Avg time", "-" if average is None else f"{average:.4f}"),
    )
