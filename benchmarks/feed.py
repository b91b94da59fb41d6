"""Keeps a project's queue fed, in a process of its own, and notes what `async_task` took.

Each line of its ledger is `label kind answer`: `taken` when `async_task` returned, `raised` when
it raised, so that nobody knows whether the queue has it. It ends when its standard input does.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import django
from django.db import close_old_connections

FULL_SECONDS = 0.02
AWAY_SECONDS = 0.2
AT_ONCE = 20

KINDS = {"short": 80, "long": 2, "failing": 8, "hooked": 10}
"""What is enqueued, and how often of a hundred times."""


class Feed:
    """Enqueues tasks of several kinds while fewer than `depth` packages wait."""

    def __init__(self, ledger: str, depth: int, seed: int) -> None:
        from django_q.brokers import get_broker  # needs the settings

        self.ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.depth = depth
        self.random = random.Random(seed)
        self.broker = get_broker()
        self.stopping = threading.Event()
        self.count = 0

    def run(self) -> None:
        """Feed the queue until it is told to stop."""
        threading.Thread(target=self._heed_stdin, daemon=True).start()
        while not self.stopping.is_set():
            self.stopping.wait(self._step())

    def _step(self) -> float:
        """Enqueue a few tasks if they are wanted; return how long to pause."""
        try:
            if self.broker.queue_size() >= self.depth:
                return FULL_SECONDS
        except Exception:  # every driver has its own for a database that is away
            close_old_connections()
            return AWAY_SECONDS
        taken = all(self._enqueue() for _ in range(AT_ONCE))
        return 0 if taken else AWAY_SECONDS

    def _enqueue(self) -> bool:
        self.count += 1
        [kind] = self.random.choices(list(KINDS), list(KINDS.values()))
        label = f"task-{self.count}"
        try:
            self._task(kind, label)
        except Exception:  # as above
            close_old_connections()
            self._note(label, kind, "raised")
            return False
        self._note(label, kind, "taken")
        return True

    def _task(self, kind: str, label: str) -> None:
        from django_q.tasks import async_task

        def task(*arguments: Any, **options: Any) -> None:
            async_task(*arguments, task_name=label, **options)

        chosen: dict[str, Callable[[], None]] = {
            "short": lambda: task("tests.jobs.sleep", label, self.random.uniform(0, 0.02)),
            "long": lambda: task("tests.jobs.sleep", label, self._long()),
            "failing": lambda: task("tests.jobs.fail", label, ack_failure=True),
            "hooked": lambda: task("tests.jobs.ok", label, hook="tests.jobs.note_hook"),
        }
        chosen[kind]()

    def _long(self) -> float:
        from django_q.conf import get_settings

        return float(get_settings().retry) + self.random.uniform(0.5, 2)

    def _note(self, label: str, kind: str, answer: str) -> None:
        os.write(self.ledger, f"{label} {kind} {answer}\n".encode())

    def _heed_stdin(self) -> None:
        sys.stdin.read()
        self.stopping.set()


if __name__ == "__main__":
    django.setup()
    Feed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()
