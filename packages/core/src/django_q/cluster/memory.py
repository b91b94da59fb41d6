"""Memory that the processes of a cluster share, however they are started."""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any


class AnonymousMemory:
    """Zeros to begin with, shared with every process that is forked from its maker."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(mmap.mmap(-1, size))


class FileMemory:
    """The same for processes that are not forked: they are handed the descriptor of a file that
    has no name, so that nothing of it is left behind whatever dies."""

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        self._size = size
        self._descriptor = _nameless_file(size) if descriptor is None else descriptor
        self.view = memoryview(mmap.mmap(self._descriptor, size))

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self._size, reduction.DupFd(self._descriptor))

    def __del__(self) -> None:
        os.close(self._descriptor)


def _received(size: int, descriptor: Any) -> FileMemory:
    return FileMemory(size, descriptor.detach())


def _nameless_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        # Not in a folder: /dev/shm is small in containers, and a disk would be written to.
        descriptor = os.memfd_create("django-q-board")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
