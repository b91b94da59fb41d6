"""The settings in force as they may be shown to anyone: nothing that could be a secret is left."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from django_q.conf import Settings
from django_q.rules import ALT_CLUSTERS, CORE_RULES, RULES

MASK = "***"
"""Stands for what is not shown; it does not tell the length."""

HARMLESS = frozenset(
    {
        *("api_version", "aws_region", "charset", "client_name", "connect_timeout", "db"),
        *("encoding", "health_check_interval", "host", "max_connections", "port", "protocol"),
        *("receive_message_wait_time_seconds", "region_name", "replicaset", "request_timeout"),
        *("socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl", "timeout", "tls"),
        *("retry_on_timeout", "unix_socket_path", "wait_time_seconds"),
    }
)
"""What connection arguments may be shown; a name that nobody has thought of may be a password's."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)
_AFTER_HOST = re.compile(r"[/?#]")
_NUMBERED = re.compile(r"/\d{0,3}")
"""The path of a URL that is no secret: the number of a database."""


def configuration(settings: Settings) -> dict[str, Any]:
    """Each key of `Q_CLUSTER` with the value in force, masked where that may be secret."""
    known = {key: _in_force(key, settings) for key in CORE_RULES if key != "orm"}
    return {key: masked(key, value) for key, value in {**known, **settings.broker_options}.items()}


def _in_force(key: str, settings: Settings) -> Any:
    if key == ALT_CLUSTERS:
        return settings.alt_clusters
    if key == "recycle" and settings.recycle == sys.maxsize:
        return 0  # as it is written: never
    return getattr(settings, key)


def masked(key: str, value: Any) -> Any:
    """The value of one key of `Q_CLUSTER`, or of an entry of ALT_CLUSTERS, as it may be shown."""
    if key == ALT_CLUSTERS and isinstance(value, Mapping):
        return {str(name): _masked_entry(entry) for name, entry in value.items()}
    if key == "error_reporter" and isinstance(value, Mapping):
        return {str(name): _only_keys(entry) for name, entry in value.items()}
    rule = RULES.get(key)
    if rule is not None and not rule.is_secret:
        return _without_credentials(value) if rule.accepts(value) else MASK
    if isinstance(value, Mapping):
        return {str(option): _argument(option, each) for option, each in value.items()}
    if key == "redis" and isinstance(value, str):
        return _url(value)
    return value if value is None or isinstance(value, bool) else MASK


def _masked_entry(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return MASK
    return {str(key): masked(str(key), value) for key, value in entry.items()}


def _only_keys(options: Any) -> Any:
    return dict.fromkeys(map(str, options), MASK) if isinstance(options, Mapping) else MASK


def _argument(option: Any, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if str(option).lower() not in HARMLESS or not isinstance(value, str | int | float):
        return MASK
    return _without_credentials(value)


def _without_credentials(value: Any) -> Any:
    """The same as JSON can carry it; where it is a URL, no more than what leads to its host."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_without_credentials(each) for each in value]
    text = str(value)
    return _url(text) if "://" in text or "@" in text else text


def _url(text: str) -> str:
    """`redis://:***@host:6379/0`: without user, path and query, any of which may be a secret."""
    scheme, separator, rest = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return MASK  # no URL at all
    # A password may itself hold any sign: the host begins behind the last @.
    _, at, tail = rest.rpartition("@")
    end = _AFTER_HOST.search(tail)
    host, more = (tail, "") if end is None else (tail[: end.start()], tail[end.start() :])
    user = f":{MASK}@" if at else ""
    return f"{scheme}://{user}{host}{more if _NUMBERED.fullmatch(more) or not more else '/' + MASK}"
