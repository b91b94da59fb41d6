"""Settings: `Q_CLUSTER` read once, validated, and handed down as a frozen `Settings`.

`get_settings()` is what the code asks; `Conf` is the 1.x view of the same values.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.translation import gettext_lazy as _

from django_q.errors import ConfigurationError
from django_q.rules import ALT_CLUSTERS, CORE_RULES, FIXED_IN_ALT_CLUSTERS, problem, problems

CLUSTER_NAME_VARIABLE = "Q_CLUSTER_NAME"
"""The environment variable that picks the cluster; `qcluster -n` sets it."""

logger = logging.getLogger("django-q")


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
    guard_cycle: float = 0.5
    sync: bool = False
    queue_limit: int | None = None
    """None: does not bind (unset, or 0)."""
    bulk: int | None = None
    """None: unset, batches form by themselves."""
    poll: float = 0.2
    label: str = "Django Q2"
    catch_up: bool = True
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


_PLAIN_FIELDS = {each.name for each in fields(Settings)} & set(CORE_RULES)
_FLAGS = {each.name for each in fields(Settings) if each.type == "bool"}

_current: Settings | None = None
_overrides: dict[str, Any] = {}  # Q_CLUSTER keys that were assigned through Conf


def get_settings() -> Settings:
    """The settings in force. Costs nothing after the first call.

    Raises ConfigurationError, with one sentence per mistake, when Q_CLUSTER cannot be used.
    """
    global _current  # noqa: PLW0603 - the one cache, read by every enqueue
    if _current is None:
        _current = _build(merged_options())
    return _current


def reset_settings() -> None:
    """Forget what was read; the next `get_settings()` reads Django's settings again."""
    global _current  # noqa: PLW0603
    _current = None


def select_cluster(name: str) -> None:
    """Make `name` the cluster of this process and of those that it starts."""
    os.environ[CLUSTER_NAME_VARIABLE] = name
    reset_settings()


def settings_of(cluster_name: str) -> Settings:
    """The settings that a cluster of that name runs with."""
    return _build(_merge(_q_cluster(), cluster_name) | _overrides)


def merged_options() -> dict[str, Any]:
    """Q_CLUSTER with the chosen entry of ALT_CLUSTERS and the assignments to Conf on top."""
    return _merge(_q_cluster(), os.environ.get(CLUSTER_NAME_VARIABLE)) | _overrides


def _q_cluster() -> dict[str, Any]:
    given = getattr(django_settings, "Q_CLUSTER", None)
    if given is None:
        given = {}
    found = [*problems(given), *problems(_overrides)]
    if found:
        raise ConfigurationError("\n".join(found))
    return dict(given)


def _merge(options: dict[str, Any], cluster_name: str | None) -> dict[str, Any]:
    if not cluster_name or cluster_name in (options.get("name"), options.get("cluster_name")):
        return options
    found = problem("cluster_name", cluster_name)
    if found is not None:
        raise ConfigurationError(f"{found} It came from {CLUSTER_NAME_VARIABLE} or --name.")
    entry = (options.get(ALT_CLUSTERS) or {}).get(cluster_name, {})
    chosen = {key: entry[key] for key in entry if key not in FIXED_IN_ALT_CLUSTERS}
    return {**options, **chosen, "cluster_name": cluster_name}


def _build(options: dict[str, Any]) -> Settings:
    values: dict[str, Any] = {
        key: bool(value) if key in _FLAGS else value
        for key, value in options.items()
        if key in _PLAIN_FIELDS
    }
    values["name"] = options.get("name", "default")
    values["cluster_name"] = options.get("cluster_name") or values["name"]
    values["workers"] = options.get("workers") or cpu_count()
    values["recycle"] = options.get("recycle", 500) or sys.maxsize
    values["recycle_is_explicit"] = "recycle" in options
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


def _forget_on_change(*, setting: str, **kwargs: Any) -> None:
    if setting in ("Q_CLUSTER", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "TIME_ZONE", "USE_TZ"):
        reset_settings()


setting_changed.connect(_forget_on_change, dispatch_uid="django_q.conf")


# The 1.x view

_KEY_OF = {
    "PREFIX": "name",
    "COMPRESSED": "compress",
    **{
        key.upper(): key
        for key in (
            *_PLAIN_FIELDS - {"name", "compress"},
            *("redis", "django_redis", "iron_mq", "sqs", "mongo", "mongo_db"),
            *("disque_nodes", "disque_auth", "disque_fastack"),
        )
    },
}
"""1.x attribute of Conf → key of Q_CLUSTER."""

_UNSET_BROKER_OPTIONS = {"redis": {}, "disque_fastack": False}


def _secret_key() -> str | None:
    try:
        return django_settings.SECRET_KEY
    except ImproperlyConfigured:
        return None


def _queue_limit() -> int:
    workers = get_settings().workers
    return int(merged_options().get("queue_limit", workers**2) or 0)


def _has_queue_size() -> bool:
    """Can this platform count a `multiprocessing.Queue`? (macOS cannot.)"""
    return sys.platform != "darwin"


_DERIVED: dict[str, Callable[[], Any]] = {
    "SECRET_KEY": _secret_key,
    "Q_STAT": lambda: f"django_q:{get_settings().name}:cluster",
    "QUEUE_LIMIT": _queue_limit,
    "BULK": lambda: get_settings().bulk or 1,
    "QSIZE": _has_queue_size,
    "SIGNAL_NAMES": lambda: {number.value: number.name for number in signal.Signals},
    "STARTING": lambda: _("Starting"),
    "WORKING": lambda: _("Working"),
    "IDLE": lambda: _("Idle"),
    "STOPPED": lambda: _("Stopped"),
    "STOPPING": lambda: _("Stopping"),
    "conf": merged_options,
    "_Q_CLUSTER_NAME": lambda: os.environ.get(CLUSTER_NAME_VARIABLE),
}


class _LiveAttributes(type):
    """Reads each attribute of Conf from the settings in force, and lets tests assign it.

    A metaclass rather than an object: mock.patch and monkeypatch then undo by deleting.
    """

    _assigned: dict[str, Any] = {}

    def __getattr__(cls, name: str) -> Any:
        if name in _LiveAttributes._assigned:
            return _LiveAttributes._assigned[name]
        if name in _DERIVED:
            return _DERIVED[name]()
        if name not in _KEY_OF:
            raise AttributeError(f"Conf has no attribute {name!r}.")
        return _read(_KEY_OF[name])

    def __setattr__(cls, name: str, value: Any) -> None:
        if name in _KEY_OF:
            _overrides[_KEY_OF[name]] = value
        _LiveAttributes._assigned[name] = value
        reset_settings()

    def __delattr__(cls, name: str) -> None:
        _LiveAttributes._assigned.pop(name, None)
        _overrides.pop(_KEY_OF.get(name, ""), None)
        reset_settings()

    def __dir__(cls) -> list[str]:
        return sorted({*super().__dir__(), *_KEY_OF, *_DERIVED})


def _read(key: str) -> Any:
    if key in CORE_RULES:
        return getattr(get_settings(), key)
    return get_settings().broker_options.get(key, _UNSET_BROKER_OPTIONS.get(key))


class Conf(metaclass=_LiveAttributes):
    """The settings by their 1.x names: `Conf.PREFIX`, `Conf.RETRY`, …

    An assignment (`Conf.SYNC = True`, in tests) holds until it is deleted.
    """


# Logging

_FORMAT = "%(asctime)s [Q] %(levelname)s %(message)s"
_TIME_FORMAT = "%H:%M:%S"
_handler: logging.Handler | None = None


def configure_logging(verbosity: int = 1) -> None:
    """Let the cluster's log be seen: 0 warnings, 1 the `log_level` of Q_CLUSTER, 2 and 3 all.

    A logger that the site has configured keeps its handlers, and its level unless asked.
    """
    global _handler  # noqa: PLW0603 - the handler belongs to the process, as the logger does
    is_ours = _handler is not None and _handler in logger.handlers
    if not logger.hasHandlers():
        _handler = logging.StreamHandler()
        _handler.setFormatter(logging.Formatter(_FORMAT, _TIME_FORMAT))
        logger.addHandler(_handler)
        logger.propagate = False
        is_ours = True
    if verbosity <= 0:
        logger.setLevel(logging.WARNING)
    elif verbosity > 1:
        logger.setLevel(logging.DEBUG)
    elif is_ours:
        logger.setLevel(get_settings().log_level)


# What else 1.x could import from here, found when asked for

_OPTIONAL_MODULES = {
    "psutil": "psutil",
    "setproctitle": "setproctitle",
    "resource": "resource",
    "prometheus_multiprocess": "prometheus_client.multiprocess",
}


def get_ppid() -> int:
    """The process that started this one."""
    return os.getppid()


def __getattr__(name: str) -> Any:
    if name in _OPTIONAL_MODULES:
        return _import_or_none(_OPTIONAL_MODULES[name])
    if name == "croniter":
        return getattr(_import_or_none("croniter"), "croniter", None)
    if name in ("ErrorReporter", "error_reporter"):
        # By name: reporters stand on a higher floor.
        return getattr(import_module("django_q.reporters"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _import_or_none(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None
