"""Connects to what `Q_CLUSTER` names: one Redis, one behind Sentinels, a Cluster, or a cache's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings as settings_of_django
from django.utils.module_loading import import_string
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from django_q.conf import Settings, get_settings
from django_q.errors import ConfigurationError

SERVER_SECONDS = 5.0
"""How long one call waits for the server, unless the settings say otherwise."""

OLD_NAMES = {"charset": "encoding", "errors": "encoding_errors"}
"""Keys of the manual that redis-py has renamed."""

OWN_KEYS = ("url", "cluster", "sentinels", "sentinel_kwargs", "service_name", "startup_nodes")
"""Keys of the dict that are no arguments of a connection."""

SENTINEL_PORT = 26379


def connect(settings: Settings | None = None, patience_seconds: float | None = None) -> Any:
    """A client of redis-py for what the settings name; nothing is sent yet, but to a Cluster.

    `patience_seconds` is how long it waits for the server, whatever the settings say. Raises
    ConfigurationError for settings that redis-py refuses.
    """
    settings = settings or get_settings()
    found = list(mistakes(settings))
    if found:
        raise ConfigurationError("\n".join(found))
    alias = settings.broker_options.get("django_redis")
    if alias:
        return _of_cache(alias)
    options = _options(settings)
    if patience_seconds is not None:
        options |= dict.fromkeys(("socket_timeout", "socket_connect_timeout"), patience_seconds)
    return _of_options(options)


def is_cluster(client: Any) -> bool:
    return isinstance(client, RedisCluster)


def _defaults() -> dict[str, Any]:
    """A call that may wait for ever would hang a web process, one that redis-py itself sends
    again might enqueue twice, and the pool is as large as the process has threads."""
    return {
        "socket_timeout": SERVER_SECONDS,
        "socket_connect_timeout": SERVER_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": 2**31,
    }


def _of_cache(alias: str) -> Any:
    from django_redis import get_redis_connection  # optional

    return get_redis_connection(alias)


def _of_options(options: dict[str, Any]) -> Any:
    given = {key: value for key, value in options.items() if key not in OWN_KEYS}
    arguments = _defaults() | given
    url = options.get("url")
    if _is_cluster(options):
        arguments.pop("db", None)  # there is only 0, and redis-py refuses to hear it
    if "sentinels" in options:
        return _watched(options, arguments)
    if "startup_nodes" in options:
        nodes = [ClusterNode(*address) for address in _addresses(options["startup_nodes"], 6379)]
        return RedisCluster(startup_nodes=nodes, **arguments)
    if options.get("cluster"):
        return RedisCluster.from_url(url, **arguments) if url else RedisCluster(**arguments)
    return redis.Redis.from_url(url, **arguments) if url else redis.Redis(**arguments)


def _watched(options: Mapping[str, Any], arguments: dict[str, Any]) -> Any:
    """The master of a service, asked of its Sentinels at each connection."""
    patience = {key: arguments[key] for key in ("socket_timeout", "socket_connect_timeout")}
    sentinels = Sentinel(
        _addresses(options["sentinels"], SENTINEL_PORT),
        sentinel_kwargs=patience | (options.get("sentinel_kwargs") or {}),
        **arguments,
    )
    return sentinels.master_for(options["service_name"])


def _is_cluster(options: Mapping[str, Any]) -> bool:
    return "startup_nodes" in options or bool(options.get("cluster"))


def _addresses(given: Iterable[Any], port: int) -> list[tuple[str, int]]:
    """Addresses from `"host:port"`, `"host"`, `"[::1]:port"` or pairs."""
    return [_address(each, port) for each in given]


def _address(given: Any, port: int) -> tuple[str, int]:
    if isinstance(given, str):
        address = urlsplit(f"//{given}")
        return address.hostname or "localhost", address.port or port
    if isinstance(given, Mapping):
        return given["host"], int(given.get("port", port))
    host, *rest = given
    return host, int(rest[0]) if rest else port


def _options(settings: Settings) -> dict[str, Any]:
    """`Q_CLUSTER["redis"]` as a dict, with the names that redis-py has now and without what is
    None or empty, which means its defaults, and ours."""
    given = settings.broker_options.get("redis") or {}
    if isinstance(given, str):
        return {"url": given}
    options = {OLD_NAMES.get(key, key): value for key, value in given.items()}
    return {key: value for key, value in options.items() if value is not None and value != ""}


# What `manage.py check` says


def mistakes(settings: Settings) -> Iterator[str]:
    """What is wrong with `Q_CLUSTER["redis"]` or `["django_redis"]`, a sentence each."""
    alias = settings.broker_options.get("django_redis")
    if alias:
        yield from _cache_mistakes(alias)
        return
    options = _options(settings)
    found = [*_key_mistakes(options), *_place_mistakes(options)]
    yield from found or _refusal(options)


def _cache_mistakes(alias: str) -> Iterator[str]:
    caches = settings_of_django.CACHES
    if find_spec("django_redis") is None:
        yield (
            f'Q_CLUSTER["django_redis"] names the cache {alias!r}, and django-redis is not '
            "installed. To install it: pip install django-redis"
        )
    elif alias not in caches:
        yield (
            f'Q_CLUSTER["django_redis"] names a cache {alias!r} that CACHES does not have.'
            f"{_did_you_mean(alias, caches)}"
        )
    elif not _is_of_django_redis(caches[alias].get("BACKEND", "")):
        yield (
            f'Q_CLUSTER["django_redis"] names the cache {alias!r}, which is not one of '
            f"django-redis, but {caches[alias].get('BACKEND')}. Give its server as "
            'Q_CLUSTER["redis"] instead.'
        )


def _is_of_django_redis(backend: str) -> bool:
    from django_redis.cache import RedisCache  # optional

    try:
        found = import_string(backend)
    except ImportError:
        return False
    return inspect.isclass(found) and issubclass(found, RedisCache)


def _key_mistakes(options: Mapping[str, Any]) -> Iterator[str]:
    known = _accepted()
    for key in options:
        if key not in known:
            hint = _did_you_mean(key, known) or " Remove it."
            yield f'Q_CLUSTER["redis"] has a key {key!r}, which redis-py does not take.{hint}'


def _place_mistakes(options: Mapping[str, Any]) -> Iterator[str]:
    if "sentinels" in options and not options.get("service_name"):
        yield (
            'Q_CLUSTER["redis"] names Sentinels and no "service_name": the name under which they '
            "watch the master."
        )
    for key in ("sentinels", "startup_nodes"):
        if key in options and not _has_addresses(options[key]):
            yield (
                f'Q_CLUSTER["redis"]["{key}"] must be a list of addresses such as '
                f'["10.0.0.1", {SENTINEL_PORT if key == "sentinels" else 6379}], '
                f"not {options[key]!r}."
            )
    if _is_cluster(options) and options.get("db"):
        yield 'Q_CLUSTER["redis"] has a "db", and a Redis Cluster has only 0. Remove it.'
    if "url" in options:
        yield from _url_mistakes(options["url"])


def _has_addresses(given: Any) -> bool:
    try:
        return not isinstance(given, str) and bool(_addresses(given, 0))
    except (ValueError, TypeError, KeyError):
        return False


def _url_mistakes(url: Any) -> Iterator[str]:
    try:
        redis.connection.parse_url(url)
    except (ValueError, AttributeError, TypeError):
        # What redis-py says may show a part of a password in which a character is not encoded.
        yield (
            'Q_CLUSTER["redis"] has a URL that redis-py cannot read. It must look like '
            "redis://user:password@host:6379/0, rediss:// with TLS, or unix:///path/to/socket; "
            "special characters of a password are percent-encoded, such as %2F for a slash."
        )


def _refusal(options: dict[str, Any]) -> Iterator[str]:
    """What redis-py says when it makes a connection without opening it."""
    if _is_cluster(options):
        return  # which would be asked for its nodes
    try:
        pool = _of_options(options).connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError) as error:
        yield f'Q_CLUSTER["redis"] has something that redis-py refuses: {error}'


def _did_you_mean(word: Any, words: Iterable[str]) -> str:
    near = get_close_matches(str(word), list(words), 1)
    return f" Did you mean {near[0]!r}?" if near else ""


@cache
def _accepted() -> frozenset[str]:
    """Every argument of redis-py's clients, and our own keys."""
    names = {*OWN_KEYS}
    for client in (redis.Redis, RedisCluster):
        names |= set(inspect.signature(client.__init__).parameters)
    return frozenset(names - {"self", "kwargs", "connection_pool"})


# What errors say


def describe(settings: Settings | None = None) -> str:
    """Which Redis that is, without its password."""
    settings = settings or get_settings()
    alias = settings.broker_options.get("django_redis")
    if alias:
        return f"The Redis of the cache {alias!r}"
    options = _options(settings)
    if "sentinels" in options:
        return f"The Redis {options['service_name']!r} of its Sentinels"
    if "startup_nodes" in options:
        nodes = _addresses(options["startup_nodes"], 6379)
        return f"The Redis Cluster at {', '.join(f'{host}:{port}' for host, port in nodes)}"
    if "url" in options:
        options |= redis.connection.parse_url(options["url"])
    kind = "The Redis Cluster" if options.get("cluster") else "Redis"
    where = options.get("unix_socket_path") or options.get("path")
    return f"{kind} at {where or _host_and_port(options)}"


def _host_and_port(options: Mapping[str, Any]) -> str:
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
