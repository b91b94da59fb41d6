"""A small real reporter: one line of JSON per error, appended to a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any


class FileReporter:
    """Writes down what was raised, and by which task."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def report(self) -> None:
        error = sys.exc_info()[1]
        if error is None:
            return
        entry = {"error": f"{type(error).__name__}: {error}"} | self.task()
        with self.path.open("a") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def task(self) -> dict[str, str]:
        """The task, found as docs/plugins.md says: in the frames that led to the exception."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            task: Any = frame.f_locals.get("task")
            if isinstance(task, dict) and "id" in task:
                return {name: str(task.get(name)) for name in ("id", "name", "func")}
            frame = frame.f_back
        return {}
