"""Reads the manual's snippets, and the lists of what is changed in them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def snippet(name: str, begin: str = "", end: str = "") -> str:
    """Return a snippet such as "groups/01_result_group", or its lines from `begin` before `end`."""
    (path,) = HERE.glob(f"{name}.*")
    text = path.read_text()
    text = text[text.index(begin) :]
    return text[: text.index(end)] if end else text


def lists() -> list[Path]:
    """Return the lists of changes, one in each chapter's folder."""
    return sorted(HERE.glob("*/changes.toml"))


def entries(path: Path) -> list[dict[str, Any]]:
    """Return the snippets of one list."""
    found: list[dict[str, Any]] = tomllib.loads(path.read_text())["snippet"]
    return found
