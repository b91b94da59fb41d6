"""Receipts: the row and the claim that holds it, in one string such as `12.8034211`."""

from __future__ import annotations

import random
from typing import Any, NamedTuple


class Claimed(NamedTuple):
    """What a receipt says; without a claim number it is a bare primary key, as in 1.x."""

    id: int
    claim: int | None


def new_claim() -> int:
    """A number that no other claim has: 63 random bits, seeded anew in every forked process."""
    return random.getrandbits(63)


def receipt_of(row_id: int, claim: int) -> str:
    """The receipt of one row in one claim."""
    return f"{row_id}.{claim}"


def row_of(receipt: Any) -> str:
    """What names the package whatever claim holds it."""
    return str(receipt).partition(".")[0]


def read(receipt: Any) -> Claimed:
    """Take a receipt apart."""
    row_id, _, claim = str(receipt).partition(".")
    try:
        return Claimed(int(row_id), int(claim) if claim else None)
    except ValueError:
        raise ValueError(
            f"{receipt!r} is no receipt of the ORM broker: expected 'ID.CLAIM', as claim() and "
            f"dequeue() return it, or the primary key of a queued task."
        ) from None
