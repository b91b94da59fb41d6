"""Waits for work: by a change stream where the server is a replica set, else by asking again."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from django_q_broker_mongo.errors import brief

logger = logging.getLogger("django-q")

SLICE_SECONDS = 0.2
"""How long the server lets one question wait: the cluster's waker is not heard meanwhile."""

DEAF_SECONDS = 60.0
"""How long to do without a change stream that was refused."""

FIRST_PAUSE_SECONDS = 0.01

WORK = [
    {
        "$match": {
            "$or": [
                {"operationType": {"$in": ["insert", "replace", "drop", "invalidate"]}},
                {"updateDescription.removedFields": "claim"},
            ]
        }
    },
    {"$project": {"_id": True}},
]
"""What is put in or given back; claims, renewals and acknowledgements wake nobody."""

Pause = Callable[[float], bool]
"""Waits so many seconds, or until the waker rings. Did it?"""


class Woken(Enum):
    """What ended a wait."""

    BY_WORK = auto()
    """There may be something."""
    BY_WAKER = auto()
    BY_TIME = auto()
    """Nobody has put anything in."""


class Waiter:
    """Waits for one collection; a stream is open only while nothing is there.

    It would have to be read, and through all that was put in, while a cluster is busy.
    """

    def __init__(self, collection: Any) -> None:
        # It tells nothing that an election may take back, whatever the claims read.
        self._collection = collection.with_options(read_concern=ReadConcern("majority"))
        self._stream: Any = None
        self._deaf_until = float("-inf")
        self._pause_seconds = FIRST_PAUSE_SECONDS

    @property
    def hears(self) -> bool:
        """Is a stream open, so that there is no need to ask?"""
        return self._stream is not None

    def open(self) -> bool:
        """Open the stream; was it closed? Then look again: something may have come meanwhile."""
        if self.hears or time.monotonic() < self._deaf_until:
            return False
        try:
            await_ms = round(SLICE_SECONDS * 1000)
            self._stream = self._collection.watch(WORK, max_await_time_ms=await_ms)
        except OperationFailure as error:
            # It stands alone, or does not let this user watch: claims may work all the same.
            if self._deaf_until == float("-inf"):
                logger.info("Polling %s, no change stream: %s", self._collection.name, brief(error))
            self._deaf_until = time.monotonic() + DEAF_SECONDS
            return False
        return True

    def wait(self, seconds: float, poll: float, pause: Pause) -> Woken:
        """Wait for `seconds`, or until something is there; where nothing is heard, for a while
        that grows up to `poll`."""
        if self._stream is None:
            self._pause_seconds = min(self._pause_seconds * 2, max(poll, FIRST_PAUSE_SECONDS))
            return self._paused(min(seconds, self._pause_seconds), pause)
        if seconds < SLICE_SECONDS:
            return self._paused(seconds, pause)
        if pause(0):
            return Woken.BY_WAKER
        return Woken.BY_WORK if self._is_rung() else Woken.BY_TIME

    def _paused(self, seconds: float, pause: Pause) -> Woken:
        return Woken.BY_WAKER if pause(seconds) else Woken.BY_WORK

    def _is_rung(self) -> bool:
        """Ask the stream, which waits; one that has ended with the collection rings too."""
        try:
            change = self._stream.try_next()
        except OperationFailure:
            # Dropped, or its place in the oplog is gone: begin anew.
            self.close()
            return True
        if not self._stream.alive:
            self.close()
            return True
        return change is not None

    def rest(self) -> None:
        """Work was found: wait for nothing, and ask soon when it is done."""
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self.close()

    def close(self) -> None:
        """Close the stream; the next wait opens it again."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(PyMongoError, OSError):
                stream.close()
