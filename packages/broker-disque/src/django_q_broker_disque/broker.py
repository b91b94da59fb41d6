"""The Disque broker: jobs that come back after `retry` seconds unless they are acknowledged."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django_q.brokers.base import IDLE_SECONDS, Broker, Delivery, Package, Receipt
from django_q.conf import Settings, get_settings
from django_q.errors import EnqueueError
from django_q_broker_disque import jobs
from django_q_broker_disque.connection import Node, Nodes, mistakes, nodes_of
from django_q_broker_disque.errors import is_outage
from django_q_broker_disque.jobs import Content, Standing

logger = logging.getLogger("django-q")


class Disque(Broker):
    """The queue is Disque's queue of that name, of nothing but the signed packages.

    Disque fixes the time after which a job comes back when it is enqueued: a lease is the `retry`
    of whoever enqueued the package, whatever `claim` and `extend` ask for.
    """

    supports_receipts = True
    supports_bulk = True
    supports_lease_renewal = True
    supports_release = True
    supports_delay = True
    max_delay = float(jobs.LONGEST_DELAY)
    counts_lapses = True
    counts_attempts = True
    retries_failures = True

    connection: Nodes
    _has_warned = False

    @staticmethod
    def get_connection(list_key: str | None = None) -> Nodes:
        """The nodes of this process, for all brokers while the settings stay the same."""
        return nodes_of(get_settings())

    def key_of(self, receipt: Receipt) -> str:
        return super().key_of(None) if receipt is None else jobs.Receipt.of(receipt).key

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
    ) -> list[str]:
        if packages:
            self.refuse_unsupported(packages[0], available_at=available_at, **options)
        ids: list[str] = []
        for some in jobs.portions(packages):
            try:
                self._add(some, _seconds_until(available_at), ids)
            except Exception as error:
                if not ids:
                    raise
                message = f"{len(ids)} of {len(packages)} packages were accepted: {error}"
                raise EnqueueError(message, [*ids]) from error
        return ids

    def _add(self, packages: Sequence[Package], delay: int, ids: list[str]) -> None:
        """Put packages in and note the names of those that were taken."""

        def add(node: Node) -> None:
            answers = jobs.add(node, self.list_key, packages, retry_seconds(), delay)
            ids.extend(each for each in answers if isinstance(each, str))
            for each in answers:
                if isinstance(each, Exception):
                    raise each

        # Whether a node that fails meanwhile has the packages, nobody can say.
        self.connection.call(add, may_repeat=False)

    # Taking out

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        return self._claim(limit, lease)

    def dequeue(self) -> list[tuple[Any, Package]] | None:
        settings = get_settings()
        claimed = self._claim(settings.bulk or 1, settings.retry)
        return [(one.receipt, one.package) for one in claimed] or None

    def _claim(self, limit: int, lease: float) -> list[Delivery]:
        """Wait in GETJOB, which takes what comes, and so in short waits where a waker may ring: a
        call that was given up would keep the package that it is given meanwhile."""
        deadline = time.monotonic() + IDLE_SECONDS
        while True:
            left = deadline - time.monotonic()
            longest = left if self.waker is None else min(left, max(get_settings().poll, 0.01))
            rings = self.waker is not None and self.pause(0)
            wait_ms = 0 if rings else math.ceil(longest * 1000)
            found = self.connection.call(partial(self._take, limit, lease, wait_ms))
            if found or rings or left <= 0:
                return found

    def _take(self, limit: int, lease: float, wait_ms: int, node: Node) -> list[Delivery]:
        taken = jobs.take(node, self.list_key, limit, wait_ms)
        if not taken:
            return []
        try:
            taken, shortest = jobs.hold(node, taken)
        except Exception as error:
            if not is_outage(error):
                raise
            # They are claimed all the same, for less than a whole lease.
        else:
            self._warn_of(shortest, lease)
        return [_delivery(*one) for one in taken]

    def _warn_of(self, shortest: int | None, lease: float) -> None:
        """A lease that ends before it is renewed lets long tasks run twice."""
        if not self._has_warned and shortest and shortest <= lease / 3:
            self._has_warned = True
            logger.warning(
                "%s has packages that come back after %s seconds, the retry of who enqueued them, "
                "and retry is %s here: set the same retry everywhere, or long tasks run twice",
                self.list_key,
                shortest,
                lease,
            )

    # Settling

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        return self._settle([each for each in receipts if each is not None])

    def acknowledge(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def fail(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def delete(self, receipt: Receipt) -> Any:
        """Forget what a receipt holds. DELJOB would forget it at one node alone."""
        if receipt is not None:
            self._settle([receipt])

    def _settle(self, receipts: list[Receipt]) -> list[Receipt]:
        def settle(node: Node) -> list[Receipt]:
            held, lost = self._sorted(node, receipts)
            is_fast = get_settings().broker_options.get("disque_fastack")
            jobs.tell(node, "FASTACK" if is_fast else "ACKJOB", [each.job for each, _job in held])
            return lost

        return self.connection.call(settle) if receipts else []

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        if not receipts:
            return {}
        claims = [jobs.Receipt.of(each) for each in receipts]
        renewed = self.connection.call(lambda node: jobs.postpone(node, claims))
        return {
            old: None if new is None else str(new)
            for old, new in zip(receipts, renewed, strict=True)
        }

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        def release(node: Node) -> list[Receipt]:
            held, lost = self._sorted(node, receipts)
            if delay > 0 or count:
                self._add_again(node, held, delay, count)
            else:
                # What is late is in the queue again as it is.
                still = [each.job for each, job in held if job.standing is Standing.HELD]
                jobs.tell(node, "NACK", still)
            return lost

        return self.connection.call(release) if receipts else []

    def _add_again(
        self, node: Node, held: list[tuple[jobs.Receipt, jobs.Job]], delay: float, count: bool
    ) -> None:
        """Put in anew what Disque cannot give back with a delay or a count, and only then
        acknowledge: a death in between leaves two and never none."""
        known = [(each, job.content) for each, job in held if job.standing is not Standing.UNKNOWN]
        bodies = [
            content._replace(attempts=content.attempts + count).again() for _each, content in known
        ]
        answers = jobs.add(node, self.list_key, bodies, retry_seconds(), math.ceil(max(delay, 0)))
        taken = zip(known, answers, strict=True)
        jobs.tell(node, "ACKJOB", [each.job for (each, _), name in taken if isinstance(name, str)])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer

    def _sorted(
        self, node: Node, receipts: list[Receipt]
    ) -> tuple[list[tuple[jobs.Receipt, jobs.Job]], list[Receipt]]:
        """The claims that count, and the receipts of those that were superseded."""
        claims = [jobs.Receipt.of(each) for each in receipts]
        shown = jobs.look(node, claims)
        lost = [
            receipt
            for receipt, job in zip(receipts, shown, strict=True)
            if job.standing is Standing.LOST
        ]
        both = zip(claims, shown, strict=True)
        return [one for one in both if one[1].standing is not Standing.LOST], lost

    # The queue as a whole

    def queue_size(self) -> int:
        """Packages that can be claimed now at the node in use."""
        return int(self._ask("QLEN", self.list_key))

    def lock_size(self) -> int:
        """Packages that the node in use knows and that are claimed, delayed, or queued at
        another; it has to go through all its jobs for that."""
        return len(self.connection.call(lambda node: jobs.names(node, self.list_key, "active")))

    def purge_queue(self) -> Any:
        """Delete all jobs of the queue at all nodes that the settings name and that answer."""

        def purge(node: Node) -> None:
            jobs.tell(node, "DELJOB", jobs.names(node, self.list_key))

        self.connection.each(purge)

    def delete_queue(self) -> Any:
        return self.purge_queue()

    # The nodes

    def ping(self) -> bool:
        """Does a node answer? Raises DisqueUnavailable where none does."""
        return bool(self._ask("HELLO"))

    def info(self) -> str:
        """Name and version of the node in use."""
        if not self._info:
            self._info = f"Disque {self._ask('INFO', 'server')['disque_version']}"
        return self._info

    @classmethod
    def problems(cls, settings: Settings) -> Iterator[str]:
        yield from mistakes(settings)

    def close(self) -> None:
        self.connection.close()

    def _ask(self, *command: Any) -> Any:
        return self.connection.call(lambda node: node.client.execute_command(*command))


def retry_seconds() -> int:
    """What Disque is told of a job; 0 would mean that it never comes back."""
    return max(math.ceil(get_settings().retry), 1)


def _seconds_until(available_at: datetime | None) -> int:
    if available_at is None:
        return 0
    return max(math.ceil((available_at - datetime.now(UTC)).total_seconds()), 0)


def _delivery(receipt: jobs.Receipt, content: Content) -> Delivery:
    key, package, lapses, attempts = content
    return Delivery(key, str(receipt), package, lapses, attempts)
