"""Brokers that kill their whole cluster while an occurrence of a schedule is being queued.

They are chosen by `broker_class`; `benchmarks.kill_points` says when they do it. At both points the
row has been moved on already, and does not know yet that the broker has the task.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.kill_points import AFTER, BEFORE, POINT
from django_q.brokers import Package
from django_q_broker_orm.broker import ORM
from django_q_broker_redis.broker import Redis
from tests.harness import session_members


@contextlib.contextmanager
def killing() -> Iterator[None]:
    """Kill the cluster before or after what happens inside, if the file says so.

    Until then all others are halted: nobody may start the task, or the death would hit that too.
    """
    point = _point()
    if point:
        _send_to_others(signal.SIGSTOP)
    if point == BEFORE:
        _kill()
    yield
    if point == AFTER:
        _kill()


def _point() -> str:
    try:
        return Path(POINT).read_text()
    except FileNotFoundError:
        return ""


def _send_to_others(number: int) -> None:
    for pid in session_members({os.getsid(0)}):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _kill() -> None:
    os.unlink(POINT)
    # One by one: a process may lead a group of its own.
    _send_to_others(signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method as one that kills."""

    def enqueue(self: Any, packages: Package | list[Package], **options: Any) -> Any:
        with killing():
            return method(self, packages, **options)

    return enqueue


class DeadlyORM(ORM):
    """The ORM broker, which dies inside the transaction in which the row is moved on."""

    enqueue = deadly(ORM.enqueue)
    enqueue_many = deadly(ORM.enqueue_many)


class DeadlyRedis(Redis):
    """The Redis broker, which dies once the occurrence is stored in the row."""

    enqueue = deadly(Redis.enqueue)
    enqueue_many = deadly(Redis.enqueue_many)
