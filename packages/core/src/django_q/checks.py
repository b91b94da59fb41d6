"""System checks: what is wrong, or could be better, with the way a site is set up.

`manage.py check` shows them. Errors stop a site that could not work; warnings never do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS

from django_q.brokers.base import Broker
from django_q.brokers.registry import broker_class, get_broker
from django_q.conf import Settings, get_settings, settings_of
from django_q.errors import ConfigurationError
from django_q.plugins import get_manager
from django_q.reporters import problems as reporter_problems
from django_q.rules import ALT_CLUSTERS, FIXED_IN_ALT_CLUSTERS, RULES, problems
from django_q.tasks.declarations import declarations

TAG = "django_q"

PREDECESSORS = ("django-q", "django-q2")
"""Distributions that put their files into the same folder `django_q`."""

_UNSHARED_CACHES = ("LocMemCache", "DummyCache")
_SQLITE = "django.db.backends.sqlite3"

SQLITE_OPTIONS = (
    '"OPTIONS": {"transaction_mode": "IMMEDIATE", '
    '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}'
)

SystemCheck = Callable[..., list[CheckMessage]]


def register(check: Callable[[], Iterator[CheckMessage]]) -> SystemCheck:
    """Register a generator as a system check that is left out while Q_CLUSTER cannot be read."""

    def run(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
        try:
            get_settings()
        except ConfigurationError:
            return []  # check_values has the sentence; the others need the values
        return list(check())

    run.__name__ = check.__name__
    return checks.register(run, TAG)


# Q_CLUSTER itself


def check_values(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001: a value of the wrong type or out of range."""
    found = list(problems(_q_cluster()))
    return [checks.Error(sentence, id="django_q.E001") for sentence in found]


def check_keys(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W001: a key that nothing reads, and the one that was probably meant."""
    options = _q_cluster()
    if not isinstance(options, Mapping):
        return []
    known = _known_keys()
    found = [_unknown_key(key, known, "Q_CLUSTER") for key in options if not _is_known(key, known)]
    for name, entry in _alt_clusters(options).items():
        where = f'Q_CLUSTER["{ALT_CLUSTERS}"]["{name}"]'
        found += [_unknown_key(key, known, where) for key in entry if not _is_known(key, known)]
        found += [_fixed_key(key, where) for key in FIXED_IN_ALT_CLUSTERS if key in entry]
    return found


def _q_cluster() -> Any:
    given = getattr(django_settings, "Q_CLUSTER", None)
    return {} if given is None else given


def _alt_clusters(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    entries = options.get(ALT_CLUSTERS)
    if not isinstance(entries, Mapping):
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, Mapping)}


def _known_keys() -> set[str]:
    return {*RULES, *(key for entry in get_manager().brokers() for key in entry.answers_to)}


def _is_known(key: Any, known: Iterable[str]) -> bool:
    """A broker's own options may follow its key: `kafka` brings `kafka_options`."""
    if key in known:
        return True
    brokers = (each for each in known if each not in RULES)
    return any(str(key).startswith(f"{broker}_") for broker in brokers)


def _unknown_key(key: Any, known: Iterable[str], where: str) -> CheckMessage:
    near = get_close_matches(str(key), known, 1, 0.6) or [
        each for each in known if each.lower() == str(key).lower()
    ]
    hint = f"Did you mean {near[0]!r}?" if near else "It can be removed, or its plugin installed."
    return checks.Warning(
        f"{where} has a key {key!r} that nothing reads.", hint, id="django_q.W001"
    )


def _fixed_key(key: str, where: str) -> CheckMessage:
    return checks.Warning(
        f"{where} has a key {key!r}, which is ignored there.",
        "The entry's own name is the name of its queue; the rest is shared by all clusters.",
        id="django_q.W001",
    )


checks.register(check_values, TAG)
checks.register(check_keys, TAG)


# What is installed


@register
def check_distributions() -> Iterator[CheckMessage]:
    """E002: a predecessor whose removal would take our files with it."""
    for distribution in PREDECESSORS:
        installed = installed_version(distribution)
        if installed is not None:
            yield checks.Error(
                f"{distribution} {installed} is installed beside django-q-core, and both own the "
                "folder django_q: which file runs is chance, and removing one breaks the other.",
                f"Run `pip uninstall {distribution}`, then "
                "`pip install --force-reinstall --no-deps django-q-core`.",
                id="django_q.E002",
            )


def installed_version(distribution: str) -> str | None:
    """Its version, or None when it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@register
def check_plugins() -> Iterator[CheckMessage]:
    """W002: a plugin that cannot be used; W007: a key that several claim.

    Errors only where the settings choose the one or use the other.
    """
    manager = get_manager()
    contested = manager.contested_keys()
    for name, error in manager.errors.items():
        yield checks.Warning(
            str(error),
            f"Until that is mended, nothing of the plugin {name!r} is used.",
            id="django_q.W002",
        )
    for shared in contested:
        yield checks.Warning(
            str(shared),
            "Uninstall all but one; a broker can also be named by its class, as broker_class.",
            id="django_q.W007",
        )


@register
def check_broker() -> Iterator[CheckMessage]:
    """E003: the broker that the settings ask for is missing, broken, or no broker.

    W003 where the settings ask for none and none is installed: such a site may still migrate.
    """
    settings = get_settings()
    try:
        broker_class(settings)
    except ConfigurationError as error:
        if settings.broker_class or any(settings.broker_options.values()):
            yield checks.Error(str(error), id="django_q.E003")
        else:
            yield checks.Warning(str(error), id="django_q.W003")


@register
def check_broker_settings() -> Iterator[CheckMessage]:
    """E007: the broker finds a mistake in its own settings."""
    found: dict[str, None] = {}
    for _where, settings in _clusters():
        broker = _broker_class_or_none(settings)
        if broker is not None:
            # What all clusters share is said once.
            found |= dict.fromkeys(broker.problems(settings))
    for sentence in found:
        yield checks.Error(sentence, id="django_q.E007")


@register
def check_server() -> Iterator[CheckMessage]:
    """W006: the broker's server, where it can be reached, is set up in a way that will hurt."""
    try:
        broker = get_broker()
        sentences = list(broker.warnings())
        broker.close()
    except Exception:  # every client library has its own; that it is away is no mistake of the site
        return
    for sentence in sentences:
        yield checks.Warning(sentence, id="django_q.W006")


@register
def check_reporters() -> Iterator[CheckMessage]:
    """E004: an error reporter that the settings name cannot be used."""
    for error in reporter_problems(get_settings()):
        yield checks.Error(str(error), id="django_q.E004")


@register
def check_database_alias() -> Iterator[CheckMessage]:
    """E005: `orm` names a database that is not there."""
    orm = get_settings().orm
    if orm is not None and orm not in django_settings.DATABASES:
        known = ", ".join(sorted(django_settings.DATABASES))
        yield checks.Error(
            f'Q_CLUSTER["orm"] names the database {orm!r}, which is not in DATABASES: {known}.',
            id="django_q.E005",
        )


@register
def check_declared_schedules() -> Iterator[CheckMessage]:
    """E008: a declared schedule that can never run here.

    It imports nothing: what no module has declared yet, `migrate` and `qschedules sync` look at.
    """
    for declaration in declarations():
        problem = declaration.problem()
        if problem is not None:
            yield checks.Error(problem, id="django_q.E008")


# What will hurt later


@register
def check_retry() -> Iterator[CheckMessage]:
    """W004: work would be presented again while it still runs."""
    for where, settings in _clusters():
        broker = _broker_class_or_none(settings)
        if broker is None or not broker.supports_receipts or broker.supports_lease_renewal:
            continue
        if settings.timeout is not None and settings.retry <= settings.timeout:
            yield checks.Warning(
                f"{where}: retry ({settings.retry} s) is not greater than timeout "
                f"({settings.timeout} s), and {broker.__name__} cannot renew the lease of running "
                "work: a task that takes longer than retry runs twice.",
                "Set retry to more than timeout.",
                id="django_q.W004",
            )


def _clusters() -> Iterator[tuple[str, Settings]]:
    settings = get_settings()
    yield "Q_CLUSTER", settings
    for name in settings.alt_clusters:
        yield f'Q_CLUSTER["{ALT_CLUSTERS}"]["{name}"]', settings_of(name)


def _broker_class_or_none(settings: Settings) -> type[Broker] | None:
    try:
        return broker_class(settings)
    except ConfigurationError:
        return None


@register
def check_cache() -> Iterator[CheckMessage]:
    """W005: cached results that no other process can see."""
    settings = get_settings()
    backend = django_settings.CACHES.get(settings.cache, {}).get("BACKEND", "")
    if not settings.cached:
        return
    if not backend:
        yield checks.Error(
            f'Q_CLUSTER["cached"] is set, and Q_CLUSTER["cache"] names {settings.cache!r}, which '
            "is not in CACHES.",
            id="django_q.E006",
        )
    elif backend.endswith(_UNSHARED_CACHES):
        yield checks.Warning(
            f'Q_CLUSTER["cached"] is set, but the cache {settings.cache!r} is a '
            f"{backend.rpartition('.')[2]}: results of the cluster are never seen elsewhere.",
            "Use a cache that processes share (Redis, Memcached, database, files), or leave "
            "`cached` out.",
            id="django_q.W005",
        )


@register
def check_sqlite() -> Iterator[CheckMessage]:
    """I001: a queue or results in an SQLite database that is not set up for several writers."""
    for alias in dict.fromkeys(_database_aliases()):
        missing = sqlite_advice(django_settings.DATABASES.get(alias, {}))
        if missing:
            yield checks.Info(
                f"The SQLite database {alias!r} would serve tasks better with "
                f"{' and '.join(missing)}: several processes write to it.",
                f"In DATABASES[{alias!r}]: {SQLITE_OPTIONS}",
                id="django_q.I001",
            )


def _database_aliases() -> Iterator[str]:
    settings = get_settings()
    if settings.orm is not None:
        yield settings.orm
    yield DEFAULT_DB_ALIAS


def sqlite_advice(database: Mapping[str, Any]) -> list[str]:
    """What the docs recommend for SQLite and this entry of DATABASES does not have."""
    if database.get("ENGINE") != _SQLITE or _is_in_memory(database):
        return []
    options = database.get("OPTIONS") or {}
    commands = str(options.get("init_command") or "").replace(" ", "").lower()
    missing = []
    if "journal_mode=wal" not in commands and not _is_wal_file(database.get("NAME")):
        missing.append("journal_mode=WAL")
    if "synchronous=normal" not in commands and "synchronous=1" not in commands:
        missing.append("synchronous=NORMAL")
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        missing.append("transaction_mode IMMEDIATE")
    return missing


def _is_in_memory(database: Mapping[str, Any]) -> bool:
    name = str(database.get("NAME") or "")
    return name in ("", ":memory:") or "mode=memory" in name


def _is_wal_file(name: Any) -> bool:
    """WAL stays with the file.

    Asked of SQLite, over a connection of its own: to open and close the file beside SQLite would
    drop the locks that this process holds on it.
    """
    try:
        path = Path(name).absolute()
        if not path.is_file():
            return False
        address = f"{path.as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    except (OSError, TypeError, ValueError, sqlite3.Error):
        return False
    return bool(mode == "wal")
