"""The MongoDB broker: packages in a collection, and leases on those that are claimed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import ReadPreference
from pymongo.errors import ConnectionFailure, InvalidName
from pymongo.read_concern import ReadConcern

from django_q.brokers.base import IDLE_SECONDS, Broker, Delivery, Package, Receipt
from django_q.conf import Settings, get_settings
from django_q.errors import ConfigurationError, TaskRefused
from django_q_broker_mongo import server
from django_q_broker_mongo.connection import (
    client_of,
    connect,
    database_of,
    mistakes,
)
from django_q_broker_mongo.documents import LeasedDocuments, key_of
from django_q_broker_mongo.errors import explained
from django_q_broker_mongo.waiting import SLICE_SECONDS, Waiter, Woken

LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
CHECK_MS = 1000
INDEX_SECONDS = 60.0
"""How often an idle cluster makes sure of the index: the collection may have been dropped."""

LARGEST_DOCUMENT = 16 * 1024 * 1024


class Mongo(Broker):
    """A queue is the collection of its name, as in Django Q and Django Q2."""

    supports_receipts = True
    supports_bulk = True
    supports_lease_renewal = True
    supports_release = True
    supports_delay = True
    supports_priority = True
    max_package_bytes = LARGEST_DOCUMENT - 4096
    """A document has at most 16 MB, and its other fields need some of them."""
    counts_lapses = True
    counts_attempts = True
    retries_failures = True
    keeps_stats = False

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._set_up()

    def __setstate__(self, state: tuple[str, str | None]) -> None:
        super().__setstate__(state)
        self._set_up()

    def _set_up(self) -> None:
        self.collection = self.get_collection()
        self._documents = LeasedDocuments(self.collection, get_settings().retry)
        self._waiter = Waiter(self.collection)
        self._clock = server.ServerClock(self.connection)
        self._is_back_from_outage = False
        self._lapsed_from = self._indexed_at = float("-inf")

    def switch_queue(self) -> None:
        self._waiter.close()
        super().switch_queue()
        self._set_up()

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """The client of this process for this server, one for all brokers and threads."""
        with explained():
            return client_of(get_settings())

    def get_collection(self) -> Any:
        """The collection of this queue; what a queue cannot work with in the site's options of a
        connection, such as reading from secondaries, is as it must be."""
        database = self.connection[database_of(self.connection, get_settings())]
        try:
            return database.get_collection(
                self.list_key,
                codec_options=CodecOptions(tz_aware=True),
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern("local"),
            )
        except InvalidName as error:
            raise ConfigurationError(
                f"A queue in MongoDB is a collection, which cannot be called {self.list_key!r}: "
                f"{error}. Change Q_CLUSTER['name']."
            ) from None

    def key_of(self, receipt: Receipt) -> str:
        return super().key_of(None) if receipt is None else key_of(receipt)

    # Putting in

    def enqueue(
        self,
        package: Package,
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> Any:
        return self._put([package], priority, available_at)[0]

    def enqueue_many(
        self,
        packages: list[Package],
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> list[Any]:
        return self._put(packages, priority, available_at)

    def _put(
        self, packages: list[Package], priority: int | None, available_at: datetime | None
    ) -> list[Any]:
        if not packages:
            return []
        for package in packages:
            self.refuse_unsupported(package, priority=priority, available_at=available_at)
        _refuse_priority(priority)
        with self._server():
            return self._documents.put(packages, priority or 0, available_at)

    # Taking out

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        with self._server():
            return self._claim(limit, lease)

    def dequeue(self) -> list[tuple[Any, Package]] | None:
        settings = get_settings()
        with self._server():
            claimed = self._claim(settings.bulk or 1, settings.retry)
        return [(one.receipt, one.package) for one in claimed] or None

    def _claim(self, limit: int, lease: float) -> list[Delivery]:
        deadline = time.monotonic() + IDLE_SECONDS
        while not (found := self._take(limit, lease)):
            self._keep_index()
            if self._waiter.open():
                continue
            if self._wait(deadline) is not Woken.BY_WORK:
                return []
        self._waiter.rest()
        return found

    def _wait(self, deadline: float) -> Woken:
        """Wait until there is a reason to look: work, or the end of a delay or of a lease."""
        look_at = self._look_at(deadline)
        poll = get_settings().poll
        while True:
            left = max(look_at - time.monotonic(), 0)
            woken = self._waiter.wait(left, poll, self.pause)
            if woken is Woken.BY_WAKER:
                return woken
            if time.monotonic() >= deadline:
                # What rang is there for the next claim, which begins with a look.
                return Woken.BY_TIME
            if woken is Woken.BY_WORK:
                return woken

    def _look_at(self, deadline: float) -> float:
        if not self._waiter.hears:
            return deadline
        due = self._documents.seconds_until_due(self._clock.now())
        due_at = float("inf") if due is None else time.monotonic() + due
        # Rather a little late than deaf at the end: the last question to the stream takes its time.
        return due_at if due_at < deadline else deadline + SLICE_SECONDS

    def _take(self, limit: int, lease: float) -> list[Delivery]:
        now = self._clock.now()
        return self._documents.take(limit, lease, now, self._takes_lapsed(lease))

    def _takes_lapsed(self, lease: float) -> bool:
        """After an outage leases have ended that nobody could renew: leave their holders the time
        for it that a living cluster needs."""
        if self._is_back_from_outage:
            self._is_back_from_outage = False
            self._lapsed_from = time.monotonic() + lease / 3
        return time.monotonic() >= self._lapsed_from

    def _keep_index(self) -> None:
        if time.monotonic() - self._indexed_at >= INDEX_SECONDS:
            self._documents.make_index()
            self._indexed_at = time.monotonic()

    # Settling

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        held = [each for each in receipts if each is not None]
        if not held:
            return []
        with self._server():
            return self._documents.acknowledge(held)

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        if not receipts:
            return {}
        with self._server():
            lost = set(self._documents.extend(receipts, seconds))
        return {receipt: None if receipt in lost else receipt for receipt in receipts}

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        if not receipts:
            return []
        with self._server():
            return self._documents.release(receipts, delay, count)

    def acknowledge(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def fail(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def delete(self, receipt: Receipt) -> Any:
        """Forget what a receipt holds."""
        if receipt is not None:
            with self._server():
                self._documents.acknowledge([receipt])

    # The queue as a whole

    def queue_size(self) -> int:
        """Packages that can be claimed now."""
        with self._server():
            return self._documents.count_waiting(self._clock.now())

    def lock_size(self) -> int:
        """Packages that are claimed, or delayed."""
        with self._server():
            return self._documents.count_locked(self._clock.now())

    def purge_queue(self) -> Any:
        """Empty the queue; its index stays."""
        with self._server():
            self.collection.delete_many({})

    def delete_queue(self) -> Any:
        with self._server():
            self.collection.drop()
            self._indexed_at = float("-inf")

    # The server

    def ping(self) -> bool:
        """Does the server answer, and let us read the queue? Raises MongoUnavailable or
        MongoRefused where it does not."""
        with self._server():
            self.collection.find_one({"_id": None}, {"_id": True})
            return True

    def info(self) -> str:
        """Name and version of the server, and how many of its members have what it says yes to."""
        if not self._info:
            with self._server():
                self._info = server.title(self.connection, self._write_concern())
        return self._info

    def _write_concern(self) -> Any:
        return self.collection.write_concern.document

    @classmethod
    def problems(cls, settings: Settings) -> Iterator[str]:
        yield from mistakes(settings)

    def warnings(self) -> Iterator[str]:
        with explained():
            client = connect(get_settings(), patience_ms=CHECK_MS)
            try:
                yield from server.warnings(client, self._write_concern())
            finally:
                client.close()

    def close(self) -> None:
        """Close the stream; the client is the process's, and its idle connections are few."""
        self._waiter.close()

    @contextmanager
    def _server(self) -> Iterator[None]:
        """Use the server; an outage is one error, and what it may have spoilt is opened again."""
        try:
            with explained():
                yield
        except ConnectionFailure:
            self._is_back_from_outage = True
            self._clock.forget()
            self._waiter.close()
            raise


def _refuse_priority(priority: int | None) -> None:
    if priority is not None and not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise TaskRefused(
            f"priority must be from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, not {priority!r}."
        )
