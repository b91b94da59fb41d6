"""Posts each error to a URL, as the JSON that chat servers take: `{"text": "…"}`."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.request import Request, urlopen


class Webhook:
    """A reporter: made once per process from its options, and called while an error is handled."""

    def __init__(self, url: str, timeout: float = 2.0) -> None:
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"The url must begin with https:// or http://, not be {url!r}.")
        self.url = url
        self.timeout = timeout

    def report(self) -> None:
        """Post the exception that is being handled, if there is one."""
        error = sys.exc_info()[1]
        if error is not None:
            self._post(text_of(error))

    def _post(self, text: str) -> None:
        content = json.dumps({"text": text}, ensure_ascii=False).encode()
        request = Request(self.url, content, {"Content-Type": "application/json; charset=utf-8"})
        # The worker waits for this before it hands on the result: never without a time limit.
        with urlopen(request, timeout=self.timeout):
            pass


def text_of(error: BaseException) -> str:
    """Say what was raised, in which task, and where."""
    task = task_of(error.__traceback__)
    title = "The task {name} ({func}, {id}) failed".format_map(task) if task else "An error"
    return f"{title}: {error!r}\n{''.join(traceback.format_exception(error))}"


def task_of(trace: TracebackType | None) -> Mapping[str, Any] | None:
    """Find the task: a dict named `task` in the frames that led to the error."""
    while trace is not None:
        task = trace.tb_frame.f_locals.get("task")
        if isinstance(task, dict) and task.keys() >= {"id", "name", "func"}:
            return task
        trace = trace.tb_next
    return None
