"""Receipts that know when they end: SQS itself does not say whether a claim was superseded.

SQS deletes nothing for an outdated receipt handle, and calls that a success; whether an outdated
one hides or shows a message again is not said at all. But a claim is only superseded once its
lease has ended or it was given back, and both are known to whoever held it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from django_q.brokers.base import Receipt
from django_q_broker_sqs import clock

LONGEST_LEASE = 12 * 3600
"""Seconds from a claim until SQS shows its message again, however often it is renewed."""


class Claim(NamedTuple):
    """What a receipt says, in milliseconds since boot where it is a time."""

    key: str
    handle: str
    began: int
    ends: int

    @property
    def is_over(self) -> bool:
        return milliseconds(clock.since_boot()) >= self.ends

    @property
    def renewable_seconds(self) -> int:
        """How long a renewal may be at most."""
        return LONGEST_LEASE - math.ceil(clock.since_boot() - self.began / 1000) - 1

    def renewed(self, began: float, seconds: float) -> Claim:
        """The same claim with a lease of so many seconds from a moment since boot."""
        return self._replace(ends=milliseconds(began + seconds))

    def receipt(self) -> str:
        """The claim as text, as long after a renewal as before it."""
        return f"{self.began:012x}{self.ends:012x}.{self.key}.{self.handle}"


def claimed(key: str, handle: str, began: float, seconds: float) -> Claim:
    """A claim made at a moment since boot."""
    return Claim(key, handle, milliseconds(began), milliseconds(began + seconds))


def read(receipt: Receipt) -> Claim:
    """What a receipt says; a bare handle, as Django Q2 had them, has a lease that never ends."""
    times, dot, rest = str(receipt).partition(".")
    key, second_dot, handle = rest.partition(".")
    if dot and second_dot and len(times) == 24:
        try:
            return Claim(key, handle, int(times[:12], 16), int(times[12:], 16))
        except ValueError:
            pass
    began = milliseconds(clock.since_boot())
    return Claim(str(receipt), str(receipt), began, began + LONGEST_LEASE * 1000)


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
