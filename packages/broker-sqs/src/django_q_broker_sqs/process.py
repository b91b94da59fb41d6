"""Keeps what the brokers of a process share: clients, threads, and what is known of queues."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from django_q.conf import Settings
from django_q_broker_sqs.connection import IN_FLIGHT, Options, connect, describe, options_of

T = TypeVar("T")
R = TypeVar("R")

KEPT = 8
"""How many clients a process keeps: one for each `sqs` of its settings."""


class Account:
    """One client of boto3, which threads may share, and the addresses of its queues."""

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self.options: Options = options_of(settings)
        self.client = connect(settings)
        self.where = describe(self.client)
        self.urls: dict[str, str] = {}
        self.attributes: dict[str, dict[str, str]] = {}
        self._threads: ThreadPoolExecutor | None = None

    def together(self, call: Callable[[T], R], items: Sequence[T]) -> list[R | Exception]:
        """What each call returned or raised, in order, several being under way at a time."""

        def caught(item: T) -> R | Exception:
            try:
                return call(item)
            except Exception as error:
                return error

        if len(items) < 2:
            return [caught(item) for item in items]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(IN_FLIGHT, "django-q-sqs")
        return list(self._threads.map(caught, items))


_lock = Lock()
_known: list[Account] = []


def _forget() -> None:
    """In a forked process: its parent's clients, and the lock that a thread of it may have held."""
    global _lock, _known
    _lock, _known = Lock(), []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def account_of(settings: Settings) -> Account:
    """The account for these settings: making a client takes longer than many calls."""
    options = options_of(settings)
    with _lock:
        for known in _known:
            if known.options == options:
                return known
        account = Account(settings)
        _known.append(account)
        del _known[:-KEPT]
    return account
