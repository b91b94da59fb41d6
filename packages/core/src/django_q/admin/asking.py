"""Asks what may be away, so that a page of the admin waits a short while for it and never fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from django.db import Error as DatabaseError
from django.db import connections
from django.db.transaction import atomic
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_q.conf import logger
from django_q.errors import DjangoQError

T = TypeVar("T")


class Questions:
    """Asks one thing after the other, for so many seconds in all; says in words what failed."""

    def __init__(self, seconds: float) -> None:
        self.failures: list[str] = []
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def ask(self, question: Callable[[], T]) -> T | None:
        """The answer of the site's own database or cache, for which its pages wait anyway."""
        return self._attempt(lambda: _in_savepoints(question))

    def ask_afar(self, question: Callable[[], T]) -> T | None:
        """The answer of a server of its own, in a thread that nobody waits for any longer when
        the time is up: the server's timeouts are those that suit a cluster."""
        return self._attempt(lambda: self._in_thread(question))

    def _attempt(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except Exception as error:  # every database and every client library has its own
            logger.debug("The admin's status panel has no answer:", exc_info=error)
            self._failed(what_failed(error))
            return None

    def _failed(self, text: str) -> None:
        if text not in self.failures:
            self.failures.append(text)

    def _in_thread(self, question: Callable[[], T]) -> T:
        answers: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()
        thread = threading.Thread(target=_answer, args=(question, answers), daemon=True)
        thread.start()
        try:
            answer, error = answers.get(timeout=max(0, self._until - time.monotonic()))
        except Empty:
            raise TimeoutError(self._too_late()) from None
        if error is not None:
            raise error
        return answer  # type: ignore[return-value]  # without an error it is one

    def _too_late(self) -> str:
        seconds = round(self._seconds)
        return ngettext(
            "The broker has not answered within %(seconds)d second.",
            "The broker has not answered within %(seconds)d seconds.",
            seconds,
        ) % {"seconds": seconds}


def what_failed(error: Exception) -> str:
    """An error in words."""
    if isinstance(error, DjangoQError | TimeoutError):
        return str(error)
    values = {"error": (str(error).splitlines() or [""])[0], "kind": type(error).__name__}
    if isinstance(error, DatabaseError):
        return _("The database does not answer: %(error)s") % values
    return _("%(kind)s: %(error)s") % values


def _answer(question: Callable[[], Any], answers: SimpleQueue[Any]) -> None:
    try:
        answers.put((question(), None))
    except Exception as error:  # raised where it was asked
        answers.put((None, error))
    finally:
        connections.close_all()  # this thread's own


def _in_savepoints(question: Callable[[], T]) -> T:
    """A statement that fails must not spoil the transaction of ATOMIC_REQUESTS."""
    with ExitStack() as savepoints:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                savepoints.enter_context(atomic(using=connection.alias))
        return question()
