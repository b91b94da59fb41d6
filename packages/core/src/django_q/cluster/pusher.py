"""Pulls packages from the broker and hands them to the workers.

A second thread, the keeper, does everything that uses receipts afterwards.
"""

from __future__ import annotations

import logging
import os
from functools import partial

from django_q.brokers.base import Delivery
from django_q.cluster import clock
from django_q.cluster.crew import Crew, join_crew
from django_q.cluster.dealer import Dealer
from django_q.cluster.keeper import Keeper, give_back
from django_q.cluster.patience import Outage, Patience
from django_q.errors import ConfigurationError

logger = logging.getLogger("django-q")

IN_HAND_SECONDS = 1.0
"""How long packages wait for room in a lane before they are given back."""


class Pusher:
    """The pusher process."""

    def __init__(self, name: str, crew: Crew) -> None:
        self.name = name
        self.crew = crew
        self.board = crew.board
        self.bell = crew.board.pusher_bell
        self.dealer = Dealer(crew.board, crew.settings, crew.broker_class)
        self.keeper = Keeper(crew, self.dealer)
        self.patience = Patience(Outage.of_queue(crew), wait=self.pause, give_up=self.gives_up)
        self.born = clock.now()
        self.asked_at = self.born

    def run(self) -> None:
        self.boot()
        while not self.board.stopping:
            room = self.room()
            if room:
                self.push(self.claim(room))
            else:
                self.bell.wait(0.25, self.room)
        logger.info("%s stopped pushing tasks", self.name)
        self.keeper.finish()

    def boot(self) -> None:
        join_crew(self.name, "pusher")
        logger.info("%s pushing tasks at %s", self.name, os.getpid())
        self.dealer.adopt()
        self.patience.call(self.take_broker, None, is_contact=False)
        self.patience.call(self.connect, None)
        self.keeper.start()

    def take_broker(self) -> None:
        self.broker = self.crew.broker()
        self.broker.waker = self.bell.fileno()
        self.patience.outage = Outage.of_broker(self.crew, self.broker)

    def connect(self) -> None:
        """Reach the broker once; before that has worked the cluster may still give up, at once
        where the settings are wrong, such as credentials that the server refuses."""
        try:
            if not self.broker.ping():
                raise ConnectionError("it does not answer")
        except ConfigurationError as error:
            if not self.board.connected:
                self.fail("The broker of %s cannot be used: %s", self.crew.list_key, error)
            raise
        self.board.connected = 1

    # Claiming

    def room(self) -> int:
        """How many packages to claim; none before an outage's end has seen all leases renewed."""
        return 0 if self.keeper.is_away or self.board.failed else self.dealer.room()

    def claim(self, room: int) -> list[Delivery]:
        # Not asleep as far as workers can see: only a shout, at a stop, ends the claim early.
        self.bell.silence()
        none: list[Delivery] = []
        deliveries = self.patience.call(lambda: self.ask(room), none)
        self.note_emptiness(deliveries)
        return deliveries

    def ask(self, room: int) -> list[Delivery]:
        self.asked_at = clock.now()
        return self.broker.claim(room, self.crew.settings.retry)

    def push(self, deliveries: list[Delivery]) -> None:
        """Hand packages to the workers; what comes too late or finds no lane goes back."""
        may_deal = partial(self.may_deal, clock.after(IN_HAND_SECONDS))
        while deliveries and not self.board.stopping and may_deal():
            deliveries = self.dealer.deal(deliveries, may_deal)
            if deliveries:
                self.bell.wait(0.05)
        if deliveries:
            self.give_back(deliveries)

    def may_deal(self, until: int) -> bool:
        """May what is in hand still be dealt out? Nobody renews its lease, and others want work.

        After a halt of this process its lease may be over, and another cluster have begun it.
        """
        if not self.broker.supports_release:
            return True
        fresh_until = self.asked_at + int(self.crew.settings.retry * clock.NANOSECONDS * 2 / 3)
        return clock.now() < min(until, fresh_until)

    def give_back(self, deliveries: list[Delivery]) -> None:
        """Return packages to the broker; those without a receipt one by one, so none twice."""
        batches = [deliveries] if self.broker.supports_release else [[one] for one in deliveries]
        for batch in batches:
            self.patience.call(partial(give_back, self.broker, batch), None)

    def note_emptiness(self, deliveries: list[Delivery]) -> None:
        """Count claims in a row that found nothing to do, for `--run-once`."""
        if deliveries or not self.board.is_empty:
            self.board.empty_claims = 0
        else:
            self.board.empty_claims += 1
            if self.board.empty_claims == 1:
                self.board.main_bell.shout()

    # Outages

    def pause(self, seconds: float) -> None:
        self.bell.wait(seconds, lambda: self.board.stopping)

    def gives_up(self) -> bool:
        if self.board.stopping or self.board.failed:
            return True
        waited = (clock.now() - self.born) / clock.NANOSECONDS
        if not self.board.connected and waited > self.crew.settings.connect_timeout:
            self.fail(
                "The broker of %s was not reached within %s seconds (connect_timeout)",
                self.crew.list_key,
                self.crew.settings.connect_timeout,
            )
            return True
        return False

    def fail(self, reason: str, *arguments: object) -> None:
        """End the cluster, which has not begun to work."""
        logger.critical(reason, *arguments)
        self.board.failed = 1
        self.board.main_bell.shout()
