"""Lists the installed plugins for people and for programs: what each brings, and its state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from django_q.plugins.manager import Manager, Plugin, SharedKey

OK = "ok"
"""The state of what can be used; that of anything else is the sentence saying why not."""

_HEADINGS = ("PLUGIN", "DISTRIBUTION", "BRINGS", "STATE")


def listed(manager: Manager) -> list[dict[str, Any]]:
    """Every plugin by its name, distribution, brokers, reporters, hooks and state."""
    # Asked first: one that cannot name what it brings is known to be broken only then.
    contested = manager.contested_keys()
    return [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "brokers": _entries(plugin, manager, "django_q_brokers"),
            "reporters": _entries(plugin, manager, "django_q_reporters"),
            "hooks": manager.heard_by(plugin.name),
            "state": _state(plugin, contested),
        }
        for plugin in manager.plugins.values()
    ]


def _entries(plugin: Plugin, manager: Manager, hook_name: str) -> list[dict[str, Any]]:
    return [
        {"name": entry.name, "path": entry.path, "keys": list(entry.answers_to)}
        for name, entry in manager.offers(hook_name)
        if name == plugin.name
    ]


def _state(plugin: Plugin, contested: list[SharedKey]) -> str:
    if plugin.error:
        return str(plugin.error)
    lost = [str(key) for key in contested if plugin in {offer.plugin for offer in key.offers}]
    return " ".join(lost) or OK


# As text


def table(plugins: list[dict[str, Any]]) -> Iterator[str]:
    """The list as aligned lines, which a terminal and a file show alike."""
    return aligned([_HEADINGS, *_rows(plugins)])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _rows(plugins: list[dict[str, Any]]) -> Iterator[Sequence[str]]:
    """A line for each thing that a plugin brings; the state comes last, for it may be long."""
    for plugin in plugins:
        cells = [plugin["name"]], [plugin["distribution"]], [*_brought(plugin)] or ["nothing"]
        yield from zip_longest(*cells, [in_one_line(plugin["state"])], fillvalue="")


def _brought(plugin: dict[str, Any]) -> Iterator[str]:
    for kind in ("broker", "reporter"):
        for entry in plugin[f"{kind}s"]:
            yield f"{kind} {entry['name']} ({', '.join(entry['keys'])})"
    for hook in plugin["hooks"]:
        yield f"hook {hook}"


def in_one_line(sentences: str) -> str:
    """The same without line ends and control characters: what a plugin raised may hold any."""
    return " ".join("".join(c if c.isprintable() else " " for c in sentences).split())
