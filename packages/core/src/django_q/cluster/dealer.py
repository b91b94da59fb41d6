"""Deals packages out to the lanes, and takes back what has not started.

Shared by the two threads of the pusher under one lock. It holds no truth of its own: a new
pusher reads everything back from the lanes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from django_q.brokers.base import Broker, Delivery
from django_q.cluster import clock
from django_q.cluster.board import Board
from django_q.cluster.lane import Lane, State
from django_q.conf import Settings

logger = logging.getLogger("django-q")

SHORT_SECONDS = 0.010
"""Only tasks shorter than this, on average, are handed out ahead."""

AHEAD_SECONDS = 0.020
"""How much work a lane is given ahead."""

AHEAD_MOST = 100
"""How many packages a lane is given ahead at most."""

LOW_WATER = AHEAD_MOST // 2
"""A lane with this many packages left is given more: until then a claim is not worth its cost,
and what is left lasts while it is made."""

STUCK_SECONDS = 0.050
"""A package that runs longer than this has those behind it taken back, if others are idle."""

LOOK_SECONDS = 0.001
"""How long a store takes at most to be seen by another processor."""


class Dealer:
    """What is in the lanes, and where the next package goes."""

    def __init__(self, board: Board, settings: Settings, broker: type[Broker]) -> None:
        self.board = board
        self.settings = settings
        # Held over a renewal too: a package is dealt before it, and extended with all others, or
        # after it, and then only if its own lease is still young.
        self.lock = threading.RLock()
        # Work of a broker that cannot renew leases, or has none, must not wait behind other work.
        self.looks_ahead = broker.supports_receipts and broker.supports_lease_renewal
        self.held: dict[str, tuple[Lane, int]] = {}
        self._keys: dict[tuple[int, int], str] = {}
        self._suspects: dict[int, int] = {}
        self._is_cautious = False
        self._paces = {lane.index: Pace(lane) for lane in board.lanes}

    def adopt(self) -> None:
        """Take over what an earlier pusher left in the lanes."""
        with self.lock:
            for lane in sorted(self.board.lanes, key=lambda lane: lane.is_alive):
                for number in self.unsettled(lane):
                    self._note(lane, number, lane.key(number))
                    if lane.is_suspect(number):
                        self._suspects[lane.index] = number

    def _note(self, lane: Lane, number: int, key: str) -> None:
        elsewhere = self.held.get(key)
        if elsewhere and self._never_runs(lane, number):
            lane.set_state(number, State.MOVED)
            return
        if elsewhere:
            # The earlier pusher died between giving the package to this lane and saying so.
            elsewhere[0].set_state(elsewhere[1], State.MOVED)
        self._hold(key, lane, number)

    @staticmethod
    def _never_runs(lane: Lane, number: int) -> bool:
        """Was it taken back, or left behind by its worker?"""
        return number <= lane.voided or (not lane.is_alive and number > lane.started)

    def _hold(self, key: str, lane: Lane, number: int) -> None:
        self.held[key] = (lane, number)
        self._keys[lane.index, number] = key

    @staticmethod
    def unsettled(lane: Lane) -> Iterator[int]:
        """The records of a lane whose claims are still ours."""
        for number in range(lane.settled + 1, lane.written + 1):
            if lane.state(number) == State.HELD:
                yield number

    # Room

    def room(self) -> int:
        """How many packages to claim now: none while every worker has enough before it."""
        lanes = self.board.live_lanes
        if self.board.stopping or not any(lane.unstarted <= LOW_WATER for lane in lanes):
            return 0
        room = sum(self.room_in(lane) for lane in lanes)
        # What a dead worker left behind goes first.
        room -= sum(len(numbers) for _, numbers in self.orphans())
        if self._is_cautious:
            room = min(room, sum(lane.is_idle for lane in lanes))
        if self.settings.queue_limit is not None:
            room = min(room, self.settings.queue_limit - self.board.held)
        if self.settings.bulk is not None:
            room = min(room, self.settings.bulk)
        return max(room, 0)

    def room_in(self, lane: Lane) -> int:
        waiting = lane.unstarted
        if self._is_reserved(lane):
            return 0
        if not self.looks_ahead:
            return int(lane.is_idle)
        ahead = self._paces[lane.index].ahead()
        if ahead == 0:
            return int(lane.is_idle)
        # What goes beyond the worker's last package would have to be taken back.
        return min(ahead - waiting, lane.left - (lane.written - lane.done))

    def _is_reserved(self, lane: Lane) -> bool:
        """Has it a package that ended a worker or a cluster before? Such a one is alone, so that
        it alone is accused."""
        return self._suspects.get(lane.index, 0) > lane.done

    # Dealing

    def deal(
        self, deliveries: list[Delivery], may_deal: Callable[[], bool] = lambda: True
    ) -> list[Delivery]:
        """Put packages into lanes; what found no lane, or must not be dealt, is returned."""
        with self.lock:
            if not may_deal():
                return deliveries
            lanes = self.board.live_lanes
            # Where one has failed there may be more: as few as can be alone are claimed next.
            self._is_cautious = any(is_suspect(delivery) for delivery in deliveries)
            return [delivery for delivery in deliveries if not self._is_placed(delivery, lanes)]

    def _is_placed(self, delivery: Delivery, lanes: list[Lane]) -> bool:
        try:
            return self._place(delivery, lanes)
        except Exception:
            # Left alone it lapses in the end; raised here it would end one pusher after the other.
            logger.exception("Package %s cannot be handed to a worker", delivery.key)
            return True

    def _place(self, delivery: Delivery, lanes: list[Lane]) -> bool:
        known = self.held.get(delivery.key)
        if known:
            return self._adopt(*known, delivery)
        suspect = is_suspect(delivery)
        for lane in sorted(lanes, key=self._load):
            if self._is_reserved(lane) or (suspect and not lane.is_idle):
                continue
            number = lane.put(delivery)
            if number is not None:
                self._hold(delivery.key, lane, number)
                if suspect:
                    self._suspects[lane.index] = number
                self.board.lane_bells[lane.index].ring()
                return True
        return False

    @staticmethod
    def _adopt(lane: Lane, number: int, delivery: Delivery) -> bool:
        """Take the new receipt of a package that is here already: its lease had lapsed unnoticed.

        Not where its outcome is on the way: then it may have come back because of that outcome,
        and waits until the old record is settled.
        """
        has_ended = number <= lane.started and (number <= lane.done or not lane.is_alive)
        return not has_ended and lane.replace_receipt(number, delivery.receipt)

    @staticmethod
    def _load(lane: Lane) -> int:
        return lane.written - lane.done

    # Taking back

    def recall(self, lane: Lane) -> list[int]:
        """Take back what has not started in a living lane; the numbers that are ours again.

        The worker stores `started` and then reads `voided`; here `voided` is stored and
        `started` read once that store must be visible. So what lies above is not started and
        never will be; the one at `started` is decided by its report.
        """
        last = lane.voided = lane.written
        threading.Event().wait(LOOK_SECONDS)
        # What the other thread has dealt meanwhile lies above, and may start.
        return [n for n in self.unsettled(lane) if lane.started < n <= last]

    def stuck_lanes(self) -> list[Lane]:
        """Lanes with packages behind one that takes its time, while another worker is idle."""
        lanes = self.board.live_lanes
        if not any(lane.is_idle for lane in lanes):
            return []
        limit = clock.now() - int(STUCK_SECONDS * clock.NANOSECONDS)
        return [
            lane
            for lane in lanes
            if lane.unstarted > 0 and lane.started > lane.done and lane.started_at < limit
        ]

    def orphans(self) -> Iterator[tuple[Lane, list[int]]]:
        """Packages of dead lanes that were never started."""
        for lane in self.board.lanes:
            if not lane.is_alive and lane.written > lane.settled:
                numbers = [n for n in self.unsettled(lane) if n > lane.started]
                if numbers:
                    yield lane, numbers

    def move(self, lane: Lane, numbers: list[int], may_return: bool = False) -> None:
        """Give packages of one lane to others with room; what finds none stays where it is.

        What its worker has dropped already may return to the same lane: there may be no other.
        """
        for number in numbers:
            delivery = self.delivery(lane, number)
            with self.lock:
                holder = self.held.get(delivery.key)
                if holder is not None and holder != (lane, number):
                    lane.set_state(number, State.MOVED)
                    continue
                others = [
                    other
                    for other in self.board.live_lanes
                    if (may_return or other is not lane) and self.room_in(other) > 0
                ]
                known = self.held.pop(delivery.key, None)
                if self._place(delivery, others):
                    lane.set_state(number, State.MOVED)
                    self._keys.pop((lane.index, number), None)
                elif known:
                    self.held[delivery.key] = known
                    return

    def delivery(self, lane: Lane, number: int) -> Delivery:
        return lane.delivery(number)._replace(receipt=lane.receipt(number))

    def forget(self, lane: Lane, number: int, state: State) -> None:
        """Say that a claim is no longer ours."""
        with self.lock:
            key = self._keys.pop((lane.index, number), None)
            if key is not None and self.held.get(key) == (lane, number):
                del self.held[key]
            lane.set_state(number, state)


def is_suspect(delivery: Delivery) -> bool:
    """Has it been tried before, and may have ended its worker or its cluster then?"""
    return bool(delivery.lapses or delivery.attempts)


class Pace:
    """How long the packages of a lane take, as measured lately."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._seen = (lane.done, lane.busy)
        self._mean: float | None = None

    def ahead(self) -> int:
        """How many packages the lane may be given ahead; 0 while its tasks are not short."""
        lane = self._lane
        done, busy = lane.done, lane.busy
        if done > self._seen[0]:
            self._mean = (busy - self._seen[1]) / (done - self._seen[0]) / clock.NANOSECONDS
            self._seen = (done, busy)
        if lane.started > done and clock.seconds_until(lane.started_at) < -SHORT_SECONDS:
            return 0
        if self._mean is None or self._mean >= SHORT_SECONDS:
            return 0
        return min(AHEAD_MOST, int(AHEAD_SECONDS / max(self._mean, 1e-6)))
