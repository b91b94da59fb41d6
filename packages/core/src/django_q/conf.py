"""Settings: `Q_CLUSTER` read once, validated, and handed down as a frozen `Settings`.

`get_settings()` is what the code asks; `Conf` is the 1.x view of the same values.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.translation import gettext_lazy as _

from django_q.errors import ConfigurationError
from django_q.rules import ALT_CLUSTERS, CORE_RULES, FIXED_IN_ALT_CLUSTERS, problem, problems
from django_q.settings import PLAIN_FIELDS, build
from django_q.settings import Settings as Settings  # noqa: PLC0414 - it is imported from here

CLUSTER_NAME_VARIABLE = "Q_CLUSTER_NAME"
"""The environment variable that picks the cluster; `qcluster -n` sets it."""

logger = logging.getLogger("django-q")

_current: Settings | None = None
_overrides: dict[str, Any] = {}  # Q_CLUSTER keys that were assigned through Conf
_seen_here: ContextVar[Settings | None] = ContextVar("django_q_settings", default=None)


def get_settings() -> Settings:
    """The settings in force. Costs nothing after the first call.

    Raises ConfigurationError, with one sentence per mistake, when Q_CLUSTER cannot be used.
    """
    global _current  # noqa: PLW0603 - the one cache, read by every enqueue
    seen = _seen_here.get()
    if seen is not None:
        return seen
    if _current is None:
        _current = build(merged_options())
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
    return build(_merge(_q_cluster(), cluster_name) | _overrides)


def queue_names() -> list[str]:
    """The queues that Q_CLUSTER names: the root's, by either of its names, and the alternates'."""
    root = settings_of("")
    return list(dict.fromkeys((root.cluster_name, root.name, *root.alt_clusters)))


@contextlib.contextmanager
def seen_as(settings: Settings) -> Iterator[None]:
    """Have what is called meanwhile see these settings, and no other thread."""
    token = _seen_here.set(settings)
    try:
        yield
    finally:
        _seen_here.reset(token)


@contextlib.contextmanager
def in_force(settings: Settings) -> Iterator[None]:
    """Have these settings in force, here and in the processes that are started meanwhile.

    Those that inherit nothing read them anew, by the name in the environment.
    """
    global _current  # noqa: PLW0603
    before = get_settings()
    if settings == before:
        yield
        return
    name, level = os.environ.get(CLUSTER_NAME_VARIABLE), logger.level
    os.environ[CLUSTER_NAME_VARIABLE] = settings.cluster_name
    _current = settings
    if _level_is_theirs:
        logger.setLevel(settings.log_level)
    try:
        yield
    finally:
        _current = before
        logger.setLevel(level)
        if name is None:
            del os.environ[CLUSTER_NAME_VARIABLE]
        else:
            os.environ[CLUSTER_NAME_VARIABLE] = name


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
            *PLAIN_FIELDS - {"name", "compress"},
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
_level_is_theirs = False
"""Is the level of the log that of the settings in force?"""


def configure_logging(verbosity: int = 1) -> None:
    """Let the cluster's log be seen: 0 warnings, 1 the `log_level` of Q_CLUSTER, 2 and 3 all.

    A logger that the site has configured keeps its handlers, and its level unless asked.
    """
    global _handler, _level_is_theirs  # noqa: PLW0603 - they belong to the process, as the logger
    is_ours = _handler is not None and _handler in logger.handlers
    if not logger.hasHandlers():
        _handler = logging.StreamHandler()
        _handler.setFormatter(logging.Formatter(_FORMAT, _TIME_FORMAT))
        logger.addHandler(_handler)
        logger.propagate = False
        is_ours = True
    _level_is_theirs = is_ours and verbosity == 1
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
