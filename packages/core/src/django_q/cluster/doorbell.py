"""A pipe that wakes one sleeping process: a byte is written only when its reader sleeps."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path

SAFETY_SECONDS = 1.0
"""How long a sleep lasts at most: a bell that was never heard costs this, not for ever."""


class Doorbell:
    """One reader, any number of ringers, one word of shared memory to say that it sleeps.

    Processes that are forked from its maker share its pipe. Others open the named pipe at `path`.
    """

    _reader = _writer = -1

    def __init__(self, sleeping: memoryview, path: Path | None = None) -> None:
        self._sleeping = sleeping
        if path is None:
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._reader, False)
            os.set_blocking(self._writer, False)
        else:
            # For both, so that it neither waits for a writer nor ends with the last one.
            self._reader = self._writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        # Not select(), which knows no descriptor above 1023: a large cluster has more.
        self._ear = select.poll()
        self._ear.register(self._reader, select.POLLIN)

    def __del__(self) -> None:
        for descriptor in {self._reader, self._writer} - {-1}:
            os.close(descriptor)

    def fileno(self) -> int:
        """Readable while a ring has not been heard."""
        return self._reader

    def ring(self) -> None:
        """Wake the reader if it sleeps; cheap when it does not, safe in a signal handler."""
        if self._sleeping[0]:
            self.shout()

    def shout(self) -> None:
        """Wake the reader whether or not it says that it sleeps."""
        # A full pipe has rung already; a closed one has nobody left to wake.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._writer, b"\0")

    def wait(self, seconds: float, ready: Callable[[], object] | None = None) -> None:
        """Sleep until rung, at most `seconds`; not at all when `ready()` is already true."""
        self._sleeping[0] = 1
        try:
            # Looked at after the word is set: whoever comes later sees that we sleep, and rings.
            if ready is None or not ready():
                self._ear.poll(max(0.0, min(seconds, SAFETY_SECONDS)) * 1000)
        finally:
            self._sleeping[0] = 0
        self.silence()

    @contextlib.contextmanager
    def attended(self) -> Iterator[None]:
        """Have every ring heard while the caller itself waits for `fileno()` among others."""
        self._sleeping[0] = 1
        try:
            yield
        finally:
            self._sleeping[0] = 0
            self.silence()

    def silence(self) -> None:
        """Forget the rings so far."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._reader, 4096)) == 4096:
                pass
