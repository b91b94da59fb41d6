"""Keeps the claims of a cluster: renews leases, acknowledges, releases, recalls.

The second thread of the pusher, with a broker object of its own. Nobody else uses receipts,
but for a monitor whose results lie in the broker's own database.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from django_q.brokers.base import Broker, Delivery, Package, Receipt
from django_q.cluster import clock
from django_q.cluster.crew import Crew
from django_q.cluster.dealer import Dealer
from django_q.cluster.lane import Action, Lane, State
from django_q.cluster.patience import Outage, Patience
from django_q.errors import BrokerUnavailable

logger = logging.getLogger("django-q")

FOREVER = 2**62


class Keeper:
    """The keeper thread."""

    def __init__(self, crew: Crew, dealer: Dealer) -> None:
        self.crew = crew
        self.board = crew.board
        self.bell = crew.board.keeper_bell
        self.dealer = dealer
        self.lease = crew.settings.retry
        self.next_renewal = 0
        self.seen = -1
        self.renews = crew.broker_class.supports_lease_renewal
        self.patience = Patience(Outage.of_queue(crew), wait=self.bell.wait, give_up=self.is_done)
        self.is_away = False
        self.thread = threading.Thread(target=self.run, name="keeper", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def finish(self) -> None:
        """Wait until the broker knows of everything, after the stop."""
        self.bell.shout()
        self.thread.join()

    def run(self) -> None:
        try:
            self.patience.call(self.take_broker, None, is_contact=False)
            while not self.is_done():
                self.patience.call(self.keep, None, is_contact=False)
                self.bell.wait(self.nap(), self.is_wanted)
        except BaseException:
            # Without a keeper all leases would lapse; a new pusher takes over with a new one.
            logger.exception("The keeper of the claims failed, and ends the pusher")
            os._exit(1)

    def take_broker(self) -> None:
        self.broker: Broker = self.crew.broker()
        self.patience.outage = Outage.of_broker(self.crew, self.broker)

    def is_done(self) -> bool:
        return bool(self.board.stopping) and self.board.all_settled

    def keep(self) -> None:
        """One round; a round that fails for an outage is begun again when it is over."""
        self.is_away = self.patience.is_away
        if self.is_away and not self.broker.ping():
            # There may be nothing to tell it: that would not mean that it is back.
            raise ConnectionError("it does not answer")
        self.seen = self.board.decisions
        self.renew()
        self.settle()
        self.take_back()
        self.is_away = False

    def nap(self) -> float:
        """Seconds until something may be due that nobody rings for."""
        if self.board.held:
            return 0.02
        return max(0.0, clock.seconds_until(self.next_renewal)) if self.renews else 1.0

    def is_wanted(self) -> bool:
        return self.board.decisions != self.seen

    # Leases

    def renew(self) -> None:
        """Extend everything that is held, each third of the lease."""
        if not self.renews:
            self.board.lease_until = FOREVER
            return
        if clock.now() < self.next_renewal and not self.patience.is_away:
            return
        with self.dealer.lock:
            began = clock.now()
            for lane in self.board.lanes:
                self.renew_lane(lane)
            self.board.lease_until = began + int(self.lease * clock.NANOSECONDS)
        self.next_renewal = began + int(self.lease * clock.NANOSECONDS / 3)
        for bell in self.board.lane_bells:
            bell.ring()

    def renew_lane(self, lane: Lane) -> None:
        held = {
            receipt: number
            for number in self.dealer.unsettled(lane)
            if (receipt := lane.receipt(number)) is not None
        }
        if not held:
            return
        lost = []
        for old, new in self.broker.extend(list(held), self.lease).items():
            if new is None:
                lost.append(held[old])
            elif new != old:
                lane.replace_receipt(held[old], new)
        unstarted = [number for number in lost if number > lane.started]
        if unstarted:
            self.drop_lost(lane, unstarted)

    def drop_lost(self, lane: Lane, lost: list[int]) -> None:
        """Keep packages that are somebody else's now from starting here.

        Given up before they are recalled: the worker may drop them faster than `started` is read
        again, and what it drops is handed on unless it is known to be lost.
        """
        for number in lost:
            self.dealer.forget(lane, number, State.LOST)
        if lane.is_alive:
            self.dealer.move(lane, self.dealer.recall(lane))

    # Settling

    def settle(self) -> None:
        """Tell the broker what the monitor has decided, in one call of each kind."""
        acknowledged: list[tuple[Lane, int]] = []
        retried: dict[tuple[float, bool], list[tuple[Lane, int]]] = defaultdict(list)
        returned: list[tuple[Lane, int]] = []
        for lane in self.board.lanes:
            for number in self.dealer.unsettled(lane):
                if number > lane.committed or number > lane.started:
                    break
                action, delay = lane.action(number)
                if action == Action.ACKNOWLEDGE:
                    acknowledged.append((lane, number))
                elif action == Action.RETRY:
                    retried[delay, True].append((lane, number))
                elif action == Action.RELEASE:
                    retried[0, False].append((lane, number))
                elif action == Action.RETURN:
                    returned.append((lane, number))
                elif action == Action.FORGET:
                    self.dealer.forget(lane, number, State.SETTLED)
        self.acknowledge(acknowledged)
        for (delay, count), records in retried.items():
            self.release(records, delay, count)
        self.hand_on(returned)
        for lane in self.board.lanes:
            self.advance(lane)

    def acknowledge(self, records: list[tuple[Lane, int]]) -> None:
        receipts = [lane.receipt(number) for lane, number in records]
        receipts = [receipt for receipt in receipts if receipt is not None]
        if receipts:
            # One that was superseded is refused: its result stands, and the other run's is next.
            self.tell(self.broker.acknowledge_many, receipts)
        self.close(records)

    def tell(self, settle: Callable[[list[Receipt]], object], receipts: list[Receipt]) -> None:
        """Settle claims; one that the broker answers with an error holds up only itself.

        Brokers of Django Q2 raise where a claim is too old. It lapses then, if it has not yet.
        """
        try:
            settle(receipts)
        except BrokerUnavailable:
            # Also of a server that answers, but takes nothing: the receipts are as good as before.
            raise
        except Exception:
            if not self.broker.ping():
                raise
            for receipt in receipts:
                self.tell_of_one(settle, receipt)

    def tell_of_one(self, settle: Callable[[list[Receipt]], object], receipt: Receipt) -> None:
        try:
            settle([receipt])
        except BrokerUnavailable:
            raise
        except Exception as error:
            if not self.broker.ping():
                raise
            logger.error("The broker refuses a receipt: %s: %s", type(error).__name__, error)

    def release(self, records: list[tuple[Lane, int]], delay: float, count: bool) -> None:
        deliveries = [self.dealer.delivery(*record) for record in records]
        receipts = [delivery.receipt for delivery in deliveries if delivery.receipt is not None]
        if receipts and self.broker.supports_release:
            self.tell(partial(self.broker.release, delay=delay, count=count), receipts)
            self.close(records)
            return
        for record, delivery in zip(records, deliveries, strict=True):
            # One by one, so that an outage in between makes none of them twice.
            give_back(self.broker, [delivery])
            self.close([record])

    def hand_on(self, records: list[tuple[Lane, int]]) -> None:
        """Give packages that a worker dropped to another one, or back to the broker."""
        if self.board.stopping:
            self.release(records, 0, False)
            return
        for lane, number in records:
            self.dealer.move(lane, [number], may_return=True)

    def close(self, records: list[tuple[Lane, int]]) -> None:
        for lane, number in records:
            self.dealer.forget(lane, number, State.SETTLED)

    def advance(self, lane: Lane) -> None:
        """Free the places of settled records."""
        number, settled = lane.settled, lane.settled
        limit = lane.committed if lane.is_alive else lane.written
        while number < limit and lane.state(number + 1) != State.HELD:
            number += 1
        if number > settled:
            for freed in range(settled + 1, number + 1):
                lane.inbox.free(freed)
            lane.settled = number
            self.board.pusher_bell.ring()
            if not lane.is_alive:
                self.board.sentinel_bell.ring()

    # Taking back

    def take_back(self) -> None:
        """Move what is not started away from dead workers and from those that take their time."""
        if self.board.stopping:
            for lane in self.board.lanes:
                self.release_unstarted(lane)
            return
        for lane, numbers in list(self.dealer.orphans()):
            if self.is_cramped():
                self.release([(lane, number) for number in numbers], 0, False)
            else:
                self.dealer.move(lane, numbers)
            self.advance(lane)
        for lane in self.dealer.stuck_lanes():
            self.dealer.move(lane, self.dealer.recall(lane))

    def is_cramped(self) -> bool:
        """Does what dead workers left behind keep new ones from having a lane?"""
        lanes = self.board.lanes
        missing = sum(lane.is_alive for lane in lanes) < self.crew.settings.workers
        return missing and not any(lane.is_free for lane in lanes)

    def release_unstarted(self, lane: Lane) -> None:
        if lane.is_alive:
            numbers = self.dealer.recall(lane) if lane.unstarted > 0 else []
        else:
            numbers = [n for n in self.dealer.unsettled(lane) if n > lane.started]
        if numbers:
            self.release([(lane, number) for number in numbers], 0, False)
        self.advance(lane)


def give_back(broker: Broker, deliveries: list[Delivery]) -> None:
    """Return packages to the broker; one that has no receipt is enqueued again."""
    receipts = [delivery.receipt for delivery in deliveries if delivery.receipt is not None]
    if receipts and broker.supports_release:
        broker.release(receipts)
    for delivery in deliveries:
        if delivery.receipt is None:
            broker.enqueue(_as_enqueued(delivery.package))


def _as_enqueued(package: Package) -> Package:
    """Lanes carry bytes; 1.x brokers know the text that `async_task` gave them. What is no text
    is no package of ours either, and goes back as it is."""
    if isinstance(package, bytes) and package.isascii():
        return package.decode("ascii")
    return package
