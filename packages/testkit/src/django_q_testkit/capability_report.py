"""Tells at the end of a test run what each broker declares, and how its tests went."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pytest

# Imports of the suite stay out: pytest loads this in every run, also where no broker is tested.

ATTRIBUTE = "django_q_broker"
"""The attribute of a test's report that carries what is known; pytest-xdist hands it on."""

TITLE = "what the brokers declare (tests passed/skipped/failed that concern it)"

OUTCOMES = ("passed", "skipped", "failed")


@dataclass
class Column:
    """What is known of one test class."""

    title: str
    broker: str = ""
    info: str = ""
    declared: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, seen: dict[str, Any], outcome: str) -> None:
        self.broker = seen["broker"] or self.broker
        self.info = seen["info"] or self.info
        self.declared = seen["declared"] or self.declared
        for concern in ["", *seen["capabilities"]]:
            self.outcomes[concern, outcome] += 1

    def count(self, concern: str) -> str:
        counts = [self.outcomes[concern, outcome] for outcome in OUTCOMES]
        return "/".join(map(str, counts)) if any(counts) else ""

    def cells(self, capabilities: Iterable[str]) -> list[str]:
        declared = [f"{self.declared[name]} {self.count(name)}" for name in capabilities]
        return [self.title, self.info or self.broker, *declared, self.count("")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hang what the suite knows of a broker's test on the report of that test."""
    report = yield
    suite = sys.modules.get("django_q_testkit.conformance")
    cls = getattr(item, "cls", None)
    if suite is not None and cls is not None and issubclass(cls, suite.BrokerConformance):
        setattr(report, ATTRIBUTE, {"class": cls.__name__, **suite.asked.as_dict()})
        if call.when == "teardown":
            suite.asked.forget()
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one column for each class that tested a broker."""
    columns = [column for column in collected(terminalreporter) if column.declared]
    if not columns or terminalreporter.config.get_verbosity() < -1:
        return
    terminalreporter.section(TITLE, sep="-")
    for line in table(columns, terminalreporter._tw.fullwidth):
        terminalreporter.write_line(line)


def collected(terminalreporter: pytest.TerminalReporter) -> list[Column]:
    columns: dict[str, Column] = {}
    for category, outcome in (*zip(OUTCOMES, OUTCOMES, strict=True), ("error", "failed")):
        for report in terminalreporter.stats.get(category, []):
            seen = getattr(report, ATTRIBUTE, None)
            if seen is not None:
                where = report.nodeid.rpartition("::")[0]
                columns.setdefault(where, Column(seen["class"])).add(seen, outcome)
    return [columns[name] for name in sorted(columns)]


def table(columns: list[Column], width: int) -> Iterator[str]:
    """As many columns beside each other as the terminal has room for."""
    capabilities = list(columns[0].declared)
    names = ["", "", *capabilities, "all tests"]
    margin = max(map(len, names))
    while columns:
        cells = [column.cells(capabilities) for column in columns]
        widths = [2 + max(map(len, cell)) for cell in cells]
        room = [total <= width - margin for total in accumulate(widths)]
        fitting = max(sum(room), 1)
        for name, *row in zip(names, *cells[:fitting], strict=True):
            aligned = [f"  {cell}".ljust(size) for cell, size in zip(row, widths, strict=False)]
            yield "".join([name.ljust(margin), *aligned]).rstrip()
        columns = columns[fitting:]
        if columns:
            yield ""
