"""The broker contract: every method of 1.x, and the batch-first methods that stand on them.

A broker keeps signed packages in a queue and delivers each to one cluster at a time. The
smallest broker overrides `enqueue`, `dequeue` and, where the server can tell, `acknowledge`;
everything else has a default:

    class ListBroker(Broker):
        def enqueue(self, package, **options):
            return self.connection.push(self.list_key, package)

        def dequeue(self):
            package = self.connection.pop(self.list_key, timeout=1)
            return [(None, package)] if package else None

A broker that says more about itself in its capabilities is used better: `claim` and
`acknowledge_many` work in batches, `extend` keeps the lease of running work, `release` gives
work back. One broker object belongs to one thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import uuid4

from django.core.cache import InvalidCacheBackendError, caches

from django_q.conf import Conf
from django_q.errors import EnqueueError, UnsupportedByBroker

Receipt = Any
"""What a broker hands out with a delivery and wants back: picklable; None without receipts."""

Package = str | bytes
"""A signed task, opaque to brokers."""


class Delivery(NamedTuple):
    """One claimed package."""

    key: str
    """Names the package at the broker; stable over redelivery."""
    receipt: Receipt
    """Names this claim of it; what is acknowledged, extended or released."""
    package: Package
    lapses: int = 0
    """How many earlier claims ended in neither an acknowledgement nor a release."""
    attempts: int = 0
    """How many failed attempts were recorded before (`release(count=True)`)."""


class Broker:
    """The base of every broker, ours and custom ones written for Django Q or Django Q2."""

    supports_receipts: bool = False
    """Does the broker redeliver a package whose receipt was never acknowledged?"""
    supports_bulk: bool = False
    """Does one `claim` bring several packages in one round trip?"""
    supports_lease_renewal: bool = False
    """Can `extend` lengthen the lease of a claimed package?"""
    supports_release: bool = False
    """Can `release` give a claimed package back before its lease ends?"""
    supports_delay: bool = False
    """Can `enqueue(available_at=…)` keep a package back until a time?"""
    max_delay: float | None = None
    """How many seconds at most may `available_at` lie ahead? None: no limit."""
    supports_priority: bool = False
    """Does `enqueue(priority=…)` deliver higher priorities first?"""
    max_package_bytes: int | None = None
    """How large may a package be? None: no limit of the broker's own."""
    is_transactional: bool = False
    """Does an enqueue take effect only when the caller's database transaction commits?"""
    retries_failures: bool = False
    """Is a failed task presented again after `retry` seconds when `max_attempts` is not set?"""
    serves_clusters: bool = True
    """Can other processes reach the queue? (The memory broker's cannot be reached.)"""

    waker: int | None = None
    """A file descriptor that the cluster sets; a blocking `claim` should return when it becomes
    readable, so that a stop need not wait. Brokers may ignore it."""

    list_key: str
    connection: Any
    cache: Any

    def __init__(self, list_key: str | None = None) -> None:
        self.list_key = list_key or Conf.CLUSTER_NAME
        self.connection = self.get_connection(self.list_key)
        self.cache = self.get_cache()
        self._info: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a 1.x override win over an inherited batch method that would bypass it."""
        super().__init_subclass__(**kwargs)
        for single, batch in _BATCH_COUNTERPARTS.items():
            if single in cls.__dict__ and batch not in cls.__dict__:
                setattr(cls, batch, Broker.__dict__[batch])

    def __getstate__(self) -> tuple[str, str | None]:
        return self.list_key, self._info

    def __setstate__(self, state: tuple[str, str | None]) -> None:
        self.list_key, self._info = state
        self.connection = self.get_connection(self.list_key)
        self.cache = self.get_cache()

    # The 1.x surface, one package at a time

    def enqueue(self, package: Package, **options: Any) -> Any:
        """Put one package into the queue and return the broker's id for it, if it has one.

        Options are `priority` (int, higher first) and `available_at` (aware datetime), given
        only to brokers that declare `supports_priority` and `supports_delay`.
        """

    def async_task(self, package: Package, **options: Any) -> Any:
        """The manual's name of `enqueue`."""
        return self.enqueue(package, **options)

    def dequeue(self) -> list[tuple[Any, Package]] | None:
        """Return up to `bulk` pairs of receipt and package, or nothing after about a second."""

    def acknowledge(self, receipt: Receipt) -> Any:
        """Tell the broker that the package is done with."""

    def fail(self, receipt: Receipt) -> Any:
        """Tell the broker that the package cannot be processed."""

    def delete(self, receipt: Receipt) -> Any:
        """Remove one package from the queue."""

    def queue_size(self) -> int:
        """Count the packages that wait in the queue."""
        return 0

    def lock_size(self) -> int:
        """Count the packages that are claimed and not acknowledged."""
        return 0

    def purge_queue(self) -> Any:
        """Empty the queue."""

    def delete_queue(self) -> Any:
        """Remove the queue itself, with all that is in it."""

    def ping(self) -> bool:
        """Can the broker be reached?"""
        return True

    def info(self) -> str:
        """Name and version of the broker."""
        return type(self).__name__

    # The batch surface; each default loops over the 1.x method

    def enqueue_many(self, packages: list[Package], **options: Any) -> list[Any]:
        """Put packages into the queue, in order, and return their ids.

        Raises EnqueueError, with the ids of those accepted, when some were refused.
        """
        accepted: list[Any] = []
        for package in packages:
            try:
                accepted.append(self.enqueue(package, **options))
            except Exception as error:
                if not accepted:
                    raise
                message = f"{len(accepted)} of {len(packages)} packages were accepted: {error}"
                raise EnqueueError(message, accepted) from error
        return accepted

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        """Claim up to `limit` packages for `lease` seconds.

        Blocks for about a second when nothing is there, and returns at once when work arrives.
        """
        # One dequeue only: the next one may block, and what came is worth more than what might.
        return [
            Delivery(str(receipt) if receipt is not None else uuid4().hex, receipt, package)
            for receipt, package in self.dequeue() or ()
        ]

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        """Acknowledge claims and return the receipts that were refused because superseded."""
        for receipt in receipts:
            self.acknowledge(receipt)
        return []

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        """Renew leases to end `seconds` from now: old receipt to the one that counts from now on,
        or to None where the claim was superseded and is lost."""
        raise UnsupportedByBroker(f"{self.info()} cannot renew the lease of a claimed package.")

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        """Give claims back, to be claimed again after `delay` seconds; return those refused.

        `count` says that an attempt was made and failed: it adds one to `attempts`. Neither way
        is it a lapse.
        """
        raise UnsupportedByBroker(
            f"{self.info()} cannot take a claimed package back before its lease ends."
        )

    def commits_with(self, using: str) -> bool:
        """Do acknowledgements, releases and enqueues made inside a transaction on the database
        `using` commit with it?"""
        return False

    def close(self) -> None:
        """Close what the connection holds open; the next call opens it again."""

    # Cluster status, kept in Django's cache unless the broker has a better place

    def set_stat(self, key: str, value: str, timeout: float) -> None:
        """Keep `value` under `key` for `timeout` seconds, listed with all others."""
        if self.cache is None:
            return
        keys = self.cache.get(Conf.Q_STAT, [])
        if key not in keys:
            self.cache.set(Conf.Q_STAT, [*keys, key])
        self.cache.set(key, value, timeout)

    def get_stat(self, key: str) -> str | None:
        """The value kept under `key`, or None."""
        return self.cache.get(key) if self.cache is not None else None

    def get_stats(self, pattern: str) -> list[str]:
        """Every live value; `pattern` is for brokers that can match keys."""
        if self.cache is None:
            return []
        keys = self.cache.get(Conf.Q_STAT, [])
        found = self.cache.get_many(keys)
        if len(found) < len(keys):
            self.cache.set(Conf.Q_STAT, [key for key in keys if key in found])
        return [found[key] for key in keys if key in found]

    @staticmethod
    def get_cache() -> Any:
        """The Django cache named by `Q_CLUSTER["cache"]`, or None where there is no such cache."""
        try:
            return caches[Conf.CACHE]
        except InvalidCacheBackendError:
            return None

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """Whatever the broker talks through; asked once per broker object."""
        return None


_BATCH_COUNTERPARTS = {
    "enqueue": "enqueue_many",
    "dequeue": "claim",
    "acknowledge": "acknowledge_many",
}
