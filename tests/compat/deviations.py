"""Writes docs/deviations.md from deviations.toml: python -m tests.compat.deviations."""

import tomllib
from pathlib import Path
from typing import Any

from tests.harness import ROOT

PAGE = ROOT / "docs" / "deviations.md"
AREAS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("deviations.toml").read_text())

HEAD = """\
# What is different on purpose

Names, signatures, settings, tables and packages are those of Django Q2 1.11. Where the behaviour \
differs, it is on this page, with the reason. It is written from `tests/compat/deviations.toml`, \
which also names the tests.
"""


def differences() -> list[dict[str, Any]]:
    """Return every entry of the list."""
    return [each for area in AREAS.values() for each in area["differences"]]


def page() -> str:
    """Return the page as it has to be."""
    return "\n".join([HEAD, *(_section(title, area) for title, area in AREAS.items())])


def _section(title: str, area: dict[str, Any]) -> str:
    rows = [f"| {_cell(each['what'])} | {_cell(each['reason'])} |" for each in area["differences"]]
    table = "\n".join(["| what | why |", "|---|---|", *rows])
    return f"## {title}\n\n{area['intro']}\n\n{table}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
