"""Chooses the broker that the settings ask for, and says what to install when it is not there."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, NoReturn, cast

from django_q.brokers.base import Broker
from django_q.conf import Settings, get_settings, seen_as, settings_of
from django_q.errors import ConfigurationError, PluginError, UnknownBroker
from django_q.plugins import BrokerEntry, Manager, get_manager
from django_q.plugins.entries import OUR_MODULES, pip_install

FIRST_PARTY = {
    "iron_mq": "ironmq",
    "sqs": "sqs",
    "disque_nodes": "disque",
    "orm": "orm",
    "mongo": "mongo",
    "redis": "redis",
    "django_redis": "redis",
}
"""The keys of Q_CLUSTER that have always chosen a broker, first come first served; and the name
of the broker, of its plugin and of the extra of django-q-core that brings it."""

SHIMS = {
    "ironmq": "django_q.brokers.ironmq.IronMQBroker",
    "sqs": "django_q.brokers.aws_sqs.Sqs",
    "disque": "django_q.brokers.disque.Disque",
    "orm": "django_q.brokers.orm.ORM",
    "mongo": "django_q.brokers.mongo.Mongo",
    "redis": "django_q.brokers.redis_broker.Redis",
}
"""The 1.x path of each broker's class."""


def get_broker(list_key: str | None = None) -> Broker:
    """A new broker object for a queue, by default the one that this process enqueues to.

    Of the broker that the queue's cluster has: an entry of ALT_CLUSTERS may choose another.
    """
    elsewhere = settings_elsewhere(list_key)
    if elsewhere is not None:
        with seen_as(elsewhere):
            return broker_class(elsewhere)(list_key=list_key)
    settings = get_settings()
    return broker_class(settings)(list_key=list_key or settings.cluster_name)


def settings_elsewhere(list_key: str | None) -> Settings | None:
    """The settings of a queue that another broker keeps than this process's own; else None."""
    global _elsewhere  # noqa: PLW0603 - one per process; replaced whole, so threads may share it
    settings = get_settings()
    if not list_key or list_key == settings.cluster_name or not settings.alt_clusters:
        return None
    if _elsewhere is None or _elsewhere[0] is not settings:
        _elsewhere = (settings, {})
    known = _elsewhere[1]
    if list_key not in known:
        known[list_key] = _elsewhere_than(settings, list_key)
    return known[list_key]


def _elsewhere_than(settings: Settings, list_key: str) -> Settings | None:
    try:
        other = settings_of(list_key)
    except ConfigurationError:
        # No cluster can have that name; what the broker makes of it is its affair.
        return None
    return None if _broker_of(other) == _broker_of(settings) else other


_elsewhere: tuple[Settings, dict[str, Settings | None]] | None = None
"""What is known of other queues, for as long as the settings stay the same."""


def _broker_of(settings: Settings) -> tuple[str | None, dict[str, Any]]:
    return settings.broker_class, settings.broker_options


def broker_class(settings: Settings | None = None) -> type[Broker]:
    """The class of the broker that the settings ask for.

    Raises UnknownBroker when no installed distribution provides it, PluginError when one does
    but cannot be imported.
    """
    settings = settings or get_settings()
    location = _located(settings)
    # Looked up in the module each time, so that what a test patches there is what runs.
    return cast("type[Broker]", getattr(location.module, location.class_name))


def choose(settings: Settings, manager: Manager) -> BrokerEntry:
    """The entry of the broker that the settings ask for; nothing of it is imported."""
    if settings.broker_class:
        return BrokerEntry(name=_FROM_SETTINGS, path=settings.broker_class)
    options = settings.broker_options
    for key in FIRST_PARTY:
        if _is_asked_for(key, options):
            return _by_key(key, manager)
    return _by_third_party_key(options, manager) or _default(options, manager)


# The class, resolved once for as long as the settings and the plugins stay the same


class _Location(NamedTuple):
    module: ModuleType
    class_name: str


_resolved: tuple[Settings, Manager, _Location] | None = None


def _located(settings: Settings) -> _Location:
    global _resolved  # noqa: PLW0603 - one per process; replaced whole, so threads may share it
    known, manager = _resolved, get_manager()
    if known is None or known[0] is not settings or known[1] is not manager:
        known = (settings, manager, _locate(choose(settings, manager), manager))
        _resolved = known
    return known[2]


def _locate(entry: BrokerEntry, manager: Manager) -> _Location:
    module_name, class_name = entry.path.rsplit(".", 1)
    module = _import(module_name, entry, manager)
    found = getattr(module, class_name, None)
    if found is None:
        hint = _did_you_mean(class_name, _broker_names(module))
        raise UnknownBroker(f"{_title(entry)}: {module_name} has no {class_name!r}.{hint}")
    if not (inspect.isclass(found) and issubclass(found, Broker)):
        raise ConfigurationError(
            f"{_title(entry)} must be a subclass of django_q.brokers.Broker, not {found!r}."
        )
    return _Location(module, class_name)


def _import(module_name: str, entry: BrokerEntry, manager: Manager) -> ModuleType:
    try:
        return import_module(module_name)
    except ImportError as error:
        if _is_absent(module_name, error):
            hint = _did_you_mean(entry.path, _known_paths(manager))
            message = f"{_title(entry)}: there is no module {error.name!r}.{hint}"
            raise UnknownBroker(message + entry.cure) from error
        if (error.name or "").split(".")[0] in OUR_MODULES:
            # A 1.x path, whose shim says what to install.
            raise UnknownBroker(f"{_title(entry)}: {error}") from error
        raise PluginError(f"{_title(entry)} cannot be imported: {error}.{entry.cure}") from error
    except Exception as error:
        description = f"{type(error).__name__}: {error}"
        raise PluginError(f"{_title(entry)} cannot be imported: {description}") from error


def _is_absent(module_name: str, error: ImportError) -> bool:
    """Is it the module itself, or a package it is in, that does not exist?"""
    return isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")


def _title(entry: BrokerEntry) -> str:
    if entry.name == _FROM_SETTINGS:
        return f'The broker_class "{entry.path}" of Q_CLUSTER'
    return f"The broker {entry.name!r} ({entry.path})"


def _broker_names(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Broker) and value is not Broker
    ]


def _known_paths(manager: Manager) -> list[str]:
    return [*(entry.path for entry in manager.brokers()), *SHIMS.values()]


# Choosing

_FROM_SETTINGS = "broker_class"


def _is_asked_for(key: str, options: Mapping[str, Any]) -> bool:
    """SQS is asked for by any dict, an empty one too; the others by anything that is not empty."""
    value = options.get(key)
    return isinstance(value, dict) if key == "sqs" else bool(value)


def _by_key(key: str, manager: Manager) -> BrokerEntry:
    entry = _entry_answering(key, manager)
    if entry is None:
        name = FIRST_PARTY[key]
        raise UnknownBroker(
            f"Q_CLUSTER[{key!r}] asks for the broker {name!r}, which is not installed. "
            f"To install it: {pip_install(_extra(name))}"
        )
    return entry


def _entry_answering(key: str, manager: Manager) -> BrokerEntry | None:
    found = {entry.path: entry for entry in manager.brokers() if key in entry.answers_to}
    ours = [entry for entry in found.values() if entry.is_ours]
    if not ours and key in FIRST_PARTY:
        # Installed but broken: another broker in its place would be another queue.
        manager.raise_if_broken(FIRST_PARTY[key])
    candidates = ours or list(found.values())
    if len(candidates) > 1:
        raise PluginError(
            f"Two installed brokers answer to Q_CLUSTER[{key!r}]: {' and '.join(sorted(found))}. "
            "Name the one to use as broker_class."
        )
    return candidates[0] if candidates else None


def _by_third_party_key(options: Mapping[str, Any], manager: Manager) -> BrokerEntry | None:
    offered = {key for entry in manager.brokers() for key in entry.answers_to}
    # An empty dict may mean "with its defaults": nothing of 1.x says otherwise here.
    given = [key for key, value in options.items() if value or isinstance(value, dict)]
    asked = [key for key in given if key in offered and key not in FIRST_PARTY]
    entries = {entry.path: entry for key in asked if (entry := _entry_answering(key, manager))}
    if len(entries) > 1:
        raise ConfigurationError(
            f"Q_CLUSTER asks for several brokers: {', '.join(map(repr, asked))}. Keep one of "
            "these keys, or name the class to use as broker_class."
        )
    if not entries:
        for key in given:
            manager.raise_if_broken(key)
    return next(iter(entries.values()), None)


def _default(options: Mapping[str, Any], manager: Manager) -> BrokerEntry:
    """Redis where it is installed, as ever, else the ORM; `"redis": None` is a no to Redis."""
    refuses_redis = "redis" in options and options["redis"] is None
    for key in ("orm",) if refuses_redis else ("redis", "orm"):
        entry = _entry_answering(key, manager)
        if entry is not None:
            return entry
    _nothing_installed(options, refuses_redis)


def _nothing_installed(options: Mapping[str, Any], refuses_redis: bool) -> NoReturn:
    if refuses_redis:
        raise UnknownBroker(
            'Q_CLUSTER says "redis": None, which means the ORM broker, and that is not installed. '
            f"To install it: {pip_install(_extra('orm'))}"
        )
    misspelt = (_did_you_mean(key, [*FIRST_PARTY, "memory"]) for key in options)
    hint = next(filter(None, misspelt), "")
    raise UnknownBroker(
        f"No broker is installed, and Q_CLUSTER names none.{hint} To queue in the database: "
        f"{pip_install(_extra('orm'))}, then Q_CLUSTER = {{'orm': 'default'}}. "
        f"Others: {', '.join(sorted(set(FIRST_PARTY.values()) - {'orm'}))}."
    )


# Words


def _extra(name: str) -> str:
    return f"django-q-core[{name}]"


def _did_you_mean(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), 1, 0.75)
    return f" Did you mean {near[0]!r}?" if near else ""
