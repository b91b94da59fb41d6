"""Connects to what `Q_CLUSTER` names: one Redis, one behind Sentinels, a Cluster, or a cache's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from typing import Any

import redis
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


def connect(settings: Settings | None = None, **defaults: Any) -> Any:
    """A client of redis-py for what the settings name; nothing is sent yet, but to a Cluster.

    Raises ConfigurationError for settings that redis-py refuses.
    """
    settings = settings or get_settings()
    alias = settings.broker_options.get("django_redis")
    if alias:
        return _of_cache(alias)
    found = list(mistakes(settings))
    if found:
        raise ConfigurationError("\n".join(found))
    return _of_options(_options(settings), {**_patience(), **defaults})


def is_cluster(client: Any) -> bool:
    return isinstance(client, RedisCluster)


def _patience() -> dict[str, Any]:
    """A call that may wait for ever would hang a web process, and one that redis-py itself sends
    again might enqueue twice."""
    return {
        "socket_timeout": SERVER_SECONDS,
        "socket_connect_timeout": SERVER_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }


def _of_cache(alias: str) -> Any:
    if find_spec("django_redis") is None:
        raise ConfigurationError(
            f"Q_CLUSTER['django_redis'] names the cache {alias!r}, and django-redis is not "
            "installed. To install it: pip install django-redis"
        )
    from django_redis import get_redis_connection  # optional

    return get_redis_connection(alias)


def _of_options(options: dict[str, Any], defaults: dict[str, Any]) -> Any:
    given = {key: value for key, value in options.items() if key not in OWN_KEYS}
    arguments = defaults | given
    url = options.get("url")
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


def _addresses(given: Iterable[Any], port: int) -> list[tuple[str, int]]:
    """Addresses from `"host:port"`, `"host"` or pairs."""
    pairs = (each.rsplit(":", 1) if isinstance(each, str) else each for each in given)
    return [(pair[0], int(pair[1]) if len(pair) > 1 else port) for pair in pairs]


def _options(settings: Settings) -> dict[str, Any]:
    """`Q_CLUSTER["redis"]` as a dict, with the names that redis-py has now and without Nones,
    which mean its defaults, and ours."""
    given = settings.broker_options.get("redis") or {}
    if isinstance(given, str):
        return {"url": given}
    return {OLD_NAMES.get(key, key): value for key, value in given.items() if value is not None}


# What `manage.py check` says


def mistakes(settings: Settings) -> Iterator[str]:
    """What is wrong with `Q_CLUSTER["redis"]`, a sentence each."""
    options = _options(settings)
    known = _accepted()
    for key in options:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else " Remove it."
            yield f'Q_CLUSTER["redis"] has a key {key!r}, which redis-py does not take.{hint}'
    if "sentinels" in options and not options.get("service_name"):
        yield (
            'Q_CLUSTER["redis"] names Sentinels and no "service_name": the name under which they '
            "watch the master."
        )
    if "url" in options:
        yield from _url_mistakes(options["url"])


def _url_mistakes(url: Any) -> Iterator[str]:
    try:
        redis.connection.parse_url(url)
    except (ValueError, AttributeError, TypeError) as error:
        yield f'Q_CLUSTER["redis"] has a URL that redis-py cannot read: {error}'


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
