"""The nodes of `Q_CLUSTER["disque_nodes"]`: one of them at a time, and left when it fails."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from django_q.conf import Settings
from django_q_broker_disque.errors import (
    explained,
    is_outage,
    is_refusal_of_credentials,
    no_disque,
    refused,
    unavailable,
)

PORT = 7711

SERVER_SECONDS = 5.0
"""How long one call waits for a node. A blocking call of ours never lasts as long."""

ID_LENGTH = 8
"""How much of a node's name Disque itself puts into the names of jobs."""

T = TypeVar("T")


class Address(NamedTuple):
    """Where a node is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Node:
    """One node, which has answered; redis-py knows threads, and opens what was cut."""

    def __init__(self, address: Address, password: str | None) -> None:
        self.address = address
        self.client = redis.Redis(
            host=address.host,
            port=address.port,
            password=password,
            protocol=2,  # HELLO is another command here, which redis-py's 3 would send
            socket_timeout=SERVER_SECONDS,
            socket_connect_timeout=SERVER_SECONDS,
            # What redis-py itself sends again might be enqueued twice.
            retry=Retry(NoBackoff(), 0),
            max_connections=2**31,
        )
        try:
            self.id = self._greet()[:ID_LENGTH]
        except BaseException:
            self.close()
            raise

    def _greet(self) -> str:
        """The node's name."""
        try:
            version, name, *_nodes = self.client.execute_command("HELLO")
        except ResponseError as error:
            if not str(error).startswith("unknown command"):
                raise
            raise no_disque(str(self.address)) from error
        if version != 1:  # as of Redis, which has another HELLO
            raise no_disque(str(self.address))
        return str(name.decode())

    def check(self) -> None:
        """Have an open connection ready, or raise what keeps it from being opened."""
        pool = self.client.connection_pool
        pool.release(pool.get_connection())

    def close(self) -> None:
        """Close what nobody uses at the moment; the next call opens it again."""
        with contextlib.suppress(redis.RedisError, OSError):
            self.client.connection_pool.disconnect(inuse_connections=False)


class Nodes:
    """All that the settings name, of which a process uses one until that fails."""

    def __init__(self, addresses: Iterable[Address], password: str | None) -> None:
        self._addresses = list(addresses)
        self._password = password
        self._node: Node | None = None

    def __repr__(self) -> str:
        return f"<Nodes {', '.join(map(str, self._addresses))}>"

    def call(self, work: Callable[[Node], T], may_repeat: bool = True) -> T:
        """Do something at a node: at another when one cannot be reached, and, if it may be done
        twice, also when one fails meanwhile. Raises DisqueUnavailable when none is left."""
        failed: dict[str, Exception] = {}
        while True:
            node = self._reach(failed)
            try:
                return work(node)
            except Exception as error:
                self._note(node.address, error, failed)
                node.close()
                if not may_repeat:
                    raise unavailable(failed) from error

    def each(self, work: Callable[[Node], T]) -> list[T]:
        """Do something at every node that can be reached."""
        failed: dict[str, Exception] = {}
        found = []
        for address in self._addresses:
            try:
                node = Node(address, self._password)
                with contextlib.closing(node):
                    found.append(work(node))
            except Exception as error:
                self._note(address, error, failed)
        if not found:
            raise unavailable(failed)
        return found

    def close(self) -> None:
        """Close what is idle; other threads have theirs."""
        node = self._node
        if node is not None:
            node.close()

    def _reach(self, failed: dict[str, Exception]) -> Node:
        """A node that answers: the one that did last, or any other."""
        node = self._node
        if node is not None and str(node.address) not in failed:
            try:
                node.check()
            except Exception as error:
                self._note(node.address, error, failed)
            else:
                return node
        for address in random.sample(self._addresses, len(self._addresses)):
            if str(address) in failed:
                continue
            try:
                node = self._node = Node(address, self._password)
            except Exception as error:
                self._note(address, error, failed)
            else:
                return node
        raise unavailable(failed)

    def _note(self, address: Address, error: Exception, failed: dict[str, Exception]) -> None:
        """Keep what is wrong with a node; raise what no other node would mend."""
        if is_refusal_of_credentials(error):
            raise refused(str(address), error) from error
        if not is_outage(error):
            reason = explained(str(address), error)
            raise reason from (None if reason is error else error)
        failed[str(address)] = error


_known: tuple[Settings, Nodes] | None = None


def _forget() -> None:
    """In a forked process: its parent's connections."""
    global _known  # noqa: PLW0603 - one per process
    _known = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def nodes_of(settings: Settings) -> Nodes:
    """The nodes for these settings: a connection for each `async_task` would cost more than the
    task. Two threads that make them at once lose nothing but a connection."""
    global _known  # noqa: PLW0603 - one per process; replaced whole
    known = _known
    if known is None or known[0] is not settings:
        options = settings.broker_options
        nodes = Nodes(addresses(options.get("disque_nodes")), options.get("disque_auth") or None)
        known = _known = (settings, nodes)
    return known[1]


def addresses(given: Iterable[str] | None) -> list[Address]:
    """The nodes of `"host:port"` and `"host"`; blanks, which a split of a variable leaves, are
    none, and nothing but blanks is Disque's port on this machine."""
    found = [_address(each) for each in given or () if each.strip()]
    return list(dict.fromkeys(found)) or [Address("127.0.0.1", PORT)]


def _address(given: str) -> Address:
    parts = urlsplit(f"//{given.strip()}")
    return Address(parts.hostname or "127.0.0.1", parts.port or PORT)


def mistakes(settings: Settings) -> Iterator[str]:
    """What is wrong with `Q_CLUSTER["disque_nodes"]`, a sentence each."""
    for place, node in enumerate(settings.broker_options.get("disque_nodes") or ()):
        if not isinstance(node, str):
            yield (
                f'Q_CLUSTER["disque_nodes"][{place}] must be text such as "127.0.0.1:{PORT}", '
                f"not {type(node).__name__}."
            )
        elif not _is_address(node):
            # Its text is not shown: whoever writes a password into it would find that in a log.
            yield (
                f'Q_CLUSTER["disque_nodes"][{place}] must be "host:port" and nothing more, such '
                f'as "127.0.0.1:{PORT}" or "[::1]:{PORT}". A password goes into '
                'Q_CLUSTER["disque_auth"].'
            )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text.strip()}")
        port = parts.port
    except ValueError:
        return False
    is_bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return not text.strip() or (is_bare and bool(parts.hostname) and port != 0)
