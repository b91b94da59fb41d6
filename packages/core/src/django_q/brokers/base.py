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
work back. Every claim has a receipt of its own, and one that was superseded by a later claim
neither acknowledges nor extends nor releases anything. One broker object belongs to one thread.

A subclass of such a broker may override a 1.x method alone: the batch method is then replaced
by the default, which calls the override. The 1.x methods of a broker therefore never call its
own batch methods (that would be a circle): both stand on something private. `BrokerConformance`
of `django-q-testkit` tests all of this.
"""

from __future__ import annotations

import inspect
import selectors
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from django.core.cache import InvalidCacheBackendError, caches

from django_q.conf import Conf, Settings, get_settings
from django_q.errors import EnqueueError, UnsupportedByBroker

Receipt = Any
"""What a broker hands out with a delivery and wants back: picklable; None without receipts."""

Package = str | bytes
"""A signed task, opaque to brokers."""

IDLE_SECONDS = 1.0
"""How long a `claim` waits for work before it returns empty-handed."""


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
    counts_lapses: bool = False
    """Does a delivery carry its `lapses`, at least as an upper bound? (Else they are always 0.)"""
    counts_attempts: bool = False
    """Does a delivery carry its `attempts`? (Else only the Task row knows of earlier ones.)"""
    retries_failures: bool = False
    """Is a failed task presented again after `retry` seconds when `max_attempts` is not set?"""
    keeps_stats: bool = False
    """Does the broker itself keep what `set_stat` is given, for all who reach its server?"""
    serves_clusters: bool = True
    """Can other processes reach the queue? (The memory broker's cannot be reached.)"""

    waker: int | None = None
    """A file descriptor that the cluster sets; a `claim` that waits should return when it becomes
    readable, so that a stop need not wait. What is there is claimed all the same. Brokers may
    ignore it; `pause` honours it."""

    _list_key: str
    connection: Any
    cache: Any

    def __init__(self, list_key: str | None = None) -> None:
        self.list_key = list_key or Conf.CLUSTER_NAME
        self.connection = self.get_connection(self.list_key)
        self.cache = self.get_cache()
        self._info: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _let_overrides_win(cls)
        _adopt_what_1x_could_not_declare(cls)

    def __getstate__(self) -> tuple[str, str | None]:
        return self.list_key, self._info

    def __setstate__(self, state: tuple[str, str | None]) -> None:
        self.list_key, self._info = state
        self.connection = self.get_connection(self.list_key)
        self.cache = self.get_cache()

    @property
    def list_key(self) -> str:
        """The name of the queue. As in 1.x it may be assigned: the broker then serves that one."""
        return self._list_key

    @list_key.setter
    def list_key(self, name: str) -> None:
        # Not while the broker is being made: what follows the name comes after it.
        is_switch = "connection" in self.__dict__ and name != self._list_key
        self._list_key = name
        if is_switch:
            self.switch_queue()

    def switch_queue(self) -> None:
        """Serve the queue that `list_key` names by now; a broker that keeps more of it than its
        connection adds to this."""
        self.connection = self.get_connection(self.list_key)

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
                self.refuse_unsupported(package, **options)
                accepted.append(self.enqueue(package, **options))
            except Exception as error:
                if not accepted:
                    raise
                message = f"{len(accepted)} of {len(packages)} packages were accepted: {error}"
                raise EnqueueError(message, accepted) from error
        return accepted

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        """Claim up to `limit` packages for `lease` seconds.

        Waits for about a second when nothing is there, and returns at once when work arrives.
        The default asks `dequeue`, again each `poll` seconds where it does not wait itself, and
        hands on all that it brought: what a 1.x `bulk` took from the server cannot be put back.
        """
        idle_until = time.monotonic() + IDLE_SECONDS
        while True:
            asked_at = time.monotonic()
            pairs = list(self.dequeue() or ())
            if pairs or time.monotonic() >= idle_until:
                break
            poll = max(get_settings().poll, 0.001)
            if self.pause(asked_at + poll - time.monotonic()):
                break
        return [Delivery(self.key_of(receipt), receipt, package) for receipt, package in pairs]

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        """Acknowledge claims and return the receipts that were refused because superseded."""
        for receipt in receipts:
            if receipt is not None:  # 1.x brokers without receipts were never asked
                self.acknowledge(receipt)
        return []

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        """Renew leases to end `seconds` from now: old receipt to the one that counts from now on,
        or to None where the claim was superseded and is lost."""
        raise UnsupportedByBroker(
            f"{type(self).__name__} cannot renew the lease of a claimed package."
        )

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        """Give claims back, to be claimed again after `delay` seconds; return those refused.

        `count` says that an attempt was made and failed: it adds one to `attempts`. Neither way
        is it a lapse.
        """
        raise UnsupportedByBroker(
            f"{type(self).__name__} cannot take a claimed package back before its lease ends."
        )

    def commits_with(self, using: str) -> bool:
        """Do acknowledgements, releases and enqueues made inside a transaction on the database
        `using` commit with it?"""
        return False

    def join_cluster(self) -> None:
        """Get ready for a cluster's work; called once by the thread that will use the object."""

    def close(self) -> None:
        """Close what the connection holds open; the next call opens it again."""

    # For brokers to build on

    @classmethod
    def problems(cls, settings: Settings) -> Iterator[str]:
        """What is wrong with the broker's own settings, a sentence each, for `manage.py check`.

        Nothing is contacted.
        """
        yield from ()

    def warnings(self) -> Iterator[str]:
        """What at the server will hurt, a sentence each, for `manage.py check`.

        Asks the server, and may raise where that cannot be reached.
        """
        yield from ()

    def refuse_unsupported(self, package: Package, **options: Any) -> None:
        """Raise UnsupportedByBroker where `enqueue(package, **options)` asks for more than the
        capabilities promise."""
        for option, value in options.items():
            capability = _OPTION_CAPABILITIES.get(option)
            if value is not None and capability and not getattr(self, capability):
                raise UnsupportedByBroker(
                    f"{type(self).__name__} has no {option}: its {capability} is False. "
                    f"Leave {option} out, or use a broker that has it."
                )
        self._refuse_delay(options.get("available_at"))
        self._refuse_size(package)

    def key_of(self, receipt: Receipt) -> str:
        """The `key` of what was dequeued with this receipt; overridden where a receipt names the
        claim too, since the key is to be the same in every claim."""
        return uuid4().hex if receipt is None else str(receipt)

    def pause(self, seconds: float) -> bool:
        """Wait, but only until the cluster's waker rings. Did it ring?"""
        seconds = max(seconds, 0)
        if self.waker is None:
            time.sleep(seconds)
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self.waker, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def _refuse_delay(self, available_at: datetime | None) -> None:
        if available_at is None or self.max_delay is None:
            return
        delay = (available_at - datetime.now(UTC)).total_seconds()
        if delay > self.max_delay:
            raise UnsupportedByBroker(
                f"{type(self).__name__} keeps a package back for at most {self.max_delay:g} s; "
                f"available_at lies {delay:.0f} s ahead."
            )

    def _refuse_size(self, package: Package) -> None:
        if self.max_package_bytes is None:
            return
        size = len(package.encode() if isinstance(package, str) else package)
        if size > self.max_package_bytes:
            raise UnsupportedByBroker(
                f"{type(self).__name__} takes packages of at most {self.max_package_bytes} bytes; "
                f"this one has {size}. Pass a reference to the data instead of the data."
            )

    # Cluster status, kept in Django's cache unless the broker has a better place

    def set_stat(self, key: str, value: str, timeout: float) -> None:
        """Keep `value` under `key` for `timeout` seconds, listed with all others."""
        if self.cache is None:
            return
        self.cache.set(key, value, timeout)
        keys = self.cache.get(Conf.Q_STAT, [])
        if key not in keys:
            # Each cluster adds one key and none takes its own away: the list would only grow.
            living = self.cache.get_many(keys)
            keys = [each for each in keys if each in living]
            self.cache.set(Conf.Q_STAT, [*keys, key], None)

    def get_stat(self, key: str) -> str | None:
        """The value kept under `key`, or None."""
        return self.cache.get(key) if self.cache is not None else None

    def get_stats(self, pattern: str) -> list[str] | None:
        """Every live value; `pattern` is for brokers that can match keys. None without a cache."""
        if self.cache is None:
            return None
        keys = self.cache.get(Conf.Q_STAT, [])
        found = self.cache.get_many(keys)
        if len(found) < len(keys):
            self.cache.set(Conf.Q_STAT, [key for key in keys if key in found], None)
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


_OPTION_CAPABILITIES = {"priority": "supports_priority", "available_at": "supports_delay"}

_BATCH_COUNTERPARTS = {
    "enqueue": "enqueue_many",
    "dequeue": "claim",
    "acknowledge": "acknowledge_many",
}


def _let_overrides_win(cls: type[Broker]) -> None:
    """Replace each inherited batch method that would bypass an override of its 1.x method."""
    for single, batch in _BATCH_COUNTERPARTS.items():
        default = Broker.__dict__[batch]
        if getattr(cls, batch) is default or _depth(cls, single) >= _depth(cls, batch):
            continue
        setattr(cls, batch, default)
        for capability in _lost_capabilities(cls, single):
            if capability not in cls.__dict__:
                setattr(cls, capability, False)


def _lost_capabilities(cls: type[Broker], single: str) -> tuple[str, ...]:
    """What the 1.x form of a method cannot express."""
    if single == "dequeue":
        return ("supports_bulk", "counts_lapses", "counts_attempts")
    if single == "enqueue" and not _takes_options(cls.enqueue):
        return ("supports_priority", "supports_delay")
    return ()


def _takes_options(function: Callable[..., Any]) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


def _adopt_what_1x_could_not_declare(cls: type[Broker]) -> None:
    """Who acknowledges has receipts, and had its failures presented again; who overrides
    `set_stat` has a place for it. A declaration of the class always wins."""
    implied = {
        "supports_receipts": "acknowledge",
        "retries_failures": "acknowledge",
        "keeps_stats": "set_stat",
    }
    for capability, method in implied.items():
        if _is_overridden(cls, method) and not _is_overridden(cls, capability):
            setattr(cls, capability, True)


def _is_overridden(cls: type[Broker], name: str) -> bool:
    return cls.__mro__[_depth(cls, name)] is not Broker


def _depth(cls: type[Broker], name: str) -> int:
    """How far up the line of bases the nearest definition lies; mixins count too."""
    return next(depth for depth, base in enumerate(cls.__mro__) if name in base.__dict__)
