"""What the cluster runs: `measure` for every file, and `collate` as the hook of each."""

import ast
import json
import os
import tokenize
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from demo.settings import COLLATED

if TYPE_CHECKING:
    from django_q.models import Task

COUNTED: dict[type[ast.AST], str] = {
    ast.FunctionDef: "functions",
    ast.AsyncFunctionDef: "functions",
    ast.ClassDef: "classes",
    ast.Import: "imports",
    ast.ImportFrom: "imports",
}


def measure(path: str) -> dict[str, int]:
    """Parse a Python file and count what is in it; a file that does not parse raises."""
    with tokenize.open(path) as file:
        source = file.read()
    found = Counter(COUNTED.get(type(node), "other") for node in ast.walk(ast.parse(source, path)))
    return {
        "lines": source.count("\n"),
        "functions": found["functions"],
        "classes": found["classes"],
        "imports": found["imports"],
    }


def collate(task: "Task") -> None:
    """Append one line about a finished task; a single small O_APPEND write is never torn."""
    line = {
        "id": task.id,
        "path": task.args[0],
        "success": task.success,
        "result": task.result if task.success else reason(str(task.result)),
    }
    descriptor = os.open(COLLATED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


def reason(result: str) -> str:
    """Return the line of a failed task's result that names the error."""
    lines = [line.strip() for line in result.splitlines()]
    named = [line for line in lines if line.partition(":")[0].endswith("Error")]
    return (named or lines or [""])[-1][:200]


def read_collated(path: Path = COLLATED) -> list[dict[str, object]]:
    """Return what the hook wrote, one entry per finished task."""
    if not path.exists():
        return []
    # The last line may be half there when it is read while the cluster works.
    complete = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]
