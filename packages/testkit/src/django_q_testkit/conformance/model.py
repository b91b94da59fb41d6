"""What a broker owes for each package it was given: the model that random sequences are held to.

Nobody can say to the millisecond when a lease ends at a server. So the model knows two times of
each package: before the one it must not come, after the other it must; between them either is
right. What a broker does not declare is not asked of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from django_q.brokers.base import Broker, Delivery, Receipt
from django_q_testkit.conformance.bench import Bench, texts

NOT_LONG_BEFORE_ITS_END = 0.1
"""The last part of a lease in which the model says nothing: a tenth, as the clocks may differ."""

SOON_AFTER_ITS_END = 0.05
"""How much of a lease a broker may take to see that it has ended; the suite waits a tenth."""

NEVER = math.inf
ALWAYS = -math.inf

T = TypeVar("T")


class Moment(NamedTuple):
    """When a call was made: its effect lies somewhere in between."""

    began: float
    ended: float


@dataclass(slots=True, eq=False)
class Claimed:
    """One claim of one package, as the cluster that made it remembers it."""

    package: Expected
    receipt: Receipt
    is_released: bool = False


@dataclass(slots=True, eq=False)
class Expected:
    """A package, and what must become of it."""

    text: str
    priority: int
    not_before: float = ALWAYS
    surely_from: float = ALWAYS
    in_order: bool = True
    """Was it neither delayed nor delivered so far? Among such the order is promised."""
    key: str | None = None
    claim: Claimed | None = None
    lapses: int = 0
    overcount: int = 0
    """By how much a broker may count more lapses than there were."""
    attempts: int = 0
    is_gone: bool = False
    is_in_doubt: bool = False
    """Did a call outlast a lease whose receipt is void then? Nothing more is asked of it."""

    def comes(self, not_before: float, surely_from: float) -> None:
        self.not_before, self.surely_from = not_before, surely_from

    def is_due(self, now: float) -> bool:
        return self.surely_from < now

    def holds(self, claim: Claimed) -> bool:
        """Is this the claim that counts?"""
        return self.claim is claim and not claim.is_released


class Clock:
    """The time at the broker, which a test may have put forward."""

    def __init__(self, bench: Bench, is_waiting: bool) -> None:
        self.bench = bench
        self.is_waiting = is_waiting
        """Does the bench wait where time shall pass, so that nothing is put forward?"""
        self.put_forward = 0.0

    @property
    def is_real(self) -> bool:
        """Is it still the time that everybody has?"""
        return self.put_forward < self.bench.lease * SOON_AFTER_ITS_END

    def now(self) -> float:
        return time.monotonic() + self.put_forward

    def elapse(self, broker: Broker, seconds: float) -> None:
        self.bench.elapse(broker, seconds)
        if not self.is_waiting:
            # By that much, however long it took.
            self.put_forward += seconds

    def timed(self, call: Callable[[], T]) -> tuple[T, Moment]:
        began = self.now()
        result = call()
        return result, Moment(began, self.now())


@dataclass
class Model:
    """All packages of one queue; every method is told what the broker did and raises
    AssertionError where that breaks the contract."""

    broker: Broker
    bench: Bench
    packages: dict[str, Expected] = field(default_factory=dict)

    # Enqueues

    def enqueued(
        self, names: Iterable[str], priority: int, comes: tuple[float, float] | None
    ) -> None:
        for name in names:
            package = Expected(name, priority)
            if comes is not None:
                package.in_order = False
                package.comes(*comes)
            self.packages[name] = package

    # Claims

    def claimed(
        self, found: Sequence[Delivery], limit: int, lease: float, moment: Moment
    ) -> list[Claimed]:
        """Check what a claim has brought, and note it down."""
        self.check_count(len(found), limit)
        due = [package for package in self.packages.values() if package.is_due(moment.began)]
        if not found:
            assert not due, f"the claim found nothing, but {named(due)} could be claimed"
        brought = [self.expected(text) for text in texts(list(found))]
        assert len(set(brought)) == len(brought), f"one claim brought twice: {named(brought)}"
        self.check_priorities(brought, due)
        self.check_order(brought)
        return [
            self.delivered(package, delivery, lease, moment)
            for package, delivery in zip(brought, found, strict=True)
        ]

    def check_count(self, count: int, limit: int) -> None:
        at_most = limit if self.broker.supports_bulk else 1
        assert count <= at_most, f"the claim brought {count} packages where {at_most} may come"

    def expected(self, text: str) -> Expected:
        assert text in self.packages, f"{text!r} came, which nobody enqueued"
        return self.packages[text]

    def check_priorities(self, brought: list[Expected], due: list[Expected]) -> None:
        for place, package in enumerate(brought):
            earlier = brought[:place]
            passed_over = [
                other for other in due if other.priority > package.priority and other not in earlier
            ]
            assert not passed_over, (
                f"{package.text!r} of priority {package.priority} came before {named(passed_over)}"
                f" of priority {passed_over[0].priority}"
            )

    def check_order(self, brought: list[Expected]) -> None:
        if not self.bench.keeps_order:
            return
        for place, package in enumerate(brought):
            if not package.in_order:
                continue
            earlier = brought[:place]
            passed_over = [
                other
                for other in self.enqueued_before(package)
                if other.in_order and other.priority == package.priority and other not in earlier
            ]
            assert not passed_over, f"{package.text!r} came before {named(passed_over)}"

    def enqueued_before(self, package: Expected) -> list[Expected]:
        packages = list(self.packages.values())
        return packages[: packages.index(package)]

    def delivered(
        self, package: Expected, delivery: Delivery, lease: float, moment: Moment
    ) -> Claimed:
        if package.is_in_doubt:
            return Claimed(package, delivery.receipt)
        assert not package.is_gone, f"{package.text!r} came again although it was done with"
        early = package.not_before - moment.ended
        assert early <= 0, f"{package.text!r} came {early:.2f} s before it may"
        self.check_identity(package, delivery)
        package.lapses += self.has_lapsed(package)
        self.check_counts(package, delivery)
        package.in_order = False
        package.claim = Claimed(package, delivery.receipt)
        if self.broker.supports_receipts:
            self.leased(package, lease, moment)
        else:
            self.done_with(package)
        return package.claim

    def check_identity(self, package: Expected, delivery: Delivery) -> None:
        if package.key is None:
            others = {other.key for other in self.packages.values()}
            assert delivery.key not in others, f"two packages have the key {delivery.key!r}"
            package.key = delivery.key
        assert delivery.key == package.key, (
            f"{package.text!r} had the key {package.key!r} and now has {delivery.key!r}"
        )
        if package.claim and self.bench.accepts_late_receipts:
            assert delivery.receipt != package.claim.receipt, (
                f"two claims of {package.text!r} have the receipt {delivery.receipt!r}"
            )

    def has_lapsed(self, package: Expected) -> bool:
        return package.claim is not None and not package.claim.is_released

    def check_counts(self, package: Expected, delivery: Delivery) -> None:
        least = package.lapses if self.broker.counts_lapses else 0
        most = least + package.overcount if self.broker.counts_lapses else 0
        assert least <= delivery.lapses <= most, (
            f"{package.text!r} has lapsed {package.lapses} times; its delivery says "
            f"{delivery.lapses}"
        )
        attempts = package.attempts if self.broker.counts_attempts else 0
        assert delivery.attempts == attempts, (
            f"{package.text!r} has {package.attempts} attempts; its delivery says "
            f"{delivery.attempts}"
        )

    def leased(self, package: Expected, seconds: float, moment: Moment) -> None:
        if not seconds:
            package.comes(*moment)
            return
        package.comes(
            moment.began + seconds * (1 - NOT_LONG_BEFORE_ITS_END),
            moment.ended + seconds + self.bench.lease * SOON_AFTER_ITS_END,
        )

    def done_with(self, package: Expected) -> None:
        package.is_gone = True
        package.comes(NEVER, NEVER)

    # Receipts

    def usable(self, claims: Iterable[Claimed], now: float) -> list[Claimed]:
        """Those of whose receipts it is said what they do: not what was released and lies
        there unclaimed, nor what is late where the server voids late receipts."""
        return [
            claim
            for claim in claims
            if not (claim.is_released and claim.package.claim is claim)
            and not claim.package.is_in_doubt
            and (self.bench.accepts_late_receipts or now < claim.package.not_before)
            and not self.is_renamed(claim)
        ]

    def is_renamed(self, claim: Claimed) -> bool:
        """Where the server voids late receipts, several claims may share one."""
        current = claim.package.claim
        return current is not claim and current is not None and current.receipt == claim.receipt

    def is_doubtful(self, package: Expected, moment: Moment) -> bool:
        """Could the lease have ended during the call, at a server that voids its receipt then?"""
        if self.bench.accepts_late_receipts or moment.ended < package.not_before:
            return False
        package.is_in_doubt = True
        package.comes(ALWAYS, NEVER)
        return True

    def acknowledged(
        self, claims: list[Claimed], refused: Iterable[Receipt] | None, moment: Moment
    ) -> None:
        """`refused` is None where the 1.x method was used, which need not say."""
        for claim in claims:
            package = claim.package
            if package.is_gone:
                continue
            if not package.holds(claim):
                self.check_refused(claim, refused, "acknowledged")
            elif not self.is_doubtful(package, moment):
                self.check_taken(claim, refused, "acknowledged")
                self.done_with(package)

    def extended(
        self,
        claims: list[Claimed],
        renewed: dict[Receipt, Receipt | None],
        seconds: float,
        moment: Moment,
    ) -> None:
        receipts = {claim.receipt for claim in claims}
        assert set(renewed) == receipts, f"extend was given {receipts} and answers for {renewed}"
        refused = [receipt for receipt, new in renewed.items() if new is None]
        for claim in claims:
            package = claim.package
            if not package.holds(claim) or package.is_gone:
                self.check_refused(claim, refused, "extended")
                continue
            if self.is_doubtful(package, moment):
                continue
            self.check_taken(claim, refused, "extended")
            package.overcount += package.not_before < moment.ended
            claim.receipt = renewed[claim.receipt]
            self.leased(package, seconds, moment)

    def released(
        self,
        claims: list[Claimed],
        refused: Iterable[Receipt],
        delay: float,
        count: bool,
        moment: Moment,
    ) -> None:
        for claim in claims:
            package = claim.package
            if package.is_gone:
                continue
            if not package.holds(claim):
                self.check_refused(claim, refused, "released")
                continue
            if self.is_doubtful(package, moment):
                continue
            self.check_taken(claim, refused, "released")
            # Who counts attempts at the broker tells a release from a lapse, unless it was late.
            package.overcount += (
                not self.broker.counts_attempts or package.not_before < moment.ended
            )
            package.attempts += count
            claim.is_released = True
            self.leased(package, delay, moment)

    def check_taken(self, claim: Claimed, refused: Iterable[Receipt] | None, what: str) -> None:
        assert refused is None or claim.receipt not in refused, (
            f"{claim.package.text!r} could not be {what} by {claim.receipt!r}, its latest receipt"
        )

    def check_refused(self, claim: Claimed, refused: Iterable[Receipt] | None, what: str) -> None:
        assert refused is None or claim.receipt in refused, (
            f"{claim.package.text!r} was {what} by {claim.receipt!r}, which counts no more"
        )

    # The end

    def left(self) -> list[Expected]:
        return [
            package
            for package in self.packages.values()
            if not (package.is_gone or package.is_in_doubt)
        ]


def named(packages: Iterable[Expected]) -> str:
    return ", ".join(repr(package.text) for package in packages)
