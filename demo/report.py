"""The tables at the end of the demo."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

COUNTS = ("lines", "functions", "classes", "imports")
LARGEST = 10
FAILURES_SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """What the demo found in the database when all was done."""

    root: Path
    succeeded: dict[str, dict[str, int]]
    """Path → counts."""
    failed: dict[str, str]
    """Path → reason."""
    missing: Sequence[str]
    """Files that no recorded task accounts for."""
    collated: int
    """Files that the hook has seen."""
    seconds: float
    workers: int
    broker: str

    @property
    def recorded(self) -> int:
        """Return how many tasks were recorded."""
        return len(self.succeeded) + len(self.failed)

    @property
    def complete(self) -> bool:
        """Is every file accounted for, by a recorded task and by the hook?"""
        return not self.missing and self.collated == self.recorded


def show(console: Console, outcome: Outcome, database: Path, log: Path) -> None:
    """Print the tables, the totals, and where to look."""
    console.print(largest_modules(outcome))
    if outcome.failed:
        console.print(failures(outcome))
    console.print(
        f"[bold]{outcome.recorded:,} tasks[/] recorded in {outcome.seconds:.1f} s: "
        f"[bold]{outcome.recorded / outcome.seconds:,.0f} tasks/s[/] with {outcome.workers} "
        f"workers on the {outcome.broker} broker; {len(outcome.succeeded):,} succeeded, "
        f"{len(outcome.failed):,} failed, {len(outcome.missing):,} missing; "
        f"the hook collated {outcome.collated:,}."
    )
    for path in outcome.missing[:FAILURES_SHOWN]:
        console.print(f"[red]not accounted for:[/] {path}", highlight=False)
    where = f"The results are in {short(database)}, the cluster's log is in {short(log)}."
    console.print(f"\n{where}\nLook at them with:\n", highlight=False, soft_wrap=True)
    code = (
        "from django_q.models import Task; "
        "[print(t.stopped, t.success, t.args, t.result) for t in Task.objects.all()[:20]]"
    )
    console.print(
        f"  DJANGO_SETTINGS_MODULE=demo.settings hatch run python -m django shell -c '{code}'",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def largest_modules(outcome: Outcome) -> Table:
    """Return the table of the modules with the most lines, and the totals of all."""
    table = Table(title="The ten largest modules", show_footer=True)
    totals = [sum(counts[key] for counts in outcome.succeeded.values()) for key in COUNTS]
    table.add_column("module", f"all {len(outcome.succeeded):,} modules")
    for key, total in zip(COUNTS, totals, strict=True):
        table.add_column(key, f"{total:,}", justify="right")
    by_lines = sorted(outcome.succeeded.items(), key=lambda item: -item[1]["lines"])
    for path, counts in by_lines[:LARGEST]:
        table.add_row(module_name(path, outcome.root), *(f"{counts[key]:,}" for key in COUNTS))
    return table


def failures(outcome: Outcome) -> Table:
    """Return the table of the failed tasks: files that do not parse."""
    table = Table(title="Failed tasks: files that do not parse")
    table.add_column("file", overflow="fold")
    table.add_column("why", overflow="fold")
    for path, why in sorted(outcome.failed.items())[:FAILURES_SHOWN]:
        table.add_row(relative(path, outcome.root), _plain(why.replace(f"{outcome.root}/", "")))
    hidden = len(outcome.failed) - FAILURES_SHOWN
    if hidden > 0:
        table.add_row(f"… and {hidden} more", "")
    return table


def module_name(path: str, root: Path) -> str:
    """Return the dotted name of a module below `root`."""
    name = relative(path, root).removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def relative(path: str, root: Path) -> str:
    """Return a path as seen from `root`."""
    return Path(path).relative_to(root).as_posix()


def short(path: Path) -> Path:
    """Return a path as seen from the current folder, if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _plain(text: Any) -> str:
    return str(text).replace("[", r"\[")
