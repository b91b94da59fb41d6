"""A `multiprocessing.Queue` that can be counted on every platform, as 1.x offered it.

The cluster itself uses none; custom code that imported it goes on working.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.queues import Queue as ProcessQueue
from typing import Any

__all__ = ["Queue", "SharedCounter"]


class SharedCounter:
    """A number that several processes add to."""

    def __init__(self, n: int = 0, ctx: Any = None) -> None:
        self.count = (ctx or multiprocessing).Value("i", n)

    def increment(self, n: int = 1) -> None:
        """Add `n`, which may be negative."""
        with self.count.get_lock():
            self.count.value += n

    @property
    def value(self) -> int:
        return int(self.count.value)


class Queue(ProcessQueue):  # type: ignore[type-arg]  # it cannot be subscripted at run time
    """Counts what is put and got itself: macOS cannot ask the operating system."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        context = kwargs.setdefault("ctx", multiprocessing.get_context())
        super().__init__(*args, **kwargs)
        self.size = SharedCounter(ctx=context)

    def __getstate__(self) -> Any:
        return super().__getstate__(), self.size

    def __setstate__(self, state: Any) -> None:
        inherited, self.size = state
        super().__setstate__(inherited)

    def put(self, *args: Any, **kwargs: Any) -> None:
        super().put(*args, **kwargs)
        self.size.increment()

    def get(self, *args: Any, **kwargs: Any) -> Any:
        item = super().get(*args, **kwargs)
        self.size.increment(-1)
        return item

    def qsize(self) -> int:
        return self.size.value

    def empty(self) -> bool:
        return self.qsize() <= 0
