"""Waits out a broker or a database that is away: tries again with growing pauses.

What is away is away for all processes of a cluster, and one of them says so: once when it is lost
and once when it is back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from django.db import router

from django_q.models import Task

if TYPE_CHECKING:
    from django_q.brokers.base import Broker
    from django_q.cluster.crew import Crew

T = TypeVar("T")

logger = logging.getLogger("django-q")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0

AWAY_BROKER = "away-broker"

CUTS = 1
"""So many failures in a row are no outage: a connection may be cut, and is opened again."""


class Outage:
    """Something that may be away, and the word of it that the processes of a cluster share.

    The word is a file in the cluster's private folder: whoever makes it is the only one who says
    that the thing is lost, and whoever removes it that it is back. So no lock is needed, and the
    death of any process changes nothing. Without a file the word is this process's own.
    """

    def __init__(self, what: str, file: Path | None = None) -> None:
        self.what = what
        self._file = file
        self._is_spoken_of = False
        self._failures = 0

    @classmethod
    def of_database(cls, crew: Crew, using: str) -> Outage:
        """What the cluster knows of the database of the results."""
        return cls(f"the database {using!r}", crew.board.folder / "away-database")

    @classmethod
    def of_broker(cls, crew: Crew, broker: Broker) -> Outage:
        """What it knows of its broker, which may be nothing but that database."""
        using = router.db_for_write(Task)
        if broker.commits_with(using):
            return cls.of_database(crew, using)
        return cls(_broker_of(crew), crew.board.folder / AWAY_BROKER)

    @classmethod
    def of_queue(cls, crew: Crew) -> Outage:
        """What it knows of its broker before there is a broker object, which may take a server.

        Whether that is the database is not known yet of one that commits with databases: of that
        each process speaks for itself.
        """
        if crew.broker_class.is_transactional:
            return cls(_broker_of(crew))
        return cls(_broker_of(crew), crew.board.folder / AWAY_BROKER)

    def lost(self, error: Exception) -> None:
        """Count a failure, and say so unless somebody did, or it may have been a mere cut."""
        if self._has_word():
            self._failures = 0
            return
        self._failures += 1
        if self._failures > CUTS and self._take_word():
            lines = str(error).strip().splitlines() or [""]
            logger.error("Lost %s, trying again: %s: %s", self.what, type(error).__name__, lines[0])

    def found(self) -> None:
        """Say that it is back, unless nobody missed it or somebody did."""
        self._failures = 0
        if self._drop_word():
            logger.info("Found %s again", self.what)

    def _has_word(self) -> bool:
        return self._is_spoken_of if self._file is None else self._file.exists()

    def _take_word(self) -> bool:
        if self._file is not None:
            try:
                os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                return False
            except OSError:
                # Said once too often is better than never.
                return True
        self._is_spoken_of = True
        return True

    def _drop_word(self) -> bool:
        had_word, self._is_spoken_of = self._is_spoken_of, False
        if self._file is None:
            return had_word
        with contextlib.suppress(OSError):
            self._file.unlink()
            return True
        return False


def _broker_of(crew: Crew) -> str:
    return f"the broker of {crew.list_key}"


class Patience:
    """Calls something until it works."""

    def __init__(
        self,
        outage: str | Outage,
        *,
        wait: Callable[[float], None],
        give_up: Callable[[], bool],
        mend: Callable[[], object] = lambda: None,
    ) -> None:
        self.outage = Outage(outage) if isinstance(outage, str) else outage
        self._wait = wait
        self._give_up = give_up
        self._mend = mend
        self._pause = 0.0
        self._has_worked = False

    @property
    def is_away(self) -> bool:
        return self._pause > 0

    @property
    def pause(self) -> float:
        """Seconds to wait before the next try, but for the jitter."""
        return self._pause

    def call(self, work: Callable[[], T], otherwise: T, *, is_contact: bool = True) -> T:
        """What `work` returns, or `otherwise` when told to give up meanwhile.

        Is its success a contact with what may be away? Not if there can be nothing to do.
        """
        while True:
            try:
                result = work()
            except Exception as error:  # every client library has its own
                self.lost(error)
                if self._give_up():
                    return otherwise
                self.rest()
                if self._give_up():
                    return otherwise
            else:
                self.found(is_contact)
                return result

    def lost(self, error: Exception) -> None:
        """Count a failure, and close what it may have spoilt."""
        self.outage.lost(error)
        self._mend()
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)

    def rest(self) -> None:
        """Wait as long as the failures so far ask for."""
        self._wait(self._pause * random.uniform(0.5, 1.0))

    def found(self, is_contact: bool = True) -> None:
        """Count a success; the first one too may end an outage that a predecessor spoke of."""
        if self.is_away or (is_contact and not self._has_worked):
            self.outage.found()
        self._pause = 0.0
        self._has_worked |= is_contact
