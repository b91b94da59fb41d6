"""The broker: what Django Q asks for, in terms of files that are renamed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from django_q.brokers import Broker, Delivery, Package
from django_q.conf import Settings, get_settings
from django_q.errors import BrokerUnavailable, ConfigurationError
from django_q_broker_filesystem.folder import QueueFolder
from django_q_broker_filesystem.label import Label

SECOND = 1_000_000_000
"""Times are whole nanoseconds."""

IDLE_SECONDS = 1.0
"""How long a claim waits for work."""


class FolderUnavailable(BrokerUnavailable, OSError):
    """The folder cannot be written to: the disk is full, or not mounted."""


class Filesystem(Broker):
    """Any number of clusters and producers of one machine share the folder."""

    # region capabilities
    supports_receipts = True
    supports_bulk = True
    supports_lease_renewal = True
    supports_release = True
    supports_delay = True
    supports_priority = True
    counts_lapses = True
    counts_attempts = True
    retries_failures = True
    # endregion

    connection: QueueFolder

    @staticmethod
    def get_connection(list_key: str | None = None) -> QueueFolder:
        """Return the folder of a queue. It is made when something is enqueued."""
        settings = get_settings()
        for problem in Filesystem.problems(settings):
            raise ConfigurationError(problem)
        folder = Path(settings.broker_options["filesystem"]["folder"])
        return QueueFolder(folder / f"{quote(list_key or 'default', safe='')}.queue")

    @classmethod
    def problems(cls, settings: Settings) -> Iterator[str]:
        """Say what is wrong with `Q_CLUSTER["filesystem"]`."""
        options = settings.broker_options.get("filesystem")
        if not isinstance(options, dict) or options.keys() != {"folder"}:
            yield f'Q_CLUSTER["filesystem"] must be {{"folder": PATH}}, not {options!r}.'
        elif not Path(str(options["folder"])).is_absolute():
            # Web processes and clusters are started in different folders.
            yield (
                'Q_CLUSTER["filesystem"]["folder"] must be an absolute path, '
                f"not {str(options['folder'])!r}."
            )

    def warnings(self) -> Iterator[str]:
        """Say what will hurt about the folder as it is."""
        if not self.ping():
            yield f"The folder {self.connection.path.parent} of the broker cannot be written to."

    def ping(self) -> bool:
        """Can the folder be written to?"""
        return os.access(self.connection.path.parent, os.W_OK | os.X_OK)

    def info(self) -> str:
        """Name the broker and its folder."""
        return f"Filesystem {self.connection.path.parent}"

    def now(self) -> int:
        """Return the time by which leases and delays are counted."""
        return time.time_ns()

    def enqueue(
        self,
        package: Package,
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> str:
        """Put one package into the queue, to be claimed from `available_at` on."""
        due = self.now() if available_at is None else int(available_at.timestamp() * SECOND)
        label = Label(f"{self.now():020d}-{uuid4().hex}", priority or 0, due)
        try:
            self.connection.write(label, package.encode() if isinstance(package, str) else package)
        except OSError as error:
            raise FolderUnavailable(f"{self.connection.path} takes no package: {error}") from error
        return label.key

    # Claiming

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        """Claim up to `limit` packages for `lease` seconds; wait for about a second for one."""
        return self._claim(limit, lease)

    def dequeue(self) -> list[tuple[str, Package]]:
        """Claim in the way of Django Q: pairs of receipt and package."""
        settings = get_settings()
        found = self._claim(settings.bulk or 1, settings.retry)
        return [(delivery.receipt, delivery.package) for delivery in found]

    def _claim(self, limit: int, lease: float) -> list[Delivery]:
        idle_until = time.monotonic() + IDLE_SECONDS
        while not (found := self._take(limit, lease)):
            idle = idle_until - time.monotonic()
            poll = max(get_settings().poll, 0.01)
            if idle <= 0 or self.pause(min(poll, idle)):  # the waker rang
                break
        return found

    def _take(self, limit: int, lease: float) -> list[Delivery]:
        """Claim what is there, and what dead clusters hold no longer."""
        found: list[Delivery] = []
        now = self.now()
        due = [label for label in self.connection.labels() if label.due <= now]
        for old in sorted(due, key=lambda label: label.rank):
            if len(found) == limit:
                break
            until = now + int(lease * SECOND)
            new = old._replace(due=until, claim=uuid4().hex, lapses=old.lapses + bool(old.claim))
            if self.connection.rename(old, new):  # else somebody else was faster
                found += self._delivery(new)
        return found

    def _delivery(self, label: Label) -> Iterator[Delivery]:
        try:
            package = self.connection.read(label)
        except FileNotFoundError:  # the queue was purged in between
            return
        yield Delivery(label.key, label.receipt, package, label.lapses, label.attempts)

    def key_of(self, receipt: str) -> str:
        """Return what names the package, in every claim, of what names the claim."""
        return super().key_of(receipt).partition(".")[0]

    # Settling

    def acknowledge_many(self, receipts: list[str]) -> list[str]:
        """Forget what is done with; return the receipts that another claim has superseded."""
        return self._acknowledge(receipts)

    def acknowledge(self, receipt: str) -> bool:
        """Forget one package, unless another claim has superseded this receipt."""
        return not self._acknowledge([receipt])

    def fail(self, receipt: str) -> bool:
        """Forget a package that cannot be processed."""
        return not self._acknowledge([receipt])

    def _acknowledge(self, receipts: list[str]) -> list[str]:
        held, unknown = self._held(), list[str]()
        for receipt in receipts:
            if receipt not in held or not self.connection.remove(held[receipt]):
                unknown.append(receipt)
        # To acknowledge twice is no harm; what is still there is somebody else's.
        present = {label.key for label in self.connection.labels()} if unknown else ()
        return [receipt for receipt in unknown if self.key_of(receipt) in present]

    def extend(self, receipts: list[str], seconds: float) -> dict[str, str | None]:
        """Let leases end `seconds` from now; None for a claim that is lost."""
        held, extended = self._held(), dict[str, str | None]()
        until = self.now() + int(seconds * SECOND)
        for receipt in receipts:
            old = held.get(receipt)
            is_ours = old is not None and self.connection.rename(old, old._replace(due=until))
            extended[receipt] = receipt if is_ours else None
        return extended

    def release(self, receipts: list[str], delay: float = 0, count: bool = False) -> list[str]:
        """Give packages back, for `delay` seconds from now; return the receipts of lost claims."""
        held, refused = self._held(), list[str]()
        due = self.now() + int(delay * SECOND)
        for receipt in receipts:
            if old := held.get(receipt):
                new = old._replace(due=due, claim="", attempts=old.attempts + count)
                if self.connection.rename(old, new):
                    continue
            refused.append(receipt)
        return refused

    def _held(self) -> dict[str, Label]:
        """The claims that stand, by receipt."""
        return {label.receipt: label for label in self.connection.labels("claimed")}

    # Housekeeping

    def queue_size(self) -> int:
        """Count what waits, delayed work and lapsed claims too."""
        return len(self.connection.labels()) - self.lock_size()

    def lock_size(self) -> int:
        """Count what is held under a lease."""
        now = self.now()
        return sum(label.due > now for label in self.connection.labels("claimed"))

    def delete(self, receipt: str) -> bool:
        """Remove a package by a receipt, or by the id that `enqueue` returned."""
        same = [each for each in self.connection.labels() if each.key == self.key_of(receipt)]
        return any(map(self.connection.remove, same))

    def purge_queue(self) -> None:
        """Remove all packages."""
        for label in self.connection.labels():
            self.connection.remove(label)

    def delete_queue(self) -> None:
        """Remove the folder of the queue."""
        shutil.rmtree(self.connection.path, ignore_errors=True)

    def join_cluster(self) -> None:
        """Tidy up; called when a cluster starts."""
        self.connection.remove_abandoned_drafts()
