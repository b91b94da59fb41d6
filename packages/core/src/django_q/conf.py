"""Settings: `Q_CLUSTER` read once, validated, and handed down as a frozen `Settings`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a cluster and its producers are told by `settings.Q_CLUSTER`; seconds unless named."""

    name: str = "default"
    cluster_name: str = "default"
    workers: int = 4
    daemonize_workers: bool = True
    recycle: int = 500
    recycle_is_explicit: bool = False
    max_rss: int | None = None  # KiB
    timeout: float | None = None
    time_zone: str | None = None
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
    guard_cycle: float = 0.5
    sync: bool = False
    queue_limit: int | None = None  # None: unset, does not bind
    bulk: int | None = None  # None: unset, batches form by themselves
    poll: float = 0.2
    label: str = "Django Q2"
    catch_up: bool = True
    cache: str = "default"
    cached: bool | int = False
    scheduler: bool = True
    error_reporter: dict[str, dict[str, Any]] = field(default_factory=dict)
    cpu_affinity: int = 0
    has_replica: bool = False
    log_level: str = "INFO"
    testing: bool = False
    stop_timeout: float = 30
    connect_timeout: float = 30
    broker_class: str | None = None
    orm: str | None = None
    broker_options: dict[str, Any] = field(default_factory=dict)
    """Every broker key of Q_CLUSTER as it was given: redis, django_redis, sqs, mongo, orm …"""
    alt_clusters: dict[str, dict[str, Any]] = field(default_factory=dict)


def get_settings() -> Settings:
    raise NotImplementedError
