"""The Amazon SQS broker: packages as messages, whose visibility is the lease."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django_q.brokers.base import IDLE_SECONDS, Broker, Delivery, Package, Receipt
from django_q.conf import Settings, get_settings
from django_q.errors import ConfigurationError, UnsupportedByBroker
from django_q_broker_sqs import clock, receipts
from django_q_broker_sqs.connection import mistakes, name_mistakes, options_of
from django_q_broker_sqs.messages import DUE_BYTES, HIDDEN_SECONDS, Message, entry, text_of
from django_q_broker_sqs.process import Account, account_of
from django_q_broker_sqs.queue import RETENTION_SECONDS, Queue
from django_q_broker_sqs.receipts import Claim

logger = logging.getLogger("django-q")

WORKING_SECONDS = 3600
"""What is left of a message's time at least when it is due: after that SQS forgets it."""


class AskedOf:
    """A capability that a setting or the queue decides, asked of a class or an object."""

    def __init__(self, ask: Callable[[Any], Any]) -> None:
        self._ask = ask

    def __get__(self, broker: Any, owner: type) -> Any:
        return self._ask(broker)


def asked_of(ask: Callable[[Any], Any]) -> Any:
    """A class attribute that is a number to all who read it."""
    return AskedOf(ask)


def _package_bytes(broker: Sqs | None) -> int:
    return options_of(get_settings()).package_bytes if broker is None else broker.package_bytes


def _longest_delay(broker: Sqs | None) -> int:
    retention = RETENTION_SECONDS if broker is None else broker.queue.retention()
    return max(retention - WORKING_SECONDS, 0)


class Sqs(Broker):
    """The queue is that of Django Q2: of the cluster's name, with signed packages as bodies."""

    supports_receipts = True
    supports_bulk = True
    supports_lease_renewal = True
    supports_release = True
    supports_delay = True
    max_delay = asked_of(_longest_delay)
    max_package_bytes = asked_of(_package_bytes)
    counts_lapses = True
    retries_failures = True

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._set_up()

    def __setstate__(self, state: tuple[str, str | None]) -> None:
        super().__setstate__(state)
        self._set_up()

    def switch_queue(self) -> None:
        super().switch_queue()
        self._set_up()

    def _set_up(self) -> None:
        for sentence in name_mistakes(self.list_key):
            raise ConfigurationError(sentence)
        self._settings = get_settings()
        self._queue = Queue(self._account(), self.list_key)
        self._pid = os.getpid()
        self._given_back: dict[str, Claim] = {}

    def _account(self) -> Account:
        return account_of(self._settings)

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """The client of boto3, one for all brokers of a process."""
        return account_of(get_settings()).client

    @property
    def queue(self) -> Queue:
        """The queue, over connections of this process."""
        if self._pid != os.getpid():
            account = self._account()
            self.connection, self._pid = account.client, os.getpid()
            self._queue = Queue(account, self.list_key)
        return self._queue

    @property
    def package_bytes(self) -> int:
        """How large a package may be."""
        return options_of(self._settings).package_bytes

    def key_of(self, receipt: Receipt) -> str:
        return super().key_of(None) if receipt is None else receipts.read(receipt).key

    # Putting in

    def enqueue(
        self, package: Package, *, available_at: datetime | None = None, **options: Any
    ) -> Any:
        return self._put([package], available_at, options)[0]

    def enqueue_many(
        self, packages: list[Package], *, available_at: datetime | None = None, **options: Any
    ) -> list[Any]:
        return self._put(packages, available_at, options)

    def _put(
        self, packages: list[Package], available_at: datetime | None, options: dict[str, Any]
    ) -> list[Any]:
        due = available_at.timestamp() if available_at else 0.0
        delay = max(due - clock.time_of_day(), 0.0)
        texts = [self._taken(package, delay, available_at, options) for package in packages]
        queue = self.queue
        entries = [entry(text, delay, due, queue.is_fifo) for text in texts]
        return [*queue.send(entries, self.package_bytes)] if entries else []

    def _taken(
        self,
        package: Package,
        delay: float,
        available_at: datetime | None,
        options: dict[str, Any],
    ) -> str:
        """The package as text, unless it asks for more than there is."""
        self.refuse_unsupported(package, available_at=available_at, **options)
        text = text_of(package)
        limit = self.package_bytes - DUE_BYTES
        if delay and len(text.encode()) > limit:
            raise UnsupportedByBroker(
                f"Sqs takes delayed packages of at most {limit} bytes; this one has "
                f"{len(text.encode())}. Pass a reference to the data instead of the data."
            )
        return text

    # Taking out

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        return self._claim(limit, lease, 1)

    def dequeue(self) -> list[tuple[Any, Package]] | None:
        settings = get_settings()
        longest = options_of(self._settings).wait_seconds
        claimed = self._claim(min(settings.bulk or 1, 10), settings.retry, longest)
        return [(one.receipt, one.package) for one in claimed] or None

    def _claim(self, limit: int, lease: float, longest_wait: int) -> list[Delivery]:
        """Long polling, which costs one call a second; what is not due yet is hidden again."""
        wait_seconds = min(options_of(self._settings).wait_seconds, longest_wait)
        idle_until = time.monotonic() + max(IDLE_SECONDS, wait_seconds)
        while True:
            is_rung = self.waker is not None and self.pause(0)
            began = clock.since_boot()
            found = self.queue.receive(limit, lease, 0 if is_rung else wait_seconds)
            deliveries = self._delivered(self._due(found), began, lease)
            left = idle_until - time.monotonic()
            if deliveries or left <= 0 or (is_rung and not found):
                return deliveries
            if found:
                continue  # what is due may be behind what was not
            if not wait_seconds and self.pause(min(get_settings().poll, left)):
                return []

    def _due(self, found: list[Message]) -> list[Message]:
        """Those that are due; the others are hidden until they are, or for twelve hours."""
        now = clock.time_of_day()
        early = [
            (each.handle, min(each.due - now, HIDDEN_SECONDS))
            for each in found
            if each.due is not None and each.due > now
        ]
        if early:
            self.queue.hide(early)
        return [each for each in found if each.due is None or each.due <= now]

    def _delivered(self, found: list[Message], began: float, lease: float) -> list[Delivery]:
        deliveries = []
        for each in found:
            self._say_if_last(each)
            receipt = receipts.claimed(each.key, each.handle, began, lease).receipt()
            deliveries.append(Delivery(each.key, receipt, each.body, each.lapses))
        return deliveries

    def _say_if_last(self, found: Message) -> None:
        """Leave a trace of what SQS moves to a dead-letter queue unless it ends this time."""
        redrive = self.queue.redrive() if found.receives > 1 else None
        if redrive is not None and found.receives >= redrive[0]:
            logger.warning(
                "Message %s of the queue %r was received %s times: unless it ends now, it goes to "
                "the dead-letter queue %r",
                *(found.key, self.list_key, found.receives, redrive[1]),
            )

    # Settling

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        held = self._held(receipts)
        refused = self.queue.remove([claim.handle for claim in held.values()])
        return [each for each in receipts if each not in held or held[each].handle in refused]

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        began = clock.since_boot()
        held = {
            receipt: (claim, min(seconds, claim.renewable_seconds))
            for receipt, claim in self._held(receipts).items()
            if claim.renewable_seconds > 0
        }
        refused = self.queue.hide([(claim.handle, length) for claim, length in held.values()])
        renewed: dict[Receipt, Receipt | None] = dict.fromkeys(receipts)
        for receipt, (claim, length) in held.items():
            if claim.handle not in refused:
                renewed[receipt] = claim.renewed(began, length).receipt()
        return renewed

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        held = self._held(receipts)
        refused = self.queue.hide(
            [(each.handle, min(delay, each.renewable_seconds)) for each in held.values()]
        )
        self._remember(claim for claim in held.values() if claim.handle not in refused)
        return [each for each in receipts if each not in held or held[each].handle in refused]

    def _held(self, given: list[Receipt]) -> dict[Receipt, Claim]:
        """The claims that these receipts still hold, as far as this process can know."""
        claims = {each: receipts.read(each) for each in given if each is not None}
        return {
            receipt: claim
            for receipt, claim in claims.items()
            if not claim.is_over and claim.handle not in self._given_back
        }

    def _remember(self, claims: Iterator[Claim]) -> None:
        """Receipts of what was given back are void, though SQS would still take them."""
        living = {key: each for key, each in self._given_back.items() if not each.is_over}
        self._given_back = living | {claim.handle: claim for claim in claims}

    def acknowledge(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def fail(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def delete(self, receipt: Receipt) -> Any:
        """Remove the message that a receipt holds."""
        self.queue.remove([claim.handle for claim in self._held([receipt]).values()])

    # The queue as a whole

    def queue_size(self) -> int:
        """Messages that can be claimed now; SQS says how many there are about."""
        return self.queue.sizes()[0]

    def lock_size(self) -> int:
        """Messages that are claimed, or delayed."""
        return self.queue.sizes()[1]

    def purge_queue(self) -> Any:
        self.queue.purge()

    def delete_queue(self) -> Any:
        self.queue.delete()

    # The server

    def ping(self) -> bool:
        """May the queue be used? Makes it where it is not there."""
        return bool(self.queue.ask(["QueueArn"]))

    def info(self) -> str:
        return self._account().where

    @classmethod
    def problems(cls, settings: Settings) -> Iterator[str]:
        yield from mistakes(settings)
        yield from name_mistakes(settings.cluster_name)

    def warnings(self) -> Iterator[str]:
        """What of the queue's own settings may cost tasks."""
        self.queue.forget()
        attributes = self.queue.attributes()
        size = int(attributes.get("MaximumMessageSize", self.package_bytes))
        if size < self.package_bytes:
            yield (
                f"The queue {self.list_key!r} takes messages of {size} bytes, fewer than the "
                f"{self.package_bytes} that Q_CLUSTER allows. Raise its MaximumMessageSize, or "
                'set Q_CLUSTER["sqs"]["max_package_bytes"].'
            )
        redrive = self.queue.redrive()
        most = get_settings().max_lapses
        if redrive is not None and redrive[0] <= most:
            yield (
                f"The queue {self.list_key!r} moves what was received {redrive[0]} times to "
                f"{redrive[1]!r}, before a task that ended none of them is recorded as failed: "
                f"that takes {most} (max_lapses). Set maxReceiveCount to {most + 1} or more."
            )
