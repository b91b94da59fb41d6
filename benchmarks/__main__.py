"""Runs the benchmark and prints one table, or JSON."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import brokers, databases
from benchmarks.brokers import Carrier, RedisCarrier
from benchmarks.contenders import OURS, Q2, Contender
from benchmarks.databases import Provider
from benchmarks.measure import idleness, throughput
from benchmarks.others import OTHERS, Other, Setting, drain
from benchmarks.tables import (
    Drain,
    Report,
    Runs,
    notes,
    rivals_notes,
    rivals_table,
    table,
    versus_fastest,
)

SAVE_LIMITS: dict[str, int | None] = {"default": None, "0": 0}


def main() -> int:
    """Measure what the options ask for; 1 if a task of ours was lost or run twice."""
    options = parse_arguments()
    console = Console(stderr=options.json)
    contenders = [c for c in (Q2, OURS) if options.only in (None, c.key)]
    others = chosen_others(options)
    with (
        databases.provider(options.database, durable=True) as provider,
        brokers.carrier(options.broker, appendonly="no") as carrier,
    ):
        title = ", ".join(filter(None, [machine(), provider.title(), carrier.title()]))
        bench = Bench(console, provider, carrier, options)
        bench.install([*contenders, *others])
        bench.measure(contenders, others)
    report(console, title, contenders, bench)
    ours = [run for runs in bench.reports.get(OURS.key, {}).values() for run in runs]
    return int(any(run.get("lost") or run.get("twice") for run in ours))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run bench", description=__doc__)
    parser.add_argument("--database", choices=databases.NAMES, default="sqlite")
    parser.add_argument(
        "--broker",
        choices=brokers.NAMES,
        default="orm",
        help="redis: with Celery, Dramatiq, Huey and RQ beside",
    )
    parser.add_argument("--tasks", type=int, default=10_000, help="trivial tasks to drain")
    parser.add_argument("--q2-tasks", type=int, default=1_000, help="the same for Django Q2")
    parser.add_argument(
        "--other-tasks", type=int, help="the same for each of the others; default: as suits it"
    )
    parser.add_argument("--runs", type=int, default=1, help="repeat; the table has the medians")
    parser.add_argument("--only", choices=[c.key for c in (Q2, OURS, *OTHERS)])
    parser.add_argument(
        "--save-limit", choices=list(SAVE_LIMITS), action="append", help="default: both"
    )
    parser.add_argument("--samples", type=int, default=200, help="single tasks for the latency")
    parser.add_argument("--idle-seconds", type=float, default=30)
    parser.add_argument("--no-idle", action="store_true", help="throughput only")
    parser.add_argument("--fresh", action="store_true", help="install everything again")
    parser.add_argument("--json", action="store_true", help="print JSON, with each single run")
    options = parser.parse_args()
    if options.broker == "orm" and options.only in [other.key for other in OTHERS]:
        parser.error(f"--only {options.only} needs a Redis: --broker redis")
    return options


def chosen_others(options: argparse.Namespace) -> list[Other]:
    """Return the other queues to measure: all of them on a Redis, unless one was asked for."""
    if options.broker == "orm":
        return []
    return [other for other in OTHERS if options.only in (None, other.key)]


class Bench:
    """Measures contenders in turns and keeps what each run found."""

    def __init__(
        self, console: Console, provider: Provider, carrier: Carrier, options: argparse.Namespace
    ) -> None:
        self.console = console
        self.provider = provider
        self.carrier = carrier
        self.options = options
        self.pythons: dict[str, Path] = {}
        self.reports: dict[str, Report] = {}
        self.others: list[tuple[Other, Setting, Runs]] = []

    def install(self, contenders: Sequence[Contender]) -> None:
        """Make the environments; another queue that cannot be installed is left out."""
        for contender in contenders:
            with self.console.status(f"installing {contender.title}"):
                try:
                    self.pythons[contender.key] = contender.python(self.options.fresh)
                except subprocess.CalledProcessError:
                    if not isinstance(contender, Other):
                        raise
                    self.console.print(f"{contender.title} is left out: it cannot be installed.")

    def measure(self, contenders: Sequence[Contender], others: Sequence[Other]) -> None:
        """Take turns, so that a busy moment of the machine does not hit one of them alone."""
        self.reports = {contender.key: {} for contender in contenders}
        self.others = [
            (other, setting, [])
            for other in others
            if other.key in self.pythons
            for setting in other.settings
        ]
        for turn in range(self.options.runs):
            for title, run in self.measurements():
                for contender in contenders:
                    with self.console.status(f"{contender.title}: {title}, run {turn + 1}"):
                        found = run(contender, self.pythons[contender.key])
                    self.reports[contender.key].setdefault(title, []).append(found)
            for other, setting, runs in self.others:
                with self.console.status(f"{other.title}: {setting.title}, run {turn + 1}"):
                    runs.append(self.drain_other(other, setting))

    def measurements(self) -> list[tuple[str, Callable[[Contender, Path], dict[str, Any]]]]:
        """Return what a turn consists of for a Django contender."""
        provider, carrier, options = self.provider, self.carrier, self.options
        chosen: list[tuple[str, Callable[[Contender, Path], dict[str, Any]]]] = []
        for name in options.save_limit or SAVE_LIMITS:

            def drain(contender: Contender, python: Path, name: str = name) -> dict[str, Any]:
                count = options.q2_tasks if contender is Q2 else options.tasks
                return throughput(python, provider, carrier, count, SAVE_LIMITS[name])

            chosen.append((drain_title(name), drain))
        if not options.no_idle:

            def idle(_: Contender, python: Path) -> dict[str, Any]:
                return idleness(python, provider, carrier, options.samples, options.idle_seconds)

            chosen.append(("idle", idle))
        return chosen

    def drain_other(self, other: Other, setting: Setting) -> dict[str, Any]:
        """Return what a run of another queue found."""
        assert isinstance(self.carrier, RedisCarrier)
        count = self.options.other_tasks or other.tasks
        return drain(self.pythons[other.key], self.carrier, other, setting, count)

    def drains(self) -> list[Drain]:
        """Return ours and the others, where others were measured."""
        found = [
            Drain(f"{other.title} {other.version()}", setting.title, other.stores, runs)
            for other, setting, runs in self.others
        ]
        if not found:
            return []
        stored = "every one, in the database"
        django = [
            Drain(f"{c.title} {c.version()}", f"save_limit {limit}", stored, runs, ours=c is OURS)
            for c in (OURS, Q2)
            for limit in self.options.save_limit or SAVE_LIMITS
            if (runs := self.reports.get(c.key, {}).get(drain_title(limit)))
        ]
        return [*django, *found]


def drain_title(save_limit: str) -> str:
    """Return what a drain is called in the report."""
    return f"drain, save_limit {save_limit}"


def report(console: Console, title: str, contenders: Sequence[Contender], bench: Bench) -> None:
    """Print everything, as tables or as JSON."""
    options, drains = bench.options, bench.drains()
    if options.json:
        rivals = [asdict(drain) for drain in drains]
        print(json.dumps({"machine": title, "reports": bench.reports, "rivals": rivals}, indent=2))
        return
    if contenders:
        console.print(table(title, contenders, bench.reports))
        console.print(notes(options.tasks, options.q2_tasks, options.runs))
    if drains:
        console.print(rivals_table(title, drains))
        console.print(versus_fastest(drains))
        console.print(rivals_notes(drains))


def machine() -> str:
    """Return what this ran on."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.system()}, Python {python}"


if __name__ == "__main__":
    sys.exit(main())
