"""Reporters that break the contract, one promise each, and their runs of the suite.

pytest does not collect this file by itself: `test_wrong_reporters` runs it and wants failures.
"""

from __future__ import annotations

import sys
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from django_q.reporters import Reporter
from django_q_testkit import ReporterConformance
from tests.reporters.file_reporter import FileReporter


class Silent(FileReporter):
    """Reports nothing."""

    def report(self) -> None:
        pass


class Terse(FileReporter):
    """Leaves the type of the exception out."""

    def report(self) -> None:
        with self.path.open("a") as file:
            file.write(f"{sys.exc_info()[1]} {self.task()}\n")


class Forgetting(FileReporter):
    """Keeps the latest report alone."""

    def report(self) -> None:
        self.path.unlink(missing_ok=True)
        super().report()


class Picky(FileReporter):
    """Takes what is no Exception for a clean exit."""

    def report(self) -> None:
        if isinstance(sys.exc_info()[1], Exception):
            super().report()


class Presuming(FileReporter):
    """Takes for granted that a task is there."""

    def report(self) -> None:
        self.task()["id"]
        super().report()


class Gullible(FileReporter):
    """Takes every local variable `task` for one of ours."""

    def task(self) -> dict[str, str]:
        frame = sys._getframe()
        while frame is not None:
            if "task" in frame.f_locals:
                return {name: frame.f_locals["task"][name] for name in ("id", "name", "func")}
            frame = frame.f_back
        return {}


class Remembering(FileReporter):
    """Names the first task that it met for ever."""

    known: dict[str, str] | None = None

    def task(self) -> dict[str, str]:
        self.known = self.known or super().task()
        return self.known


class Blind(FileReporter):
    """Names no task, and does not say so."""

    def task(self) -> dict[str, str]:
        return {}


class Asserting(FileReporter):
    """Insists on an exception."""

    def report(self) -> None:
        assert sys.exc_info()[1] is not None
        super().report()


class Threaded(FileReporter):
    """Leaves the work to a thread, which no fork takes along."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.lines: Queue[str] = Queue()
        self.thread = Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self) -> None:
        while True:
            line = self.lines.get()
            with self.path.open("a") as file:
                file.write(line)
            self.lines.task_done()

    def report(self) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            self.lines.put(f"{type(error).__name__}: {error} {self.task()}\n")

    def flush(self) -> None:
        if self.thread.is_alive():  # not in a fork
            self.lines.join()


class OnFile(ReporterConformance):
    kind: type[FileReporter]

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "errors"

    def make_reporter(self) -> Reporter:
        self.reporter = self.kind(self.path)
        return self.reporter

    def reports(self) -> list[str]:
        if isinstance(self.reporter, Threaded):
            self.reporter.flush()
        return self.path.read_text().splitlines() if self.path.exists() else []


class TestRight(OnFile):
    kind = FileReporter


class TestSilent(OnFile):
    kind = Silent


class TestTerse(OnFile):
    kind = Terse


class TestForgetting(OnFile):
    kind = Forgetting


class TestPicky(OnFile):
    kind = Picky


class TestPresuming(OnFile):
    kind = Presuming


class TestGullible(OnFile):
    kind = Gullible


class TestRemembering(OnFile):
    kind = Remembering


class TestBlind(OnFile):
    kind = Blind


class TestAsserting(OnFile):
    kind = Asserting


class TestThreaded(OnFile):
    kind = Threaded
