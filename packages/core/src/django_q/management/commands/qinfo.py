"""`manage.py qinfo`: says what this site has; for now, which plugins."""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from django.core.management.base import BaseCommand

from django_q.brokers.registry import broker_class, choose
from django_q.conf import Settings, get_settings
from django_q.errors import ConfigurationError
from django_q.plugins import Manager, get_manager
from django_q.plugins.manager import Plugin, SharedKey
from django_q.reporters.registry import reporter_class

OK = "ok"
"""The state of what can be used; that of anything else is the sentence saying why not."""

HEADINGS = ("PLUGIN", "DISTRIBUTION", "BRINGS", "STATE")


class Command(BaseCommand):
    """Shows what is installed and what the settings choose of it, without contacting anything."""

    help = (
        "Says what is installed and what Q_CLUSTER chooses of it. Ends with status 1 when that "
        "cannot be used."
    )
    requires_system_checks = ()
    """Whoever asks wants to know what is wrong, which a failed check would keep from being said."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        topics = parser.add_mutually_exclusive_group(required=True)
        topics.add_argument(
            "--plugins",
            action="store_true",
            help="The installed plugins: what each brings, and what is wrong with it.",
        )
        parser.add_argument("--json", action="store_true", help="The same as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        with _unlogged():
            facts = gather(get_manager())
        self.stdout.write(
            json.dumps(facts, indent=2) if options["json"] else "\n".join(text(facts))
        )
        if not _is_usable(facts):
            sys.exit(1)


@contextmanager
def _unlogged() -> Iterator[None]:
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
    shared = manager.shared_keys()
    settings, problem = _settings()
    return {
        "plugins": [_plugin(plugin, manager, shared) for plugin in manager.plugins.values()],
        "shared_keys": [
            {
                "setting": each.setting,
                "contested": each.is_contested,
                "plugins": [offer.plugin.name for offer in each.offers],
                "message": str(each),
            }
            for each in shared
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


def _plugin(plugin: Plugin, manager: Manager, shared: list[SharedKey]) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "brokers": _entries(plugin, manager, "django_q_brokers"),
        "reporters": _entries(plugin, manager, "django_q_reporters"),
        "hooks": manager.heard_by(plugin.name),
        "state": _state(plugin, shared),
    }


def _state(plugin: Plugin, shared: list[SharedKey]) -> str:
    contests = [each for each in shared if each.is_contested]
    lost = [str(each) for each in contests if plugin in {offer.plugin for offer in each.offers}]
    return " ".join([str(plugin.error)] if plugin.error else lost) or OK


def _entries(plugin: Plugin, manager: Manager, hook_name: str) -> list[dict[str, Any]]:
    return [
        {"name": entry.name, "path": entry.path, "keys": list(entry.answers_to)}
        for name, entry in manager.offers(hook_name)
        if name == plugin.name
    ]


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


def _is_usable(facts: dict[str, Any]) -> bool:
    chosen = [facts["settings"], facts["broker"], *facts["reporters"]]
    return all(each["state"] == OK for each in chosen if each)


# The text


def text(facts: dict[str, Any]) -> Iterator[str]:
    """The facts as lines, with nothing in them but text: a terminal and a file show the same."""
    yield from _table([HEADINGS, *_rows(facts["plugins"])])
    yield ""
    if facts["settings"]["state"] != OK:
        yield f"Q_CLUSTER cannot be used: {_in_one_line(facts['settings']['state'])}"
    else:
        yield f"Broker: {_named(facts['broker'])}"
        for reporter in facts["reporters"]:
            yield f"Error reporter {reporter['key']!r}: {_in_one_line(reporter['state'])}"
    for shared in facts["shared_keys"]:
        if not shared["contested"]:  # those stand in the table, with each plugin
            yield _in_one_line(shared["message"])


def _rows(plugins: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    """A line for each thing that a plugin brings; the last cell is free to be long."""
    for plugin in plugins:
        cells = [plugin["name"]], [plugin["distribution"]], [*_brought(plugin)] or ["nothing"]
        yield from zip_longest(*cells, [_in_one_line(plugin["state"])], fillvalue="")


def _brought(plugin: dict[str, Any]) -> Iterator[str]:
    for kind in ("broker", "reporter"):
        for entry in plugin[f"{kind}s"]:
            yield f"{kind} {entry['name']} ({', '.join(entry['keys'])})"
    for hook in plugin["hooks"]:
        yield f"hook {hook}"


def _table(rows: list[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _named(broker: dict[str, Any]) -> str:
    if broker["state"] != OK:
        return _in_one_line(broker["state"])
    return f"{broker['name']} ({broker['path']})"


def _in_one_line(sentences: str) -> str:
    # What a plugin raised may hold anything.
    return " ".join("".join(c if c.isprintable() else " " for c in sentences).split())
