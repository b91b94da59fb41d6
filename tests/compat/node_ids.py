"""Do the tests that a list names exist? Asked of the source, so that none has to be run."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.harness import ROOT


def missing(node_ids: Iterable[str]) -> list[str]:
    """Return the node ids that name no test; one without parameters stands for all of them."""
    return [node_id for node_id in node_ids if not _exists(node_id)]


def _exists(node_id: str) -> bool:
    path, _, name = node_id.partition("::")
    return (ROOT / path).is_file() and name in _tests_of(ROOT / path)


@cache
def _tests_of(path: Path) -> frozenset[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if hasattr(each, "name")}
    return frozenset(found)
