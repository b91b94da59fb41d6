"""What tests of process managers share: a shell, a task that runs on, and a table of outcomes.

The table is printed at the end of every run of the tests, whichever modules they are in:

    pytest tests/deployment tests/docs/manual/test_cluster.py
"""

import os
import shlex
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from tests.harness import ClusterProcess, Gate, Project

STOPPING = "stopping cluster processes"
OUTCOME = "outcome under a process manager"


class Outcome(NamedTuple):
    """How a cluster fared under a process manager."""

    manager: str
    started_by: str
    stopped_by: str
    kills_after: str
    """How long the manager waits before SIGKILL, which no exit code here shows."""
    exit_code: str
    """The cluster's, as its manager tells it."""
    exit_code_of_manager: str = "-"


RecordOutcome = Callable[[Outcome], None]


def show_outcomes(terminal: pytest.TerminalReporter, reports: Iterable[pytest.TestReport]) -> None:
    """Print the table of what tests have recorded as the property OUTCOME."""
    rows = sorted(
        [str(cell) for cell in value]
        for report in reports
        for name, value in report.user_properties
        if name == OUTCOME and report.when == "call" and report.passed
    )
    if not rows:
        return
    terminal.section("process managers")
    table = [[name.replace("_", " ") for name in Outcome._fields], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminal.line("  ".join(cells).rstrip())


def type_in(project: Project, line: str) -> ClusterProcess:
    """Start what the line says, as a shell in the project's folder would."""
    programs = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    command = ["env", *shlex.split(line.removeprefix("$ "))]
    process = ClusterProcess(command, project, project.env | {"PATH": programs})
    project.clusters.append(process)
    return process


def begin(project: Project, label: str, **options: object) -> Gate:
    """Give the cluster a task that has begun when this returns, and return its gate."""
    gate = project.gate(label)
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('tests.jobs.gate', {label!r}, {gate.path!r}, **{options!r})"
    )
    project.wait_until(lambda: project.starts()[label], what=f"the start of {label}")
    return gate


def assert_nobody_is_left(project: Project) -> None:
    """Assert that every process of the project ends."""
    assert project.wait_until(lambda: not project.processes(), what="the end of all processes")


def assert_stopped(project: Project, *labels: str) -> None:
    """Each task ended well although its cluster was told to stop, and nobody is left."""
    assert_nobody_is_left(project)
    assert [note.label for note in project.ledger() if note.event == "end"] == [*labels]
    assert [task["success"] for task in project.tasks()] == [1] * len(labels)
    assert project.queue.packages() == []
