"""Connects to what `Q_CLUSTER["iron_mq"]` names, with the library's client and a time limit."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from threading import Lock
from typing import Any
from urllib.parse import quote

import requests
from iron_core import IronClient, KeystoneTokenProvider
from iron_mq import IronMQ, Queue

from django_q.brokers.base import IDLE_SECONDS
from django_q.conf import Settings
from django_q.errors import ConfigurationError

REQUEST_SECONDS = 10.0
"""How long a request waits for the server, unless the settings say otherwise."""

RENEW_SECONDS = 10.0
"""How long before its end a Keystone token is exchanged."""

_THEIR_OWN = {"self", "name", "version", "product"}

KNOWN = {"request_timeout", *inspect.signature(IronClient.__init__).parameters} - _THEIR_OWN
"""Every connection keyword of the library, and ours."""


class Keystone(KeystoneTokenProvider):  # type: ignore[misc]
    """Asks a Keystone for a token as the library does, within a time limit."""

    def __init__(self, options: Mapping[str, Any], client: Client) -> None:
        super().__init__(options)
        self._client = client
        self._good_until = float("-inf")

    def getToken(self) -> str:  # noqa: N802 - the library's name
        if time.monotonic() >= self._good_until:
            credentials = {"username": self.username, "password": self.password}
            payload = {"auth": {"tenantName": self.tenant, "passwordCredentials": credentials}}
            answer = self._client.send("POST", f"{self.server}tokens", json=payload)
            answer.raise_for_status()
            found = answer.json()["access"]["token"]
            lasts = _moment(found["expires"]) - _moment(found["issued_at"])
            self.token = found["id"]
            self._good_until = time.monotonic() + lasts.total_seconds() - RENEW_SECONDS
        return str(self.token)


def _moment(text: str) -> datetime:
    """A time of Keystone's, which names its zone with some and not with others."""
    return datetime.fromisoformat(text).replace(tzinfo=None)


class Client(IronClient):  # type: ignore[misc]
    """The library's client, whose requests end, and go over connections that are kept."""

    def __init__(self, request_timeout: float | None = None, **options: Any) -> None:
        super().__init__(
            name=IronMQ.NAME, version=IronMQ.VERSION, product="iron_mq", **_given(options)
        )
        self._seconds = request_timeout or REQUEST_SECONDS
        self._pid, self._session = os.getpid(), requests.Session()
        if self.keystone:
            self.token_provider = Keystone(self.keystone, self)

    def send(self, method: str, url: str, **arguments: Any) -> requests.Response:
        """One request, which never goes over a connection of the process that this one was
        forked from."""
        if self._pid != os.getpid():
            self._pid, self._session = os.getpid(), requests.Session()
        return self._session.request(method, url, timeout=self._seconds, **arguments)

    def request(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        # The library sends again on 503 and 504, asleep for up to 15 seconds. What waits in a
        # cluster must hear its stop, and what enqueues says by enqueue_retries what it wants.
        answer: dict[str, Any] = super().request(*arguments, **options | {"retry": False})
        return answer

    def _doRequest(  # noqa: N802 - the library's name
        self, url: str, method: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        token = self.token_provider.getToken()
        own = {**(headers or {}), "Authorization": f"OAuth {token}"}
        return self.send(method, url, data=body, headers=own)

    def close(self) -> None:
        """Close idle connections; the next request opens one."""
        self._session.close()


class Account(IronMQ):  # type: ignore[misc]
    """The library's object of one project, on our client."""

    def __init__(self, **options: Any) -> None:
        self.client = Client(**options)


class NamedQueue(Queue):  # type: ignore[misc]
    """The library's object of one queue, whatever characters its name has."""

    def __init__(self, account: Account, name: str) -> None:
        super().__init__(account, quote(name, safe=""))
        self._account = account

    def create(self) -> dict[str, Any]:
        """Make the queue, or leave it as it is."""
        queue: dict[str, Any] = self._account.create_queue(self.name)
        return queue


def queue_of(settings: Settings, name: str) -> NamedQueue:
    """The queue of this name; nothing is sent yet."""
    return NamedQueue(account_of(settings), name)


def describe(client: Client) -> str:
    """Which IronMQ that is, without anything secret."""
    return f"IronMQ at {str(client.host).rpartition('@')[2]}:{client.port}"


# One per process


_lock = Lock()
_known: tuple[Settings, Account] | None = None


def _forget() -> None:
    """In a forked process: its parent's connections, and the lock that a thread may have held."""
    global _lock, _known
    _lock, _known = Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def account_of(settings: Settings) -> Account:
    """The account for these settings: a TLS handshake for each `async_task` would take longer than
    the request. Its connections are those of a pool that knows threads."""
    global _known  # noqa: PLW0603 - one per process; replaced whole
    known = _known
    if known is None or known[0] is not settings:
        with _lock:
            known = _known
            if known is None or known[0] is not settings:
                known = _known = (settings, _made(settings))
    return known[1]


def _made(settings: Settings) -> Account:
    found = list(mistakes(settings))
    if found:
        raise ConfigurationError("\n".join(found))
    return Account(**_options(settings))


def _options(settings: Settings) -> dict[str, Any]:
    return _given(settings.broker_options.get("iron_mq") or {})


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None or empty, which means the library's own files and defaults."""
    return {key: value for key, value in options.items() if value is not None and value != ""}


# What `manage.py check` says


def mistakes(settings: Settings) -> Iterator[str]:
    """What is wrong with `Q_CLUSTER["iron_mq"]`, a sentence each."""
    options = _options(settings)
    found = [*_key_mistakes(options), *_time_mistakes(options)]
    yield from found or _refusal(options)


def _key_mistakes(options: Mapping[str, Any]) -> Iterator[str]:
    for key in options:
        if key not in KNOWN:
            near = get_close_matches(str(key), sorted(KNOWN), 1)
            hint = f"Did you mean {near[0]!r}?" if near else "Remove it."
            yield f'Q_CLUSTER["iron_mq"] has a key {key!r}, which iron-mq does not take. {hint}'


def _time_mistakes(options: Mapping[str, Any]) -> Iterator[str]:
    seconds = options.get("request_timeout", REQUEST_SECONDS)
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or seconds < 2 * IDLE_SECONDS:
        yield (
            'Q_CLUSTER["iron_mq"]["request_timeout"] must be a number of seconds from '
            f"{2 * IDLE_SECONDS:g}, since a claim waits at the server for {IDLE_SECONDS:g}, not "
            f"{seconds!r}."
        )


def _refusal(options: Mapping[str, Any]) -> Iterator[str]:
    """What the library says when it is made; it reads its files, and contacts nobody."""
    try:
        Account(**options)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        yield (
            f"iron-mq cannot be set up: {error} What it needs is in "
            'Q_CLUSTER["iron_mq"], in ~/.iron.json or ./iron.json, or in the environment as '
            "IRON_MQ_TOKEN and IRON_MQ_PROJECT_ID."
        )
