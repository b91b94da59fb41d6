"""Waits for work with blocking calls that take nothing.

BLMOVE from a list's left end to the same end blocks while the list is empty, and changes nothing
when it is not: it wakes all who wait, and a package is nobody's until a script has claimed it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from redis.exceptions import RedisError, ResponseError

ASKED_SECONDS = 30
"""How long the server lets one call wait; traffic in between keeps the connection alive."""

DEAF_SECONDS = 1.0


class Woken(Enum):
    """What ended a wait."""

    BY_WORK = auto()
    """There may be something."""
    BY_WAKER = auto()
    BY_TIME = auto()
    """There is nothing but what has become due or lapsed."""


class Bell:
    """A blocking call on one list; its answer says that something is there."""

    def __init__(self, pool: Callable[[], Any], key: str) -> None:
        self._pool = pool
        self._key = key
        self._connection: Any = None
        self._is_asked = False

    def ask(self) -> None:
        """Send the call, unless it is on its way."""
        if self._is_asked:
            return
        if self._connection is None:
            self._connection = self._connect()
        command = ("BLMOVE", self._key, self._key, "LEFT", "LEFT", ASKED_SECONDS)
        self._connection.send_command(*command)
        self._is_asked = True

    def _connect(self) -> Any:
        """A connection of the pool's kind that the pool does not count: it never comes back."""
        pool = self._pool()
        connection = pool.connection_class(**pool.connection_kwargs)
        connection.connect()
        # What TLS itself sends at the beginning would look like an answer.
        connection.send_command("PING")
        connection.read_response()
        return connection

    def fileno(self) -> int:
        return int(self._connection._sock.fileno())  # redis-py shows it in no other way

    def answer(self) -> None:
        """Read the answer, which is there; raises what the server or the connection says."""
        self._is_asked = False
        self._connection.read_response()

    def close(self) -> None:
        """End the call with its connection."""
        connection, self._connection, self._is_asked = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):
                connection.disconnect()


class Waiter:
    """Waits for several lists at once, and for the cluster's waker.

    `pool` gives the connections of the server that has the lists now: in a Cluster they may move.
    """

    def __init__(self, pool: Callable[[], Any], *keys: str) -> None:
        self.pid = os.getpid()
        self._bells = [Bell(pool, key) for key in keys]
        self._deaf_until = float("-inf")

    def wait(self, seconds: float, waker: int | None, poll: float) -> Woken:
        """Wait for `seconds`, or until something is there.

        A server that does not let us wait, being out of memory, may have work each `poll`.
        """
        seconds = max(seconds, 0.0)
        with selectors.DefaultSelector() as selector:
            if waker is not None:
                selector.register(waker, selectors.EVENT_READ)
            is_heard = self._asks()
            if is_heard:
                for bell in self._bells:
                    selector.register(bell, selectors.EVENT_READ, bell)
            else:
                seconds = min(seconds, poll)
            rung = [key.data for key, _ in selector.select(seconds)]
        bells = [bell for bell in rung if bell is not None]
        self._hear(bells)
        if bells or not (is_heard or rung):
            return Woken.BY_WORK
        return Woken.BY_WAKER if rung else Woken.BY_TIME

    def _asks(self) -> bool:
        if time.monotonic() < self._deaf_until:
            return False
        for bell in self._bells:
            bell.ask()
        return True

    def _hear(self, bells: list[Bell]) -> None:
        try:
            for bell in bells:
                bell.answer()
        except ResponseError:
            # Out of memory, or not allowed: claims may work all the same.
            self.close()
            self._deaf_until = time.monotonic() + DEAF_SECONDS
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close what waits; the next wait opens it again."""
        for bell in self._bells:
            bell.close()
