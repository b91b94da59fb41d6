"""A queue with receipts: what is claimed is leased, and comes back unless it is acknowledged."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from django_q.brokers.base import Delivery, Package, Receipt
from django_q.errors import EnqueueError
from django_q_broker_redis.keys import keys_of

AT_ONCE = 1000
"""How many packages one script handles: it holds up everybody else at the server."""

IN_ONE_COMMAND = 500_000
"""A command has at most a million arguments."""


class Taken(NamedTuple):
    """What a claim brought, and when there may be more."""

    deliveries: list[Delivery]
    seconds_until_due: float | None = None


class LeasedQueue:
    """The scripts of one queue."""

    def __init__(self, client: Any, list_key: str) -> None:
        self._client = client
        self.keys = keys_of(list_key)
        self.list_key, self.wake_key = self.keys[0], self.keys[-1]
        self._scripts: dict[str, Any] = {}

    def put(self, packages: Sequence[Package]) -> list[int]:
        """Append to the list; the ids are the places in it, as they were in Django Q2."""

        def push(some: Sequence[Package]) -> range:
            length = int(self._client.rpush(self.list_key, *some))
            return range(length - len(some) + 1, length + 1)

        return _in_portions(packages, IN_ONE_COMMAND, push)

    def put_with(self, packages: Sequence[Package], priority: int, available_ms: int) -> list[str]:
        """Put in with a priority or a delay."""

        def store(some: Sequence[Package]) -> list[str]:
            options = (new_claim()[:8], priority, available_ms)
            return [_text(number) for number in self._run("enqueue", *options, *some)]

        return _in_portions(packages, AT_ONCE, store)

    def take(self, limit: int, lease: float, takes_lapsed: bool) -> Taken:
        """Claim up to `limit` packages."""
        claim = new_claim()
        answer = self._run(
            "claim", min(limit, AT_ONCE), _milliseconds(lease), claim, int(takes_lapsed)
        )
        due, found = int(answer[0]), answer[1:]
        deliveries = [
            Delivery(number, f"{number}.{claim}", package, int(lapses), int(attempts))
            for number, package, lapses, attempts in zip(
                map(_text, found[::4]), found[1::4], found[2::4], found[3::4], strict=True
            )
        ]
        return Taken(deliveries, None if due < 0 else due / 1000)

    def acknowledge(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Forget what is done; the receipts that held nothing."""
        return self._settle("acknowledge", receipts)

    def extend(self, receipts: Sequence[Receipt], seconds: float) -> list[Receipt]:
        """Let leases end so many seconds from now; the receipts that held nothing."""
        return self._settle("extend", receipts, _milliseconds(seconds))

    def release(self, receipts: Sequence[Receipt], delay: float, count: bool) -> list[Receipt]:
        """Give back; the receipts that held nothing."""
        return self._settle("release", receipts, _milliseconds(delay), int(count))

    def sizes(self) -> tuple[int, int]:
        """How many packages wait, and how many are claimed or delayed."""
        waiting, locked = self._run("sizes")
        return int(waiting), int(locked)

    def clear(self) -> None:
        """Remove everything, also the last number given: numbers are unique without it."""
        self._client.unlink(*self.keys)

    def _settle(self, script: str, receipts: Sequence[Receipt], *options: Any) -> list[Receipt]:
        refused: list[Receipt] = []
        for some in _portions(receipts):
            refused += [some[int(place)] for place in self._run(script, *options, *some)]
        return refused

    def _run(self, script: str, *arguments: Any) -> Any:
        # Made when first needed: most broker objects enqueue one plain task, which needs none.
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(source(script))
        return self._scripts[script](keys=self.keys, args=arguments)


def new_claim() -> str:
    """What no other claim has, also where a site seeds `random` at its start."""
    return os.urandom(8).hex()


def key_of(receipt: Receipt) -> str:
    """What names the package whatever claim holds it."""
    return _text(receipt).partition(".")[0]


@cache
def source(name: str) -> str:
    """The text of a script, with what every one begins with."""
    folder = files("django_q_broker_redis") / "scripts"
    parts = [(folder / f"{part}.lua").read_text("utf-8") for part in ("common", name)]
    return "\n".join(parts)


def _portions(items: Sequence[Any], size: int = AT_ONCE) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _in_portions(
    packages: Sequence[Package], size: int, put: Callable[[Sequence[Package]], Sequence[Any]]
) -> list[Any]:
    """The ids of all; EnqueueError where some were put in and others not."""
    ids: list[Any] = []
    for some in _portions(packages, size):
        try:
            ids += put(some)
        except Exception as error:
            if not ids:
                raise
            message = f"{len(ids)} of {len(packages)} packages were accepted: {error}"
            raise EnqueueError(message, ids) from error
    return ids


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
