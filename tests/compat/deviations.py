"""Writes docs/deviations.md from deviations.toml: python -m tests.compat.deviations."""

import tomllib
from pathlib import Path
from typing import Any

from tests.harness import ROOT

PAGE = ROOT / "docs" / "deviations.md"
AREAS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("deviations.toml").read_text())
DESELECTED: dict[str, dict[str, str]] = AREAS.pop("deselected")
"""Kind → test of Django Q2 that is left out of the grafted run → why."""

HEAD = """\
# What is different on purpose

Names, signatures, settings, tables and packages are those of Django Q2 1.11. Where the behaviour \
differs, it is on this page, with the reason. It is written from `tests/compat/deviations.toml`, \
which also names the tests.
"""

LEFT_OUT = """\
## Django Q2's own tests

Its suite, as its wheel brings it, is run on this `django_q` with every test of ours. All of it \
passes but what is listed here: tests that drive the old engine's internals, whose behaviour is \
tested otherwise, one of what is different on purpose, and tests that need a service at its address.
"""

KINDS = {
    "internal": "Internals.",
    "deviating": "Different on purpose.",
    "service": "Needs a service.",
}
"""What the page says of each kind."""


def differences() -> list[dict[str, Any]]:
    """Return every entry of the list."""
    return [each for area in AREAS.values() for each in area["differences"]]


def page() -> str:
    """Return the page as it has to be."""
    return "\n".join(
        [HEAD, *(_section(title, area) for title, area in AREAS.items()), LEFT_OUT, _left_out()]
    )


def _section(title: str, area: dict[str, Any]) -> str:
    rows = [(each["what"], each["reason"]) for each in area["differences"]]
    return f"## {title}\n\n{area['intro']}\n\n{_table('what', 'why', rows)}"


def _left_out() -> str:
    return _table(
        "test",
        "why it is left out",
        [
            (f"`{test}`", f"{KINDS[kind]} {reason}")
            for kind, tests in DESELECTED.items()
            for test, reason in tests.items()
        ],
    )


def _table(left: str, right: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {_cell(first)} | {_cell(second)} |" for first, second in rows]
    return "\n".join([f"| {left} | {right} |", "|---|---|", *lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
