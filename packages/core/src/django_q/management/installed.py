"""What is installed and what the settings choose of it, for `qinfo --plugins`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_q.brokers.registry import broker_class, choose
from django_q.conf import Settings, get_settings
from django_q.errors import ConfigurationError
from django_q.plugins import Manager
from django_q.plugins.listing import OK, in_one_line, listed, table
from django_q.reporters.registry import reporter_class


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep what the answer says anyway off a terminal that no logging is configured for."""
    logger, handler = logging.getLogger("django-q"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


# The facts


def gather(manager: Manager) -> dict[str, Any]:
    """What `--json` shows. Nothing of the settings but names and keys is in it."""
    settings, problem = _settings()
    return {
        "plugins": listed(manager),
        "shared_keys": [
            {
                "setting": each.setting,
                "contested": each.is_contested,
                "plugins": [offer.plugin.name for offer in each.offers],
                "message": str(each),
            }
            for each in manager.shared_keys()
        ],
        "settings": {"state": problem or OK},
        "broker": _broker(settings, manager) if settings else None,
        "reporters": [_reporter(key) for key in settings.error_reporter] if settings else [],
    }


def _settings() -> tuple[Settings | None, str]:
    try:
        return get_settings(), ""
    except ConfigurationError as error:
        return None, str(error)


def _broker(settings: Settings, manager: Manager) -> dict[str, Any]:
    chosen: dict[str, Any] = {"name": None, "path": None, "plugin": None}
    try:
        entry = choose(settings, manager)
        bringing = [name for name, each in manager.offers("django_q_brokers") if each == entry]
        chosen = {"name": entry.name, "path": entry.path, "plugin": next(iter(bringing), None)}
        broker_class(settings)
    except ConfigurationError as error:
        return {**chosen, "state": str(error)}
    return {**chosen, "state": OK}


def _reporter(key: str) -> dict[str, Any]:
    try:
        reporter_class(key)
    except ConfigurationError as error:
        return {"key": key, "state": str(error)}
    return {"key": key, "state": OK}


def is_usable(facts: dict[str, Any]) -> bool:
    """Can the settings be used, and what they choose?"""
    chosen = [facts["settings"], facts["broker"], *facts["reporters"]]
    return all(each["state"] == OK for each in chosen if each)


# The text


def text(facts: dict[str, Any]) -> Iterator[str]:
    """The facts as lines."""
    yield from table(facts["plugins"])
    yield ""
    if facts["settings"]["state"] != OK:
        yield f"Q_CLUSTER cannot be used: {in_one_line(facts['settings']['state'])}"
    else:
        yield f"Broker: {_named(facts['broker'])}"
        for reporter in facts["reporters"]:
            yield f"Error reporter {reporter['key']!r}: {in_one_line(reporter['state'])}"
    for shared in facts["shared_keys"]:
        if not shared["contested"]:  # those stand in the table, with each plugin
            yield in_one_line(shared["message"])


def _named(broker: dict[str, Any]) -> str:
    if broker["state"] != OK:
        return in_one_line(broker["state"])
    return f"{broker['name']} ({broker['path']})"
