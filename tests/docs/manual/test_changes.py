"""The snippets are the manual's but for the changes that are listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.docs.manual.snippets import HERE, entries, lists

KINDS = {"extraction", "slip", "Django Q2"}


def name(path: Path) -> str:
    return path.parent.name


def changes(entry: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = entry.get("change", [])
    return found


def lines_of(entry: dict[str, Any]) -> set[int]:
    """Return the manual's lines that a snippet is made of."""
    spans = [tuple(map(int, span.split("-"))) for span in entry.get("lines", [])]
    return {line for first, last in spans for line in range(first, last + 1)}


@pytest.mark.parametrize("path", lists(), ids=name)
def test_every_snippet_is_listed(path: Path) -> None:
    files = {file.name for file in path.parent.iterdir() if file != path}

    assert {entry["file"] for entry in entries(path)} == files


@pytest.mark.parametrize("path", lists(), ids=name)
def test_every_change_that_is_listed_is_made(path: Path) -> None:
    for entry in entries(path):
        text = "\n" + (path.parent / entry["file"]).read_text()
        for change in changes(entry):
            was, now = (f"\n{change[key]}\n" if change[key] else "" for key in ("was", "now"))
            assert now in text, change
            assert not was or was not in text, change


@pytest.mark.parametrize("path", lists(), ids=name)
def test_every_change_has_its_line_in_the_manual_and_its_reason(path: Path) -> None:
    for entry in entries(path):
        assert ("lines" in entry) != ("lost" in entry), entry
        assert entry.get("why", "").startswith("Lost in extraction") == ("lost" in entry), entry
        for change in changes(entry):
            assert change["line"] in lines_of(entry), change
            assert change["kind"] in KINDS, change
            assert change["why"], change


@pytest.mark.parametrize("path", lists(), ids=name)
def test_every_snippet_is_run(path: Path) -> None:
    tests = "".join(file.read_text() for file in HERE.glob("*.py"))

    for entry in entries(path):
        assert f'"{name(path)}/{Path(entry["file"]).stem}"' in tests, entry
