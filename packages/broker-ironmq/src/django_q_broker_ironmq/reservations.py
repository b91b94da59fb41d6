"""Receipts of IronMQ, and the requests that settle them: one for each, but for acknowledgements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias, TypeVar

from django_q.errors import DjangoQError
from django_q_broker_ironmq.errors import IronMQRefuses

IN_FLIGHT = 8
"""How many requests are on their way at once; the pool of connections has room for ten."""

AT_ONCE = 100
"""How many messages one request may name."""

T = TypeVar("T")
Outcome: TypeAlias = T | DjangoQError


class Reservation(NamedTuple):
    """What a receipt names: `id:reservation_id`; without the second it is no claim."""

    id: str
    reservation_id: str | None

    @classmethod
    def of(cls, receipt: Any) -> Reservation:
        message_id, _, reservation_id = str(receipt).partition(":")
        return cls(message_id, reservation_id or None)

    @property
    def receipt(self) -> str:
        return f"{self.id}:{self.reservation_id}" if self.reservation_id else self.id


def outcomes(settle: Callable[[Any], T], receipts: Sequence[Any]) -> list[Outcome[T]]:
    """What `settle` returns or raises for each, several at a time."""

    def outcome(receipt: Any) -> Outcome[T]:
        try:
            return settle(receipt)
        except DjangoQError as error:
            return error

    if len(receipts) < 2:
        return [outcome(receipt) for receipt in receipts]
    with ThreadPoolExecutor(min(IN_FLIGHT, len(receipts))) as pool:
        return list(pool.map(outcome, receipts))


def is_lost(outcome: Any) -> bool:
    """Does IronMQ say that the reservation is over? Its reference does not tell by which status."""
    return isinstance(outcome, IronMQRefuses)


def is_unknown(outcome: Any) -> bool:
    """Could it not be asked?"""
    return isinstance(outcome, DjangoQError) and not is_lost(outcome)


def refused(receipts: Sequence[Any], found: Sequence[Any]) -> list[Any]:
    """The receipts that are lost; raises where one could not be asked."""
    for outcome in found:
        if is_unknown(outcome):
            raise outcome
    return [receipt for receipt, outcome in zip(receipts, found, strict=True) if is_lost(outcome)]


def renewed(receipts: Sequence[Any], found: Sequence[Any]) -> dict[Any, Any]:
    """Old receipts to new ones, or to None where they are lost.

    A touch makes the old reservation void: had one of many failed and all been tried again, those
    that had succeeded would look lost. Those that could not be asked keep their receipt, and two
    thirds of their lease, until the next renewal; raises where none could be asked.
    """
    if found and all(is_unknown(outcome) for outcome in found):
        raise found[0]
    pairs = zip(receipts, found, strict=True)
    return {
        receipt: None if is_lost(outcome) else receipt if is_unknown(outcome) else outcome
        for receipt, outcome in pairs
    }


def portions(
    items: Sequence[T], size_of: Callable[[T], int] = lambda _: 0, most: int = 0
) -> Iterator[list[T]]:
    """Lists of at most `AT_ONCE` items and, unless it is one alone, of `most` bytes."""
    portion: list[T] = []
    size = 0
    for item in items:
        own = size_of(item)
        if portion and (len(portion) == AT_ONCE or size + own > most):
            yield portion
            portion, size = [], 0
        portion.append(item)
        size += own
    if portion:
        yield portion
