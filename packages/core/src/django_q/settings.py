"""The settings of one cluster, as `Q_CLUSTER` and its defaults come to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings as django_settings

from django_q.rules import ALT_CLUSTERS, CORE_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a cluster and its producers are told by `settings.Q_CLUSTER`; seconds unless named."""

    name: str = "default"
    """The salt of the signatures, the prefix of the status keys and the default queue."""
    cluster_name: str = "default"
    """The queue that this process enqueues to and its cluster works on."""
    workers: int = 4
    daemonize_workers: bool = True
    start_method: str | None = None
    """None: "fork" where the platform has it."""
    recycle: int = 500
    """Tasks after which a worker is replaced; `sys.maxsize` where Q_CLUSTER says 0, never."""
    recycle_is_explicit: bool = False
    max_rss: int | None = None
    """KiB"""
    timeout: float | None = None
    time_zone: str | None = None
    """None: USE_TZ is off, schedules run in naive local time."""
    ack_failures: bool = False
    max_attempts: int = 0
    max_worker_deaths: int = 2
    max_lapses: int = 5
    backoff: Any = None
    retry: float = 60
    compress: bool = False
    serializer: str = "pickle"
    save_limit: int = 250
    save_limit_per: str | None = None
    failure_limit: int = 0
    keep_days: float | None = None
    """None: finished tasks are kept whatever their age."""
    retention_is_explicit: bool = False
    """Does Q_CLUSTER say anything of how many finished tasks are kept, or for how long?"""
    guard_cycle: float = 0.5
    sync: bool = False
    queue_limit: int | None = None
    """None: does not bind (unset, or 0)."""
    bulk: int | None = None
    """None: unset, batches form by themselves."""
    poll: float = 0.2
    label: str = "Django Q2"
    catch_up: bool = True
    catch_up_limit: int = 1000
    """How many missed occurrences of one schedule are run at most: the latest."""
    cache: str = "default"
    cached: bool | int = False
    scheduler: bool = True
    error_reporter: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    cpu_affinity: int = 0
    has_replica: bool = False
    log_level: str = "INFO"
    testing: bool = False
    stop_timeout: float = 30
    connect_timeout: float = 30
    enqueue_retries: int = 0
    broker_class: str | None = None
    orm: str | None = None
    broker_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Every broker key as it was given, third parties' too: redis, django_redis, sqs, orm, …"""
    alt_clusters: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)


PLAIN_FIELDS = {each.name for each in fields(Settings)} & set(CORE_RULES)
_FLAGS = {each.name for each in fields(Settings) if each.type == "bool"}
RETENTION = {"save_limit", "failure_limit", "keep_days"}


def build(options: dict[str, Any]) -> Settings:
    """The settings from options that the rules accept, those of the chosen cluster on top."""
    values: dict[str, Any] = {
        key: bool(value) if key in _FLAGS else value
        for key, value in options.items()
        if key in PLAIN_FIELDS
    }
    values["name"] = options.get("name", "default")
    values["cluster_name"] = options.get("cluster_name") or values["name"]
    values["workers"] = options.get("workers") or cpu_count()
    values["recycle"] = options.get("recycle", 500) or sys.maxsize
    values["recycle_is_explicit"] = "recycle" in options
    values["retention_is_explicit"] = not RETENTION.isdisjoint(options)
    values["queue_limit"] = options.get("queue_limit") or None
    values["cpu_affinity"] = options.get("cpu_affinity") or 0
    values["log_level"] = options.get("log_level", "INFO").upper()
    values["time_zone"] = _time_zone(options)
    values["stop_timeout"] = _stop_timeout(options)
    values["error_reporter"] = _copy_of_dicts(options.get("error_reporter"))
    values["alt_clusters"] = _copy_of_dicts(options.get(ALT_CLUSTERS))
    values["broker_options"] = {
        key: value for key, value in options.items() if key == "orm" or key not in CORE_RULES
    }
    return Settings(**values)


def cpu_count() -> int:
    """One worker per processor of the host, where that can be known."""
    return os.cpu_count() or 4


def _time_zone(options: Mapping[str, Any]) -> str | None:
    if not django_settings.USE_TZ:
        return None
    return options.get("time_zone") or django_settings.TIME_ZONE


def _stop_timeout(options: Mapping[str, Any]) -> float:
    stop_timeout = options.get("stop_timeout")
    if stop_timeout is not None:
        return float(stop_timeout)
    # A task that its timeout allows must not be cut short by an ordinary stop.
    return float(max(30, (options.get("timeout") or 0) + 5))


def _copy_of_dicts(given: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    return {name: dict(entry) for name, entry in (given or {}).items()}
