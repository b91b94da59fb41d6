"""The conformance suite for error reporters: one class to inherit, two methods to write.

    import pytest

    from django_q_testkit import ReporterConformance
    from my_reporter import MyReporter


    class TestMyReporter(ReporterConformance):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path):
            self.path = tmp_path / "errors.log"

        def make_reporter(self):
            return MyReporter(path=self.path)

        def reports(self):
            return self.path.read_text().splitlines() if self.path.exists() else []

Whatever a report looks like, it is read as text: what must be in it is looked for in there.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable
from threading import Thread
from typing import Any, NoReturn

import pytest

from django_q.errors import TimeoutException
from django_q.reporters import Reporter

PATIENCE = 20.0
"""Seconds after which a report that does not return is given up."""

TASK = {
    "id": "d7f0a3c15b8e4a6f9c2d1e0b7a6f5c4d",
    "name": "lemon-winter-nine-tango",
    "func": "shop.mail.confirm",
    "args": (),
    "kwargs": {},
}


class Burnt(Exception):
    """What tasks of these tests raise."""


class ReporterConformance:
    """All that is expected of an error reporter."""

    names_of_the_task: tuple[str, ...] = ("id", "name", "func")
    """Which entries of the task a report carries; () where the reporter does not look for it."""

    def make_reporter(self) -> Reporter:
        """A reporter that delivers to a place of the test's own."""
        raise NotImplementedError(
            f"{type(self).__name__}.make_reporter() is missing: return a reporter that delivers "
            "to a place of the test's own, e.g. `return MyReporter(url=self.server.url)`."
        )

    def reports(self) -> list[str]:
        """What has arrived there, oldest first, each as text; flush first if need be."""
        raise NotImplementedError(
            f"{type(self).__name__}.reports() is missing: return what has arrived where "
            "make_reporter() delivers, oldest first, each report as text."
        )

    def make_unreachable_reporter(self) -> Reporter | None:
        """A reporter whose destination does not answer, e.g. an address nobody listens at."""
        return None

    # What a report says

    def test_a_report_names_the_exceptions_type_and_message(self) -> None:
        reporter = self.make_reporter()

        fail(reporter, Burnt("the soufflé collapsed"))

        [report] = self.reports()
        assert "Burnt" in report
        assert "the soufflé collapsed" in report

    def test_a_report_names_the_task(self) -> None:
        if not self.names_of_the_task:
            pytest.skip("the reporter does not name the task")
        reporter = self.make_reporter()

        run_task(reporter, TASK, Burnt("in a task"))

        [report] = self.reports()
        assert {name for name in self.names_of_the_task if str(TASK[name]) not in report} == set()

    def test_each_report_names_its_own_task(self) -> None:
        if "id" not in self.names_of_the_task:
            pytest.skip("the reporter does not name the task by its id")
        reporter = self.make_reporter()

        run_task(reporter, TASK, Burnt("first"))
        run_task(reporter, TASK | {"id": "another"}, Burnt("second"))

        first, second = self.reports()
        assert str(TASK["id"]) in first
        assert str(TASK["id"]) not in second
        assert "another" in second

    # What is reported

    def test_two_exceptions_are_two_reports_in_their_order(self) -> None:
        reporter = self.make_reporter()

        fail(reporter, Burnt("first"))
        fail(reporter, ValueError("second"))

        first, second = self.reports()
        assert "first" in first
        assert "second" in second

    def test_without_a_task_it_reports_all_the_same(self) -> None:
        # Hooks, signal handlers and schedules fail too.
        reporter = self.make_reporter()

        fail(reporter, Burnt("in a hook"))

        [report] = self.reports()
        assert "in a hook" in report

    @pytest.mark.parametrize(
        "task", [None, "a name", object(), {}], ids=["None", "text", "object", "empty"]
    )
    def test_a_local_variable_task_that_is_none_of_ours_does_no_harm(self, task: Any) -> None:
        # User code has variables of that name.
        reporter = self.make_reporter()

        run_task(reporter, task, Burnt("in a hook"))

        [report] = self.reports()
        assert "in a hook" in report

    @pytest.mark.parametrize(
        "error",
        [SystemExit("leaving early"), TimeoutException("took too long")],
        ids=["SystemExit", "TimeoutException"],
    )
    def test_what_is_no_exception_is_reported_too(self, error: BaseException) -> None:
        # A task that calls sys.exit(), or that has used up its timeout, has failed.
        reporter = self.make_reporter()

        fail(reporter, error)

        [report] = self.reports()
        assert str(error) in report

    def test_without_an_exception_it_raises_nothing(self) -> None:
        assert sys.exc_info() == (None, None, None)

        self.make_reporter().report()

    # Where it is called

    def test_it_reports_from_another_thread(self) -> None:
        # The hooks of tasks run in a thread of the monitor.
        reporter = self.make_reporter()
        thread = Thread(target=fail, args=(reporter, Burnt("in a thread")))

        thread.start()
        thread.join(PATIENCE)

        [report] = self.reports()
        assert "in a thread" in report

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked on this system")
    def test_it_reports_from_a_forked_worker(self) -> None:
        # It may have been built, and used, before the cluster forks.
        reporter = self.make_reporter()
        fail(reporter, Burnt("before the fork"))
        self.reports()

        def work() -> list[str]:
            fail(reporter, Burnt("in a worker"))
            return self.reports()

        seen_by_the_worker = in_a_fork(work)

        arrived = [*seen_by_the_worker, *self.reports()]
        assert [report for report in arrived if "in a worker" in report]

    def test_it_does_not_wait_for_ever_for_whom_it_cannot_reach(self) -> None:
        # The worker stands still meanwhile. To raise is allowed: it is logged.
        reporter = self.make_unreachable_reporter()
        if reporter is None:
            pytest.skip("make_unreachable_reporter() returns None")
        thread = Thread(target=fail_unreported, args=(reporter,), daemon=True)

        thread.start()
        thread.join(PATIENCE)

        assert not thread.is_alive()


def fail(reporter: Reporter, error: BaseException) -> None:
    """Report an exception as hooks and signal handlers do: no caller has a task."""
    try:
        raise error
    except BaseException:
        reporter.report()


def fail_unreported(reporter: Reporter) -> None:
    try:
        fail(reporter, Burnt("to nobody"))
    except Exception:
        return


def run_task(reporter: Reporter, task: Any, error: BaseException) -> None:
    """Report an exception as a worker does: a frame that led to it has the local `task`."""

    def function() -> None:
        raise error

    try:
        function()
    except BaseException:
        reporter.report()


def in_a_fork(work: Callable[[], list[str]]) -> list[str]:
    """Do something in a forked process, and return what it returned there."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # That other threads run meanwhile is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        be_the_fork(work, writer)
    os.close(writer)
    with open(reader, "rb") as answers:
        try:
            has_answered, _, _ = select.select([answers], [], [], PATIENCE)
            assert has_answered, f"the forked worker did not return from report() in {PATIENCE} s"
            answer = answers.read()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return read_answer(answer)


def be_the_fork(work: Callable[[], list[str]], writer: int) -> NoReturn:
    """Answer through the pipe, and leave as workers do: without the parent's exit handlers."""
    try:
        answer = {"reports": work()}
    except BaseException as error:
        answer = {"raised": [f"{type(error).__name__}: {error}"]}
    with open(writer, "wb") as answers:
        answers.write(json.dumps(answer).encode())
    os._exit(0)


def read_answer(answer: bytes) -> list[str]:
    found: dict[str, list[str]] = json.loads(answer)
    assert "raised" not in found, f"the forked worker raised {found['raised']}"
    return found["reports"]
