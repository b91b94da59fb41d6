"""A lane: the packages on their way to one worker and the results on their way back.

Everything that a process needs to take over from a dead one is written here, in shared memory,
by plain stores of single words. Records are numbered from 1, and in a lane whose worker lives
`settled <= committed <= done <= started <= written`.
"""

from __future__ import annotations

import pickle
import sys
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from django_q.brokers.base import Delivery
from django_q.cluster.ring import FIRST_FREE_WORD, RING_BYTES, SPARE, WORD, Ring, Torn
from django_q.records import Outcome, Row

LANE_WORDS = 32
LANE_BYTES = LANE_WORDS * WORD + 2 * RING_BYTES

RECEIPT_MARGIN = 512
"""How many bytes a renewed receipt may be longer than the one it replaces."""


class Word:
    """One word of a lane; each has one writer, which the declaration names."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, lane: Lane, owner: type | None = None) -> int:
        return lane.words[self._index]

    def __set__(self, lane: Lane, value: int) -> None:
        lane.words[self._index] = value


class Action(IntEnum):
    """What the pusher is to do at the broker with a package that has left its worker."""

    NONE = 0
    ACKNOWLEDGE = 1
    """It is done with."""
    RETRY = 2
    """The attempt failed: present it again after a delay, and count it."""
    RELEASE = 3
    """It was interrupted through no fault of its own: present it again, uncounted."""
    RETURN = 4
    """It was never started: give it to another worker."""
    FORGET = 5
    """The broker knows already, or presents it again by itself."""
    HOLD = 6
    """Its hook runs: keep the lease until another action follows."""
    AWAIT_LINK = 7
    """The next task of its chain is not queued yet: the same."""


class State(IntEnum):
    """What the pusher has done with a record."""

    HELD = 0
    MOVED = 1
    """Another lane has the package, or the broker has it back."""
    LOST = 2
    """The broker gave the claim to somebody else."""
    SETTLED = 3


class Reason(IntEnum):
    """Why the sentinel ended a worker."""

    NONE = 0
    OVERDUE = 1
    STOP = 2


class Verdict(IntEnum):
    """What became of a record in its worker."""

    FINISHED = 1
    """It ran, or could not be run; its outcome follows."""
    DROPPED = 2
    """It was recalled before it started."""
    KNOWN = 3
    """Its success was already recorded; only its hook may be due."""
    REJECTED = 4
    """Nobody here signed it: nothing to record."""


class Report(NamedTuple):
    """What a worker tells the monitor of one record."""

    verdict: Verdict
    action: Action
    delay: float
    """Seconds until a retry."""
    outcome: Outcome | None = None
    """None unless FINISHED or KNOWN."""
    error: str | None = None
    """Why it failed, for the log."""


# The words of an inbox slot behind the ring's own.
(_KEY, _RECEIPT, _LAPSES, _ATTEMPTS, _STATE, _ACTION, _DELAY, _COMMITS, _HOOKS) = range(
    FIRST_FREE_WORD, FIRST_FREE_WORD + 9
)


class Lane:
    """One lane, as seen by every process of the cluster."""

    written = Word(0)
    """pusher: the last package put in"""
    voided = Word(1)
    """pusher: packages up to here that have not started shall not start"""
    settled = Word(2)
    """pusher: the last package settled with the broker; its place is free again"""
    started = Word(3)
    """worker: the last package begun"""
    started_at = Word(4)
    """worker: since when it runs (clock.now())"""
    deadline = Word(5)
    """worker: until when it may run; 0 for ever"""
    done = Word(6)
    """worker: the last package whose report is in the outbox"""
    busy = Word(7)
    """worker: nanoseconds spent on packages"""
    committed = Word(8)
    """monitor: the last package whose result is in the database"""
    generation = Word(9)
    """sentinel: how many workers the lane has had"""
    ended = Word(10)
    """sentinel: the generation whose worker has ended"""
    pid = Word(11)
    """sentinel"""
    exitcode = Word(12)
    """sentinel: as multiprocessing.Process.exitcode"""
    reason = Word(13)
    """sentinel: why it ended the worker (Reason)"""
    accused = Word(14)
    """sentinel: the record for which it ended the worker"""
    blocked = Word(15)
    """worker: it waits for room in the outbox"""
    left = Word(16)
    """worker: how many more packages it will run before it is replaced"""

    def __init__(self, index: int, memory: memoryview, folder: Path) -> None:
        self.index = index
        self.words = memory[: LANE_WORDS * WORD].cast("q")
        rings = memory[LANE_WORDS * WORD :]
        self.inbox = Ring(rings[:RING_BYTES], folder, f"in-{index}")
        self.outbox = Ring(rings[RING_BYTES:], folder, f"out-{index}")

    # The sentinel's view

    @property
    def is_alive(self) -> bool:
        return self.ended != self.generation

    @property
    def is_free(self) -> bool:
        """Is nothing left in it that a dead worker was given?"""
        return not self.is_alive and self.settled == self.written == self.committed

    @property
    def is_finished(self) -> bool:
        """Has the monitor nothing left to do for its dead worker?"""
        return not self.is_alive and self.committed == self.written

    def open(self, left: int = sys.maxsize) -> None:
        """Make the lane ready for a new worker that will run `left` packages; before its fork."""
        self.started = self.done = self.committed
        self.deadline = self.exitcode = self.reason = self.accused = self.blocked = 0
        self.pid = 0
        self.left = left
        self.generation += 1

    def close(self, exitcode: int) -> None:
        """Say that the worker has ended."""
        self.exitcode = exitcode
        self.ended = self.generation

    # The pusher's view

    @property
    def unstarted(self) -> int:
        return self.written - max(self.started, self.voided)

    @property
    def is_idle(self) -> bool:
        return self.written == self.done

    def put(self, delivery: Delivery) -> int | None:
        """Hand a package to the worker and return its number; None when the lane is full."""
        number = self.written + 1
        key, package, receipt = delivery.key.encode(), delivery.package, _seal(delivery.receipt)
        if isinstance(package, str):
            package = package.encode()
        spare = len(receipt) + RECEIPT_MARGIN
        if not self.inbox.put(number, self.settled, (key, package), spare):
            return None
        words, slot = self.inbox.words, self.inbox.slot(number)
        self.inbox.spare(number, len(receipt))[:] = receipt
        words[slot + _KEY] = len(key)
        words[slot + _RECEIPT] = len(receipt)
        words[slot + _LAPSES] = delivery.lapses
        words[slot + _ATTEMPTS] = delivery.attempts
        for word in (_STATE, _ACTION, _DELAY, _COMMITS, _HOOKS):
            words[slot + word] = 0
        self.written = number
        return number

    def key(self, number: int) -> str:
        length = self.inbox.words[self.inbox.slot(number) + _KEY]
        return self.inbox.body(number)[:length].decode()

    def receipt(self, number: int) -> Any:
        length = self.inbox.words[self.inbox.slot(number) + _RECEIPT]
        return _unseal(bytes(self.inbox.spare(number, length)))

    def replace_receipt(self, number: int, receipt: Any) -> bool:
        """Keep the receipt that counts from now on; False if it does not fit."""
        words, slot = self.inbox.words, self.inbox.slot(number)
        sealed = _seal(receipt)
        if len(sealed) > words[slot + SPARE]:
            return False
        self.inbox.spare(number, len(sealed))[:] = sealed
        words[slot + _RECEIPT] = len(sealed)
        return True

    def state(self, number: int) -> int:
        return self.inbox.words[self.inbox.slot(number) + _STATE]

    def set_state(self, number: int, state: State) -> None:
        self.inbox.words[self.inbox.slot(number) + _STATE] = state

    def action(self, number: int) -> tuple[int, float]:
        """What the monitor wants done with the package, and after how many seconds."""
        words, slot = self.inbox.words, self.inbox.slot(number)
        return words[slot + _ACTION], words[slot + _DELAY] / 1000

    def is_suspect(self, number: int) -> bool:
        """Has the package of a record been tried before?"""
        words, slot = self.inbox.words, self.inbox.slot(number)
        return bool(words[slot + _LAPSES] or words[slot + _ATTEMPTS])

    def small_package(self, number: int, largest: int) -> bytes | None:
        """The package of a record for whoever looks on; None above `largest` bytes."""
        size = self.inbox.size(number)
        if size is None or size > largest:
            return None
        split = self.inbox.words[self.inbox.slot(number) + _KEY]
        return self.inbox.body(number)[split:]

    # The worker's view

    def delivery(self, number: int) -> Delivery:
        """The package of a record, with what its broker knows of it."""
        words, slot = self.inbox.words, self.inbox.slot(number)
        body = self.inbox.body(number)
        split = words[slot + _KEY]
        return Delivery(
            body[:split].decode(),
            None,
            body[split:],
            words[slot + _LAPSES],
            words[slot + _ATTEMPTS],
        )

    def report(self, number: int, report: Report) -> bool:
        """Put the report of a record into the outbox; False while the outbox is full."""
        if not self.outbox.put(number, self.committed, (_pack(report),)):
            return False
        self.done = number
        return True

    # The monitor's view

    def read_report(self, number: int) -> Report:
        return _unpack(self.outbox.body(number))

    def kept_report(self, number: int) -> Report | None:
        """The report of a record that is committed, unless its place has been used again."""
        try:
            return self.read_report(number)
        except (Torn, OSError):
            return None

    def set_action(self, number: int, action: Action, delay: float = 0) -> None:
        words, slot = self.inbox.words, self.inbox.slot(number)
        words[slot + _DELAY] = int(delay * 1000)
        words[slot + _ACTION] = action

    def commits(self, number: int) -> int:
        """How many monitors have tried to commit the record."""
        return self.inbox.words[self.inbox.slot(number) + _COMMITS]

    def count_commit(self, number: int) -> int:
        """Count a monitor's try to commit the record; the number of tries so far."""
        return self._count(number, _COMMITS)

    def count_hook(self, number: int) -> int:
        """Count a try to run the record's hook; the number of tries so far."""
        return self._count(number, _HOOKS)

    def _count(self, number: int, word: int) -> int:
        slot = self.inbox.slot(number)
        self.inbox.words[slot + word] += 1
        return self.inbox.words[slot + word]


def _pack(report: Report) -> bytes:
    """A report as bytes: plain tuples and naive times, whose pickling costs a fifth."""
    verdict, action, delay, outcome, error = report
    packed: tuple[Any, ...] | None = None
    if outcome is not None:
        row = outcome.row
        aware = row.stopped.tzinfo is not None
        plain = row._replace(started=_naive(row.started), stopped=_naive(row.stopped))
        packed = (aware, tuple(plain), *outcome[1:])
    return pickle.dumps((verdict.value, action.value, delay, packed, error), 5)


def _unpack(body: bytes) -> Report:
    verdict, action, delay, outcome, error = pickle.loads(body)
    if outcome is not None:
        aware, row, *rest = outcome
        row = Row._make(row)
        if aware:
            row = row._replace(
                started=row.started.replace(tzinfo=UTC), stopped=row.stopped.replace(tzinfo=UTC)
            )
        outcome = Outcome(row, *rest)
    return Report(Verdict(verdict), Action(action), delay, outcome, error)


def _naive(moment: datetime) -> datetime:
    """The moment in UTC without saying so; one that is naive already stays."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _seal(receipt: Any) -> bytes:
    """A receipt as bytes; strings, which most are, without a pickle."""
    if receipt is None:
        return b""
    if isinstance(receipt, str):
        return b"s" + receipt.encode()
    return b"p" + pickle.dumps(receipt, 5)


def _unseal(sealed: bytes) -> Any:
    if not sealed:
        return None
    return sealed[1:].decode() if sealed[:1] == b"s" else pickle.loads(sealed[1:])
