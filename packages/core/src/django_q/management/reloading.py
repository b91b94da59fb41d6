"""`manage.py qcluster --reload`: runs the cluster in a child, and anew when the code changes.

The process that watches never runs a cluster: the one that forks is free of its memory and of what
it has imported, and is started exactly as it would be without the option.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

from django.conf import settings
from django.core.management.base import CommandError
from django.utils.autoreload import get_child_arguments

from django_q.cluster.birth import SIGNALS, hear_parents_end
from django_q.cluster.board import is_running
from django_q.conf import configure_logging
from django_q.management.watching import Snapshot, Watch, changes

logger = logging.getLogger("django-q")

RELOADER_VARIABLE = "DJANGO_Q_RELOADER"
"""In the environment of the child: the process id of the one that watches."""

LOOK_SECONDS = 1.0
SETTLE_SECONDS = 0.25
"""After a change, nothing may change for so long before a restart: an editor saves five files."""

LOOKS_SHARE = 20
"""At most one part in so many of the time is spent on looking, however large the site."""

PATIENCE_SECONDS = 5.0
"""How long running tasks may go on after a change, before they are released to run again."""


def run_reloading(verbosity: int = 1) -> int:
    """Run this program again as a child until it is over; the exit status for this process."""
    if threading.current_thread() is not threading.main_thread():
        raise CommandError("--reload hears signals, which Python allows in the main thread only.")
    configure_logging(verbosity)
    if not settings.DEBUG:
        logger.warning("--reload is for development, and DEBUG is False")
    return Reloader(command_of_this_program(), Watch()).run()


def command_of_this_program() -> list[str]:
    """What starts this program again, with the same arguments."""
    try:
        return get_child_arguments()
    except (RuntimeError, ValueError) as error:
        raise CommandError(
            f"--reload cannot start this program again ({error}). "
            "Start it by manage.py, `python -m django` or django-admin."
        ) from error


def started_by_reloader() -> bool:
    """Is this the child? Then it stops when its reloader ends.

    Not an argument of the command line, so that whatever program calls the command, also by
    `call_command("qcluster", reload=True)`, is started again as it was.
    """
    # Taken away, since a task's own programs are nobody's children but its own.
    reloader = os.environ.pop(RELOADER_VARIABLE, None)
    if reloader is None:
        return False
    hear_parents_end(signal.SIGTERM)
    if not is_running(int(reloader)):
        # It ended before the kernel was told.
        sys.exit(1)
    return True


class Watcher(Protocol):
    """What a reloader asks for the state of the code."""

    def snapshot(self) -> Snapshot:
        """How the files are now."""


class Reloader:
    """Runs a command as a child, and anew whenever a watched file has changed."""

    def __init__(
        self,
        command: Sequence[str],
        watch: Watcher,
        look_seconds: float = LOOK_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.command = command
        self.watch = watch
        self.look_seconds = look_seconds
        self.settle_seconds = settle_seconds
        self.patience_seconds = patience_seconds
        self.ear = Ear()
        self._told = 0
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run until a stop is asked for or the child ends well; the exit status."""
        with self.ear.listening():
            while not self.ear.stops:
                seen = self.watch.snapshot()
                self.start_child()
                changed = self.wait_for_change(seen)
                if not changed:
                    break
                _announce(changed)
                self.end_child()
            return self.status()

    def start_child(self) -> None:
        """Start it where a Ctrl-C of the terminal does not reach: each signal shall count once."""
        self._child = subprocess.Popen(
            self.command,
            env=os.environ | {RELOADER_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )

    def wait_for_change(self, seen: Snapshot) -> list[Path]:
        """Mind the child until files differ from what was seen; nothing when all is over."""
        failed = False
        pause = self.look_seconds
        while not self.is_over():
            self.ear.rest(pause)
            self.forward_stops()
            if self.has_failed() and not failed:
                failed = True
                logger.error("The cluster ended with %s: waiting for a change", self._end())
            if self.ear.stops:
                continue
            began = time.monotonic()
            now = self.watch.snapshot()
            pause = max(self.look_seconds, LOOKS_SHARE * (time.monotonic() - began))
            if now != seen:
                changed = changes(seen, self.settle(now))
                if changed and not self.ear.stops:
                    return changed
        return []

    def settle(self, now: Snapshot) -> Snapshot:
        """Wait until no more files change."""
        while not self.ear.stops:
            self.ear.rest(self.settle_seconds)
            later = self.watch.snapshot()
            if later == now:
                break
            now = later
        return now

    def end_child(self) -> None:
        """Stop it gracefully, but do not wait for long: a second signal makes it stop now."""
        if not self._runs():
            return
        self.child.terminate()
        patience = time.monotonic() + self.patience_seconds
        while self._runs():
            self.ear.rest(min(max(patience - time.monotonic(), 0), self.look_seconds))
            self.forward_stops()
            if time.monotonic() >= patience and self._runs():
                self.child.terminate()
                patience = float("inf")

    def forward_stops(self) -> None:
        """Tell the child once for each time that this process was told."""
        while self._told < self.ear.stops:
            self._told += 1
            # Not SIGINT, of which one that is still starting would print a traceback.
            self.child.terminate()

    # What has become of it

    def is_over(self) -> bool:
        """Has it ended, and well or because that was asked for?"""
        return not self._runs() and bool(self.ear.stops or self.child.returncode == 0)

    def has_failed(self) -> bool:
        """Did it end by an error, and nobody wanted it to?"""
        return not self._runs() and not self.is_over()

    def status(self) -> int:
        """That of the child, in the way of a shell."""
        ended: int = self.child.returncode
        if self.ear.stops and ended == -signal.SIGTERM:
            return 0  # it was still starting
        return ended if ended >= 0 else 128 - ended

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The one that was started last."""
        assert self._child is not None, "It is started first of all."
        return self._child

    def _runs(self) -> bool:
        return self.child.poll() is None

    def _end(self) -> str:
        ended: int = self.child.returncode
        return f"status {ended}" if ended > 0 else signal.Signals(-ended).name


class Ear:
    """Counts the signals of a stop, and wakes whoever rests when one comes or a child ends."""

    def __init__(self) -> None:
        self.stops = 0
        self._hears, self._wakes = socket.socketpair()
        self._hears.setblocking(False)
        self._wakes.setblocking(False)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear signals; afterwards they are whose they were before."""
        handlers = {number: signal.signal(number, self._count) for number in SIGNALS}
        if hasattr(signal, "SIGCHLD"):
            handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _only_wake)
        wakes = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakes)
            for number, handler in handlers.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            self._hears.close()
            self._wakes.close()

    def rest(self, seconds: float) -> None:
        """Wait so long, or until a signal comes."""
        if select.select([self._hears], [], [], seconds)[0]:
            self._hears.recv(4096)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.stops += 1


def _only_wake(number: int, frame: FrameType | None) -> None:
    """What wakes is the byte that comes with the signal."""


def _announce(changed: list[Path]) -> None:
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    logger.info("%s%s changed, restarting", changed[0], more)
