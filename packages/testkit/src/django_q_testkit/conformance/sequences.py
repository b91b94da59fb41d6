"""Any sequence of steps keeps the contract: a state machine that drives a broker at random.

Several clusters, each with a broker object of its own, share one queue. They enqueue, claim,
extend, release and acknowledge, also late and with receipts that were superseded meanwhile; they
die with all that they hold; time passes. After each step `Model` says whether that was right,
and in the end every package that nobody acknowledged must come out, once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from django_q.brokers.base import Broker, Delivery
from django_q_testkit.conformance.bench import LONG, Bench, ahead, claim_now
from django_q_testkit.conformance.model import (
    ALWAYS,
    NOT_LONG_BEFORE_ITS_END,
    SOON_AFTER_ITS_END,
    Claimed,
    Clock,
    Model,
    Moment,
    named,
)
from django_q_testkit.conformance.steps import (
    CLUSTERS,
    STEPS,
    Acknowledge,
    Claim,
    Crash,
    Enqueue,
    Extend,
    Release,
    Step,
    TimePasses,
)

REMEMBERED = 8
"""How many of its latest claims a cluster may still do something with."""

LENGTH = 50
WAITING_SEQUENCES, WAITING_LENGTH, WAITS = 5, 16, 2
"""The measures where time cannot be put forward: fewer and shorter sequences, in each of which
time passes only so often."""

PATIENCE_SECONDS = 15.0
"""After this time no further sequence is tried, for brokers whose every empty claim waits."""


class Sequences(Bench):
    """The part of the suite that no test spells out."""

    def test_any_sequence_of_steps_keeps_the_contract(
        self, new_broker: Callable[..., Broker]
    ) -> None:
        patience = Patience(time.monotonic() + PATIENCE_SECONDS)
        is_waiting = not can_be_put_forward(self, new_broker())

        def sequence() -> Sequence:
            return Sequence(self, patience, WAITS if is_waiting else None)

        factory = cast("type[Sequence]", sequence)  # a function will do
        run_state_machine_as_test(factory, settings=measures(self.sequences, is_waiting))


@dataclass
class Patience:
    """How long sequences are tried; without end as soon as a failure has to be shown again."""

    ends_at: float
    has_failed: bool = False

    def lasts(self) -> bool:
        return self.has_failed or time.monotonic() < self.ends_at


def can_be_put_forward(bench: Bench, broker: Broker) -> bool:
    began = time.monotonic()
    bench.elapse(broker, bench.lease)
    return time.monotonic() - began < bench.lease * (1 - SOON_AFTER_ITS_END)


def measures(sequences: int, is_waiting: bool) -> settings:
    """The same sequences in every run; the shortest that fails, unless each try takes seconds."""
    return settings(
        max_examples=min(sequences, WAITING_SEQUENCES) if is_waiting else sequences,
        stateful_step_count=WAITING_LENGTH if is_waiting else LENGTH,
        phases=[Phase.generate] if is_waiting else [Phase.generate, Phase.shrink],
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


class Sequence(RuleBasedStateMachine):
    """One queue from its first package to its last.

    A step that there is nothing for, or that the broker does not declare, does nothing.
    """

    def __init__(self, bench: Bench, patience: Patience, waits: int | None) -> None:
        super().__init__()
        self.is_tried = patience.lasts()
        self.bench, self.patience, self.waits = bench, patience, waits
        self.clock = Clock(bench, is_waiting=waits is not None)
        self.list_key = f"sequence-{uuid4().hex[:12]}"
        self.brokers: list[Broker] = []
        self.clusters = [self.make_broker() for _number in range(CLUSTERS)]
        self.memories: list[list[Claimed]] = [[] for _number in range(CLUSTERS)]
        self.model = Model(self.clusters[0], bench)

    def make_broker(self) -> Broker:
        broker = self.bench.make_broker(self.list_key)
        self.brokers.append(broker)
        return broker

    def declares(self, capability: str) -> bool:
        return bool(getattr(self.clusters[0], capability))

    @rule(step=STEPS)
    def do(self, step: Step) -> None:
        if self.is_tried:
            self.take(step)

    def take(self, step: Step) -> None:
        match step:
            case Enqueue():
                self.enqueue(step)
            case Claim():
                self.claim(step.by, step.limit, self.seconds(step.leases))
            case Acknowledge() if self.declares("supports_receipts"):
                self.acknowledge(step.by, self.remembered(step), step.one_by_one)
            case Extend() if self.declares("supports_lease_renewal"):
                self.extend(step.by, self.remembered(step), self.seconds(step.leases))
            case Release() if self.declares("supports_release"):
                delay = self.seconds(step.delay_in_leases)
                self.release(step.by, self.remembered(step), delay, step.counted)
            case Crash():
                self.memories[step.cluster] = []
                self.clusters[step.cluster] = self.make_broker()
            case TimePasses():
                self.pass_time(step.leases)

    def seconds(self, leases: float) -> float:
        has_one_length = self.bench.lease_is_fixed or self.waits is not None
        return self.bench.lease * (min(leases, 1) if has_one_length else leases)

    # Enqueue

    def enqueue(self, step: Enqueue) -> None:
        first = len(self.model.packages)
        names = [f"package-{number}" for number in range(first, first + step.packages)]
        options: dict[str, Any] = {}
        comes = None
        if step.priority is not None and self.declares("supports_priority"):
            options["priority"] = step.priority
        if step.delay_in_leases is not None and self.can_delay():
            seconds = step.delay_in_leases * self.bench.lease
            options["available_at"], moment = self.clock.timed(lambda: ahead(seconds))
            comes = self.available(seconds, moment)
        self.put_in(self.clusters[step.by], names, options)
        self.model.enqueued(names, options.get("priority", 0), comes)

    def put_in(self, broker: Broker, names: list[str], options: dict[str, Any]) -> None:
        if len(names) == 1:
            broker.enqueue(names[0], **options)
            return
        ids = broker.enqueue_many([*names], **options)
        assert len(ids) == len(names), f"enqueue_many of {len(names)} packages returned {ids!r}"

    def can_delay(self) -> bool:
        longest = self.clusters[0].max_delay
        return self.declares("supports_delay") and (longest is None or longest > self.bench.lease)

    def available(self, seconds: float, asked: Moment) -> tuple[float, float]:
        """When a package comes that waits for a time of day, which a clock that was put forward
        may have passed already; `asked` is when that time was so many seconds ahead."""
        is_kept_back = seconds > 0 and self.clock.is_real
        return (
            asked.began + seconds * (1 - NOT_LONG_BEFORE_ITS_END) if is_kept_back else ALWAYS,
            asked.ended + max(seconds, 0) + self.bench.lease * SOON_AFTER_ITS_END,
        )

    # Claim

    def claim(self, by: int, limit: int, lease: float) -> list[Claimed]:
        found, moment = self.clock.timed(
            lambda: list[Delivery](claim_now(self.clusters[by], limit, lease))
        )
        claims = self.model.claimed(found, limit, lease, moment)
        self.memories[by] = [*self.memories[by], *claims][-REMEMBERED:]
        return claims

    # Settle

    def remembered(self, step: Acknowledge | Extend | Release) -> list[Claimed]:
        """The claims that a step means, but for those of which nobody can say what happens."""
        latest_first = self.memories[step.by][::-1]
        places = {place % len(latest_first) for place in step.which} if latest_first else set()
        picked = [latest_first[place] for place in sorted(places)]
        return self.model.usable(picked, self.clock.now())

    def acknowledge(self, by: int, claims: list[Claimed], one_by_one: bool = False) -> None:
        broker, receipts = self.clusters[by], receipts_of(claims)
        if one_by_one:
            _, moment = self.clock.timed(lambda: [broker.acknowledge(one) for one in receipts])
            self.model.acknowledged(claims, None, moment)
        elif claims:
            refused, moment = self.clock.timed(lambda: list(broker.acknowledge_many(receipts)))
            self.model.acknowledged(claims, refused, moment)

    def extend(self, by: int, claims: list[Claimed], seconds: float) -> None:
        if not claims:
            return
        broker, receipts = self.clusters[by], receipts_of(claims)
        renewed, moment = self.clock.timed(lambda: broker.extend(receipts, seconds))
        self.model.extended(claims, renewed, seconds, moment)

    def release(self, by: int, claims: list[Claimed], delay: float, count: bool) -> None:
        if not claims:
            return
        broker, receipts = self.clusters[by], receipts_of(claims)
        refused, moment = self.clock.timed(
            lambda: list(broker.release(receipts, delay=delay, count=count))
        )
        self.model.released(claims, refused, delay, count, moment)

    # Time

    def pass_time(self, leases: float) -> None:
        if self.waits is None:
            self.clock.elapse(self.clusters[0], leases * self.bench.lease)
        elif self.waits:
            self.waits -= 1
            self.clock.elapse(self.clusters[0], min(leases, 1.1) * self.bench.lease)

    # The end

    def teardown(self) -> None:
        try:
            if self.is_tried and sys.exc_info()[1] is None:
                self.drain()
        finally:
            if isinstance(sys.exc_info()[1], Exception):
                self.patience.has_failed = True
            self.clean_up()

    def drain(self) -> None:
        """All clusters have died; what they left comes to one that works it off."""
        left = self.model.left()
        last = max((package.surely_from for package in left), default=0)
        if (seconds := last - self.clock.now()) > 0:
            self.clock.elapse(self.clusters[0], seconds + self.bench.lease * SOON_AFTER_ITS_END)
        while claims := self.claim(0, 10, LONG):
            if self.declares("supports_receipts"):
                self.acknowledge(0, claims)
        assert not self.model.left(), f"{named(self.model.left())} never came back"

    def clean_up(self) -> None:
        self.clusters[0].delete_queue()
        for broker in self.brokers:
            broker.close()


def receipts_of(claims: list[Claimed]) -> list[Any]:
    return [claim.receipt for claim in claims]
