"""Runs hooks and `post_execute` receivers, in order, in a thread of the monitor's own.

A slow hook delays other hooks, never other results. A task with a hook keeps its claim until
the hook has returned, so that the hook runs at least once.
"""

from __future__ import annotations

import logging
import pickle
import queue
import threading
import time
from collections.abc import Callable
from functools import partial

from django.db import close_old_connections, connections, router

from django_q import databases, records
from django_q.cluster.crew import Crew, guarded
from django_q.cluster.lane import Action, Lane, Report, Verdict
from django_q.cluster.patience import Outage, Patience
from django_q.models import Task
from django_q.signals import notify
from django_q.tasks.hooks import run_hook

logger = logging.getLogger("django-q")

HOOK_DEATHS = 2
"""A hook that ended the monitor this often is not run again."""

Job = tuple[Lane | None, int, Report]


class HookRunner:
    """The hook thread."""

    def __init__(self, crew: Crew, decide: Callable[[Lane, int, Action], None]) -> None:
        self.crew = crew
        self._decide = decide
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        using = router.db_for_write(Task)
        self._patience = Patience(
            Outage.of_database(crew, using),
            wait=time.sleep,
            give_up=lambda: False,
            mend=lambda: databases.close(using),
        )

    def add(self, lane: Lane | None, number: int, report: Report) -> None:
        """Run what is due after a result; then settle the package, where `lane` holds one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hooks", daemon=True)
            self._thread.start()
        self._jobs.put((lane, number, report))

    def finish(self) -> None:
        """Wait until every hook has run."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            lane, number, report = job
            guarded(close_old_connections, "A lost connection could not be closed")
            assert report.outcome is not None, report.verdict
            if lane is not None and lane.count_hook(number) > HOOK_DEATHS:
                logger.error("The hook of %s ended the monitor, again", report.outcome.row.name)
            else:
                step = partial(self._follow_up, report.verdict, report.outcome)
                guarded(step, "A hook could not be run")
            if lane is not None:
                self._decide(lane, number, Action.ACKNOWLEDGE)
        connections.close_all()

    def _follow_up(self, verdict: Verdict, outcome: records.Outcome) -> None:
        if outcome.hook:
            if verdict == Verdict.KNOWN:
                task = self._patience.call(lambda: records.stored_task(outcome.row.id), None)
            else:
                task = records.load_task(outcome)
            if task is not None:
                run_hook(pickle.loads(outcome.hook), task)
        if outcome.signal:
            notify("post_execute", task=pickle.loads(outcome.signal))
