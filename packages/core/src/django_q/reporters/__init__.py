"""Tells the configured error reporters of a failed task, and never fails itself.

A reporter is a class that is called with its options from `Q_CLUSTER["error_reporter"]` and has
a method `report()`, which looks up the exception being handled:

    class Pager:
        def __init__(self, number):
            self.number = number

        def report(self):
            send_text(self.number, str(sys.exc_info()[1]))

It is called in the process that runs the task, between the task's end and its result, so a
reporter that talks to a network must bring a time limit of its own, or queue and send later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django_q.plugins.manager import report_errors_to
from django_q.reporters.registry import Reporter, configured, problems

logger = logging.getLogger("django-q")

__all__ = ["ErrorReporter", "Reporter", "error_reporter", "problems", "report"]


def report(task: dict[str, Any] | None = None) -> None:
    """Tell every configured reporter of the exception being handled; call it in the `except`.

    Reporters written for 1.x find the task in a local variable `task` of the frames that called
    what raised, so the caller must have one; `task` is taken here for those to come.
    """
    for key, reporter in configured().items():
        _tell(key, reporter)


def _tell(name: str, reporter: Reporter) -> None:
    try:
        reporter.report()
    except (Exception, SystemExit):
        logger.exception("The error reporter %r failed", name)


class ErrorReporter:
    """The 1.x name of a group of reporters."""

    targets: list[Reporter]

    def __init__(self, reporters: Iterable[Reporter]) -> None:
        self.targets = list(reporters)

    def report(self) -> None:
        """Tell each of them of the exception being handled."""
        for target in self.targets:
            _tell(type(target).__name__, target)


class _ConfiguredReporters(ErrorReporter):
    """Those of the settings in force; false when there are none, where 1.x had None."""

    def __init__(self) -> None:
        pass

    @property
    def targets(self) -> list[Reporter]:  # type: ignore[override]
        return list(configured().values())

    def __bool__(self) -> bool:
        return bool(configured())


error_reporter = _ConfiguredReporters()
"""The 1.x name of `report`."""

report_errors_to(report)
