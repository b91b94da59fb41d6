"""The steps that random sequences are made of: what clusters do, and what happens to them.

A step is data alone, drawn without regard to what the broker did before. So a sequence stays the
same when it is tried again, and one that fails can be shortened.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice, product
from typing import NamedTuple

from hypothesis import strategies as st

CLUSTERS = 2


class Enqueue(NamedTuple):
    """A cluster puts packages in; priority and delay only where the broker declares them."""

    by: int
    packages: int
    priority: int | None
    delay_in_leases: float | None


class Claim(NamedTuple):
    """A cluster claims."""

    by: int
    limit: int
    leases: int


class Acknowledge(NamedTuple):
    """A cluster acknowledges some of its claims, in one call or in the 1.x way."""

    by: int
    which: tuple[int, ...]
    one_by_one: bool


class Extend(NamedTuple):
    """A cluster renews some of its claims."""

    by: int
    which: tuple[int, ...]
    leases: int


class Release(NamedTuple):
    """A cluster gives some of its claims back."""

    by: int
    which: tuple[int, ...]
    delay_in_leases: float
    counted: bool


class Crash(NamedTuple):
    """A cluster dies with all that it holds, and is started anew."""

    cluster: int


class TimePasses(NamedTuple):
    """Nobody does anything for a while."""

    leases: float


Step = Enqueue | Claim | Acknowledge | Extend | Release | Crash | TimePasses

CLUSTER = range(CLUSTERS)

WHICH = [(0,), (1,), (2,), (3,), (0, 1), (1, 2), (0, 2, 4), (0, 1, 2, 3)]
"""Which of its claims a cluster means: 0 is the latest."""

LEASES = [1, 2]

ENQUEUES = [
    Enqueue(by, packages, priority, delay_in_leases)
    for packages in (1, 2)
    for delay_in_leases in (None, 1.0, -1.0)  # -1: it is due since a while
    for priority in (5, None, -5)
    for by in CLUSTER
]

ONE_PART = 16
"""How many entries of the list of all steps a kind has for each time that it is more frequent."""


def mixed(*kinds: tuple[int, Sequence[Step]]) -> list[Step]:
    """List all steps, each kind as often as its number says, however many forms it has."""
    return [
        step
        for parts, steps in kinds
        for step in islice(cycle(steps), max(parts * ONE_PART, len(steps)))
    ]


# One draw each, and one rule for all kinds: a failing sequence is shortened the sooner, and
# Hypothesis, which leaves some rules out of every sequence, leaves nothing out.
STEPS: st.SearchStrategy[Step] = st.sampled_from(
    mixed(
        (2, [Enqueue(by, packages, None, None) for packages in (1, 2, 4) for by in CLUSTER]),
        (5, [Claim(*each) for each in product(CLUSTER, (1, 2, 3, 10), LEASES)]),
        (3, [TimePasses(leases) for leases in (1.1, 0.5, 2.2)]),
        (3, [Acknowledge(*each) for each in product(CLUSTER, WHICH, (False, True))]),
        (3, [Extend(*each) for each in product(CLUSTER, WHICH, LEASES)]),
        (3, [Release(*each) for each in product(CLUSTER, WHICH, (0, 1.0), (False, True))]),
        (2, ENQUEUES),
        (1, [Crash(cluster) for cluster in CLUSTER]),
    )
)
