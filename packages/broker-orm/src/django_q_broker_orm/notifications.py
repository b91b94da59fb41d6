"""PostgreSQL's LISTEN and NOTIFY: who waits for work is told when there may be some."""

from __future__ import annotations

import hashlib
import logging
import select
import time
from typing import Any

from django.db import Error, connections

from django_q.databases import is_prepared
from django_q_broker_orm.wake import DEAF_AFTER, SOONEST_SECONDS, Waiter, Woken

logger = logging.getLogger("django-q")

NOTIFIED_SECONDS = 0.1
"""How long who was told looks for more: producers do not tell of every package."""

TEST_SECONDS = 1.0
"""How long a notification may take, or none will ever come."""

SUSPICION_SECONDS = 60.0

told_at: dict[tuple[str, str], float] = {}
"""When this process last told those who wait for the packages of a queue."""


def channel_of(key: str) -> str:
    """The channel of a queue: an identifier, which a queue's name need not be."""
    return f"django_q_{hashlib.sha256(key.encode()).hexdigest()[:32]}"


class ListeningWaiter(Waiter):
    """Waits for a notification, over the connection that claims.

    Processes of a cluster listen; others, and those whose driver is psycopg2, look again and
    again. So do those whose connection leads through a pooler that passes no notifications on,
    as PgBouncer does in transaction mode.
    """

    def __init__(self, alias: str, key: str, poll: float) -> None:
        super().__init__(poll)
        self._alias = alias
        self._channel = channel_of(key)
        self._connected: Any = None
        self._ear: Any = None
        """The driver's connection that listens, if it does."""
        self._is_told = False
        self._is_deaf = False
        self._stirred_at = float("-inf")
        self._waited_in_vain = False
        self._unheard = 0
        self._unheard_at = float("-inf")
        self._tested_at = float("-inf")

    def before_looking(self) -> None:
        connection: Any = connections[self._alias]
        if self._connected is not connection.connection:
            self._connected = self._ear = None
        if is_prepared(self._alias) and not connection.in_atomic_block:
            self._listen()
        if self._ear is not None:
            self._hear()
            if self._is_told:
                self._stir()

    def found_work(self) -> None:
        super().found_work()
        if self._ear is not None:
            self._note_hearing()
        self._stirred_at = time.monotonic()

    def wait(self, seconds: float) -> Woken:
        if self._ear is None:
            return super().wait(seconds)
        if not self._is_told:
            rung = self._sleep(min(seconds, self._longest_pause()), self._ear.fileno())
            self._hear()
            if rung:
                return Woken.RUNG
        if self._is_told:
            self._stir()
            return Woken.CHANGED
        if time.monotonic() - self._stirred_at >= NOTIFIED_SECONDS:
            self._waited_in_vain = True
        return Woken.TIME

    def close(self) -> None:
        if self._ear is not None:
            self._stop_listening(unlisten=is_pooled(self._alias))
        self._connected = None

    # Listening

    def _listen(self) -> None:
        connection: Any = connections[self._alias]
        connection.ensure_connection()
        raw = connection.connection
        if raw is self._connected:
            return
        self._connected = raw
        if not hasattr(raw, "add_notify_handler") or not hasattr(select, "poll"):
            return
        raw.add_notify_handler(self._be_told)
        self._ear = raw
        with connection.cursor() as cursor:
            cursor.execute(f'LISTEN "{self._channel}"')
            cursor.execute("SELECT pg_backend_pid()")
            (server,) = cursor.fetchone()
        if server == raw.info.backend_pid:
            self._is_deaf = False
        else:
            # A pooler stands between, whose own number the driver was given.
            self._test()

    def _be_told(self, notification: Any) -> None:
        self._is_told = True

    def _hear(self) -> None:
        """Read what has come in since the last statement, which brings what came until then."""
        server = self._ear.pgconn
        with connections[self._alias].wrap_database_errors:
            server.consume_input()
            while server.notifies():
                self._is_told = True

    def _stir(self) -> None:
        self._is_told = False
        self._waited_in_vain = False
        self._stirred_at = time.monotonic()

    def _longest_pause(self) -> float:
        now = time.monotonic()
        if now - self._stirred_at < NOTIFIED_SECONDS:
            return SOONEST_SECONDS
        if now - self._unheard_at < SUSPICION_SECONDS:
            return self._poll
        return float("inf")

    # Being deaf

    def _note_hearing(self) -> None:
        """Work that nobody told of: from Django Q2, or come due, or notifications are lost."""
        if not self._waited_in_vain:
            self._unheard = 0
            return
        self._waited_in_vain = False
        self._unheard += 1
        if self._unheard < DEAF_AFTER:
            return
        self._unheard = 0
        self._unheard_at = time.monotonic()
        if time.monotonic() - self._tested_at > SUSPICION_SECONDS:
            self._test()

    def _test(self) -> None:
        """Have another connection tell: over this one, a pooler could make it look well."""
        self._tested_at = time.monotonic()
        if self._hears_another():
            self._is_deaf = False
            return
        self._stop_listening(unlisten=True)
        if not self._is_deaf:
            self._is_deaf = True
            logger.info(
                "No notification arrives from database %r, as behind a pooler in transaction "
                "mode: looking for work every %s seconds at most.",
                self._alias,
                self._poll,
            )

    def _hears_another(self) -> bool:
        other: Any = connections[self._alias].copy()
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, '')", [self._channel])
        except Error:
            return False  # There is no room for another connection: it cannot be known.
        finally:
            other.close()
        return self._hears_within(TEST_SECONDS)

    def _hears_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._ear.fileno(), select.POLLIN)
        while not self._is_told and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self._hear()
        return self._is_told

    def _stop_listening(self, unlisten: bool) -> None:
        """No longer listen; `unlisten` where others are given the same connection next."""
        raw, self._ear = self._ear, None
        raw.remove_notify_handler(self._be_told)
        connection: Any = connections[self._alias]
        if not unlisten or raw is not connection.connection or connection.in_atomic_block:
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute(f'UNLISTEN "{self._channel}"')
        except Error:
            logger.debug("A connection to %r was lost that had listened.", self._alias)


def is_pooled(alias: str) -> bool:
    """Does Django keep a pool of connections to this database?"""
    return bool(connections[alias].settings_dict.get("OPTIONS", {}).get("pool"))
