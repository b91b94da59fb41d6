"""The IronMQ broker: messages that are reserved, touched, released and deleted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django_q.brokers.base import IDLE_SECONDS, Broker, Delivery, Package, Receipt
from django_q.conf import Conf, Settings, get_settings
from django_q.errors import EnqueueError
from django_q_broker_ironmq.connection import describe, mistakes, queue_of
from django_q_broker_ironmq.errors import NOT_FOUND, IronMQRefuses, explained
from django_q_broker_ironmq.reservations import (
    AT_ONCE,
    Reservation,
    outcomes,
    portions,
    refused,
    renewed,
)

SHORTEST_LEASE, LONGEST_LEASE = 30, 86_400
LONGEST_DELAY = 604_800

POST_BYTES = 64_000
"""How much one request puts in, unless it is one package alone; IronMQ's smallest limit."""


class IronMQBroker(Broker):
    """The queue NAME is the queue of that name in IronMQ, of nothing but signed packages."""

    supports_receipts = True
    supports_bulk = True
    supports_lease_renewal = True
    supports_release = True
    supports_delay = True
    max_delay = LONGEST_DELAY
    counts_lapses = True
    retries_failures = True

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """The library's object of the queue; all of a process share its connections."""
        return queue_of(get_settings(), list_key or Conf.CLUSTER_NAME)

    def key_of(self, receipt: Receipt) -> str:
        return Reservation.of(receipt).id

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
        for package in packages:
            self.refuse_unsupported(package, available_at=available_at, **options)
        delay = _seconds_until(available_at)
        messages = [{"body": _text(package), "delay": delay} for package in packages]
        ids: list[Any] = []
        for some in portions(messages, _size, POST_BYTES):
            try:
                ids += self._ask("ids", self.connection.post, *some)
            except Exception as error:
                if not ids:
                    raise
                message = f"{len(ids)} of {len(packages)} packages were accepted: {error}"
                raise EnqueueError(message, ids) from error
        return ids

    # Taking out

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        return self._claim(limit, lease)

    def dequeue(self) -> list[tuple[Any, Package]] | None:
        settings = get_settings()
        claimed = self._claim(settings.bulk or 1, settings.retry)
        return [(one.receipt, one.package) for one in claimed] or None

    def _claim(self, limit: int, lease: float) -> list[Delivery]:
        """Wait at the server, which cannot be woken by us: a stop may take that second."""
        deadline = time.monotonic() + IDLE_SECONDS
        is_rung = self.waker is not None and self.pause(0)
        reserve = partial(
            self.connection.reserve,
            max=min(limit, AT_ONCE),
            timeout=_lease(lease),
            wait=0 if is_rung else int(IDLE_SECONDS),
        )
        try:
            messages = self._ask("messages", reserve)
        except IronMQRefuses as refusal:
            if refusal.status != NOT_FOUND:
                raise
            # Only a post makes the queue by itself, and nobody can wait at one that is not there.
            self._ask("name", self.connection.create)
            messages = self._ask("messages", reserve)
        if not (messages or is_rung) and (left := deadline - time.monotonic()) > 0:
            self.pause(min(left, get_settings().poll))
        return [_delivery(message) for message in messages]

    # Settling

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        lost: list[Receipt] = []
        given = [receipt for receipt in receipts if receipt is not None]
        for some in portions(given):
            lost += self._delete_many(some)
        return lost

    def _delete_many(self, receipts: list[Receipt]) -> list[Receipt]:
        """All in one request; where IronMQ refuses that, each by itself, to learn which it is."""
        claims = [Reservation.of(receipt) for receipt in receipts]
        if len(claims) > 1 and all(claim.reservation_id for claim in claims):
            messages = {"messages": [claim._asdict() for claim in claims]}
            try:
                self._ask("msg", self.connection.delete_multiple, messages=messages)
                return []
            except IronMQRefuses:
                pass
        return refused(receipts, outcomes(self._delete, receipts))

    def _delete(self, receipt: Receipt) -> None:
        self._ask("msg", self.connection.delete, *Reservation.of(receipt))

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        return renewed(receipts, outcomes(partial(self._touch, seconds=_lease(seconds)), receipts))

    def _touch(self, receipt: Receipt, seconds: int) -> Receipt:
        claim = Reservation.of(receipt)
        new = self._ask("reservation_id", self.connection.touch, *claim, timeout=seconds)
        return claim._replace(reservation_id=str(new)).receipt

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        seconds = min(math.ceil(max(delay, 0)), LONGEST_DELAY)
        return refused(receipts, outcomes(partial(self._release, seconds=seconds), receipts))

    def _release(self, receipt: Receipt, seconds: int) -> None:
        self._ask("msg", self.connection.release, *Reservation.of(receipt), delay=seconds)

    def acknowledge(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def fail(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def delete(self, receipt: Receipt) -> Any:
        """Remove what a receipt holds, or a message that nobody has reserved by its bare id."""
        if receipt is not None:
            refused([receipt], outcomes(self._delete, [receipt]))

    # The queue as a whole

    def queue_size(self) -> int:
        """What IronMQ calls the size of the queue."""
        return int(self._of_queue("size", self.connection.info) or 0)

    def purge_queue(self) -> Any:
        self._of_queue("msg", self.connection.clear)

    def delete_queue(self) -> Any:
        self._of_queue("msg", self.connection.delete_queue)

    # The server

    def ping(self) -> bool:
        """Does IronMQ answer, and take our credentials? Raises where it does not."""
        self._of_queue("name", self.connection.info)
        return True

    def info(self) -> str:
        """Name and place of the server, which does not tell its version."""
        client = self.connection.client
        return f"IronMQ v{client.api_version} at {client.host}"

    @classmethod
    def problems(cls, settings: Settings) -> Iterator[str]:
        yield from mistakes(settings)

    def warnings(self) -> Iterator[str]:
        seconds = get_settings().retry
        if seconds < SHORTEST_LEASE:
            yield (
                f'Q_CLUSTER["retry"] is {seconds:g}, and IronMQ reserves for {SHORTEST_LEASE} '
                "seconds at least: what a cluster holds when it dies comes back after those."
            )
        kind = self._of_queue("type", self.connection.info)
        if kind not in {None, "pull"}:
            yield (
                f"The queue {self.list_key!r} in IronMQ is of type {kind!r}: it pushes tasks to "
                "its subscribers, and clusters get none. Delete it, and it is made anew."
            )

    def close(self) -> None:
        self.connection.client.close()

    def _of_queue(self, field: str, call: Callable[..., Any]) -> Any:
        """The same, or None where there is no such queue yet."""
        try:
            return self._ask(field, call)
        except IronMQRefuses as refusal:
            if refusal.status != NOT_FOUND:
                raise
            return None

    def _ask(self, field: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """One field of what the library answers."""
        with explained(describe(self.connection.client)):
            return call(*arguments, **options)[field]


def _delivery(message: dict[str, Any]) -> Delivery:
    claim = Reservation(str(message["id"]), message["reservation_id"])
    # IronMQ counts reservations: those that were released too, so that this is an upper bound.
    lapses = max(int(message.get("reserved_count", 1)) - 1, 0)
    return Delivery(claim.id, claim.receipt, message["body"], lapses)


def _lease(seconds: float) -> int:
    return min(max(math.ceil(seconds), SHORTEST_LEASE), LONGEST_LEASE)


def _seconds_until(available_at: datetime | None) -> int:
    if available_at is None:
        return 0
    return max(math.ceil((available_at - datetime.now(UTC)).total_seconds()), 0)


def _text(package: Package) -> str:
    return package if isinstance(package, str) else package.decode()


def _size(message: dict[str, Any]) -> int:
    return len(message["body"].encode())
