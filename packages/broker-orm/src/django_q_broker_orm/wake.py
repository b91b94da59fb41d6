"""Waiting for work: until something may have been put into the queue, and no longer."""

from __future__ import annotations

import enum
import logging
import math
import os
import select
import sqlite3
import time
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

from django.db import connections

from django_q.databases import insist, is_prepared
from django_q_broker_orm.inotify import Inotify

logger = logging.getLogger("django-q")

SOONEST_SECONDS = 0.005
REST_SECONDS = 0.05
BUSY_SECONDS = 1.0
POLL_SECONDS = 0.001  # poll() counts in milliseconds
LOOK_APART_SECONDS = 0.002
DEAF_AFTER = 3

# The database, its write-ahead log and its rollback journal; others are only near by.
FILES = ("", "-wal", "-journal")

# An event precedes its commit by what the commit's fsync takes: look again, ever less often.
LOOKS_AFTER_EVENT = ((0.001, 0.0002), (0.005, 0.001), (0.05, 0.005), (0.3, 0.025))


class Woken(enum.Enum):
    """Why a wait ended."""

    CHANGED = "something was written"
    TIME = "the time is up, or it is time to look again"
    RUNG = "the cluster's waker was rung"


class Waiter:
    """Waits before the next look: shortly after work, up to `poll` seconds when idle."""

    waker: int | None = None

    def __init__(self, poll: float) -> None:
        self._poll = poll
        self._pause = SOONEST_SECONDS

    def before_looking(self) -> Hashable | None:
        """Called before the table is read: what comes from now on must end the next wait.

        Returns a mark that stays the same while nobody writes, or None where nobody can tell.
        """
        return None

    def found_work(self) -> None:
        """Called when there was something: more may follow soon."""
        self._pause = SOONEST_SECONDS

    def wait(self, seconds: float) -> Woken:
        """Wait until it is worth looking again, at most so long."""
        pause = min(seconds, self._pause)
        self._pause = min(self._pause * 2, self._poll)
        return Woken.RUNG if self._sleep(pause) else Woken.TIME

    def close(self) -> None:
        """Give back what the waiting holds open."""

    def _sleep(self, seconds: float, *descriptors: int) -> bool:
        """Sleep, unless one of these or the waker becomes readable: was it the waker?"""
        watched = [fd for fd in (self.waker, *descriptors) if fd is not None]
        if not watched or seconds < POLL_SECONDS or not hasattr(select, "poll"):
            time.sleep(seconds)
            return False
        poll = select.poll()
        for fd in watched:
            poll.register(fd, select.POLLIN)
        return any(fd == self.waker for fd, _ in poll.poll(math.ceil(seconds * 1000)))


class SQLiteWaiter(Waiter):
    """Waits for the database's version number to change, called by inotify where there is one.

    `PRAGMA data_version` takes two microseconds and no lock. What others commit changes it, what
    this connection commits does not.
    """

    def __init__(self, alias: str) -> None:
        super().__init__(poll=REST_SECONDS)
        self._alias = alias
        self._version: int | None = None
        self._stirred_at = float("-inf")
        self._worked_at = float("-inf")
        self._looked_at = float("-inf")
        self._inotify: Inotify | None = None
        self._is_deaf = False
        self._unheard = 0
        self._is_tidy = True

    def before_looking(self) -> Hashable | None:
        insist(connections[self._alias].ensure_connection)
        self._listen()
        self._heard()
        self._version = self._read_version()
        self._looked_at = time.monotonic()
        return self._mark()

    def found_work(self) -> None:
        self._worked_at = time.monotonic()
        self._is_tidy = False

    def wait(self, seconds: float) -> Woken:
        deadline = time.monotonic() + seconds
        while True:
            if self._has_changed():
                return self._let_gather()
            left = deadline - time.monotonic()
            if left <= 0:
                self._tidy_up()
                return Woken.TIME
            if self._doze(left):
                return Woken.RUNG

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _mark(self) -> Hashable | None:
        """The version, which means something to this connection only, and what it wrote itself."""
        connection: Any = connections[self._alias]
        if connection.in_atomic_block or self._version is None:
            return None
        raw: sqlite3.Connection = connection.connection
        return raw, self._version, raw.total_changes

    def _tidy_up(self) -> None:
        """Empty the write-ahead log once work has ceased: while others read and write without a
        pause it only grows. Without WAL this does nothing."""
        if self._is_tidy or not is_prepared(self._alias):
            return
        self._is_tidy = True
        connection: Any = connections[self._alias]
        # The first does the work beside all others, so that the second holds the lock briefly.
        for thoroughness in ("PASSIVE", "TRUNCATE"):
            with suppress(sqlite3.OperationalError):
                connection.connection.execute(f"PRAGMA wal_checkpoint({thoroughness})").fetchall()

    def _doze(self, left: float) -> bool:
        if self._inotify is None:
            busy = time.monotonic() - self._worked_at < BUSY_SECONDS
            return self._sleep(min(left, SOONEST_SECONDS if busy else REST_SECONDS))
        return self._listen_for(min(left, self._until_next_look()), self._inotify)

    def _listen_for(self, seconds: float, inotify: Inotify) -> bool:
        """Sleep until our files are written or the time is up: was it the waker?"""
        deadline = time.monotonic() + seconds
        while not self._sleep(seconds, inotify.fd):
            seconds = deadline - time.monotonic()
            if self._heard() or seconds <= 0:
                return False
            # Something else in the folder is written, a log maybe: do not follow each line of it.
            if self._sleep(min(seconds, LOOK_APART_SECONDS)):
                return True
            seconds = max(0.0, deadline - time.monotonic())
        return True

    def _until_next_look(self) -> float:
        since = time.monotonic() - self._stirred_at
        for age, pause in LOOKS_AFTER_EVENT:
            if since < age:
                return pause
        return float("inf")

    def _heard(self) -> bool:
        if self._inotify is None or not self._inotify.drain():
            return False
        self._stirred_at = time.monotonic()
        return True

    def _has_changed(self) -> bool:
        version = self._read_version()
        if version == self._version:
            return False
        self._note_hearing()
        return True

    def _note_hearing(self) -> None:
        """A change that no event announced: some file systems are deaf to other processes."""
        if self._inotify is None or self._heard() or self._stirred_at >= self._looked_at - 1:
            self._unheard = 0
            return
        self._unheard += 1
        if self._unheard >= DEAF_AFTER:
            logger.debug("inotify does not hear of commits to %r: polling.", self._alias)
            self._is_deaf = True
            self.close()

    def _let_gather(self) -> Woken:
        """Every commit of the whole site ends the wait: look at most once in two milliseconds."""
        early = LOOK_APART_SECONDS - (time.monotonic() - self._looked_at)
        if early > 0:
            time.sleep(early)
        return Woken.CHANGED

    def _read_version(self) -> int | None:
        connection: Any = connections[self._alias]
        connection.ensure_connection()
        try:
            return int(connection.connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.OperationalError:
            # Somebody commits just now, without WAL. The next look tells.
            self._stirred_at = time.monotonic()
            return self._version

    def _listen(self) -> None:
        if self._is_deaf or (self._inotify is not None and self._inotify.is_ours()):
            return
        self.close()
        path = self._database_path()
        try:
            if not path:
                raise OSError("A database in memory has no file.")
            folder, name = os.path.split(os.path.realpath(path))
            self._inotify = Inotify(folder, [name + suffix for suffix in FILES])
        except OSError as error:
            logger.debug("Polling database %r for work: %s", self._alias, error)
            self._is_deaf = True

    def _database_path(self) -> str:
        connection: Any = connections[self._alias]
        connection.ensure_connection()
        for _, name, path in connection.connection.execute("PRAGMA database_list"):
            if name == "main":
                return str(path or "")
        return ""
