"""Connects to what `Q_CLUSTER["mongo"]` names, with defaults that suit a queue."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pymongo import MongoClient
from pymongo.errors import ConfigurationError as PyMongoConfigurationError
from pymongo.errors import InvalidURI

from django_q.conf import Settings, get_settings
from django_q.errors import ConfigurationError

SERVER_MS = 5000
"""How long to look for a server that takes writes, and to connect to one."""

ANSWER_MS = 20_000
"""How long one command may take: it may have to wait for a majority."""

DEFAULTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": SERVER_MS,
    "connectTimeoutMS": SERVER_MS,
    "socketTimeoutMS": ANSWER_MS,
    "w": "majority",
    "appname": "django-q",
}
"""pymongo's own would keep a web process for 30 seconds, and one that is cut off for ever."""

DATABASE = "django-q"
"""Where the queues are unless `mongo_db` or the URI says otherwise, as ever."""

URI_HELP = (
    "It must look like mongodb://user:password@host:27017/database; special characters of a "
    "password are percent-encoded, such as %2F for a slash."
)


def connect(settings: Settings | None = None, patience_ms: int | None = None) -> Any:
    """A client of pymongo for what the settings name; nothing is contacted yet.

    Raises ConfigurationError for settings that pymongo refuses.
    """
    settings = settings or get_settings()
    found = list(mistakes(settings))
    if found:
        raise ConfigurationError("\n".join(found))
    arguments = _arguments(settings)
    if patience_ms is not None:
        arguments |= {"serverSelectionTimeoutMS": patience_ms, "connectTimeoutMS": patience_ms}
    return MongoClient(**arguments)


def database_of(client: Any, settings: Settings) -> str:
    """`mongo_db`, else the database that the URI names, else `django-q`."""
    name = settings.broker_options.get("mongo_db")
    return str(name or client.get_default_database(DATABASE).name)


def _options(settings: Settings) -> dict[str, Any]:
    """`Q_CLUSTER["mongo"]` without what is None or empty, which means pymongo's defaults."""
    given = settings.broker_options.get("mongo") or {}
    return {key: value for key, value in given.items() if value is not None and value != ""}


def _arguments(settings: Settings) -> dict[str, Any]:
    options = _options(settings)
    named = {key.lower() for key in options} | _named_in_uris(options)
    defaults = {key: value for key, value in DEFAULTS.items() if key.lower() not in named}
    # What is opened here may be used only after a fork.
    return defaults | {"connect": False} | options


def _hosts(options: Mapping[str, Any]) -> list[str]:
    hosts = options.get("host", "localhost")
    return [hosts] if isinstance(hosts, str) else [str(host) for host in hosts]


def _is_uri(host: str) -> bool:
    return "://" in host


def _named_in_uris(options: Mapping[str, Any]) -> set[str]:
    """The options of a URI, which an argument would override."""
    return {
        name.lower()
        for host in _hosts(options)
        if _is_uri(host)
        for name, _value in parse_qsl(host.partition("?")[2], keep_blank_values=True)
    }


# The clients of this process

KEPT = 4
"""How many clients are kept: a site may have queues at several servers."""

_lock = Lock()
_known: list[tuple[dict[str, Any], Any]] = []


def _forget() -> None:
    """In a forked process: its parent's clients, and the lock that a thread of it may have held."""
    global _lock, _known
    _lock, _known = Lock(), []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def client_of(settings: Settings) -> Any:
    """The client for these settings: it has a pool that knows threads, and watches its servers,
    which would cost more than the task if each `async_task` had one."""
    options = _options(settings)
    with _lock:
        client = next((client for known, client in _known if known == options), None)
        if client is None:
            client = connect(settings)
            _known.insert(0, (options, client))
            # Who has one that falls out keeps it.
            del _known[KEPT:]
        return client


# What `manage.py check` says


def mistakes(settings: Settings) -> Iterator[str]:
    """What is wrong with `Q_CLUSTER["mongo"]` or `["mongo_db"]`, a sentence each."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # of an option that a URI misspells
            client: Any = MongoClient(**_arguments(settings) | {"connect": False})
    except InvalidURI:
        # What pymongo says may show a part of a password in which a character is not encoded.
        yield f'Q_CLUSTER["mongo"]["host"] is a URI that pymongo cannot read. {URI_HELP}'
        return
    except (PyMongoConfigurationError, TypeError, ValueError, OSError, UserWarning) as error:
        yield f'Q_CLUSTER["mongo"] has something that pymongo refuses: {error}'
        return
    yield from _queue_mistakes(client)
    client.close()


def _queue_mistakes(client: Any) -> Iterator[str]:
    """What pymongo takes and a queue cannot work with."""
    if not client.write_concern.acknowledged:
        yield (
            'Q_CLUSTER["mongo"] asks for a write concern of 0, with which nobody knows whether a '
            'task was stored. Leave "w" out; it is "majority" then.'
        )


# What errors say


def describe(settings: Settings | None = None) -> str:
    """Which MongoDB that is, without its password."""
    options = _options(settings or get_settings())
    port = options.get("port", 27017)
    return f"MongoDB at {', '.join(_addresses(_hosts(options), port))}"


def _addresses(hosts: Iterable[str], port: Any) -> Iterator[str]:
    for host in hosts:
        if _is_uri(host):
            place = urlsplit(host).netloc.rpartition("@")[2]
            for part in place.split(","):
                is_complete = ":" in part.rpartition("]")[2] or "+srv" in host
                yield part if is_complete else f"{part}:{port}"
        else:
            yield host if host.startswith("/") or host.count(":") == 1 else f"{host}:{port}"
