"""Linux's word that a file in a folder was written, without polling it."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable

IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x80, 0x100, 0x200
IN_OPEN, IN_Q_OVERFLOW, IN_ONLYDIR = 0x20, 0x4000, 0x01000000
WRITTEN = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ONLYDIR

HEADER = struct.Struct("iIII")
BUFFER_BYTES = 64 * 1024


class Inotify:
    """Events of the files in one folder that have these names."""

    def __init__(self, folder: str, names: Iterable[str]) -> None:
        """Raises OSError where inotify is not to be had, or says nothing."""
        self._names = {os.fsencode(name) for name in names}
        if not sys.platform.startswith("linux"):
            raise OSError("Only Linux has inotify.")
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._pid = os.getpid()
        try:
            self._prove(libc, folder)
            _checked(libc.inotify_add_watch(self.fd, os.fsencode(folder), WRITTEN))
        except OSError:
            self.close()
            raise

    def drain(self) -> bool:
        """Take all events that have come: was one about our files?"""
        found = False
        while events := self._read():
            found |= self._concerns_us(events)
        return found

    def close(self) -> None:
        """Stop listening. A forked child leaves the descriptor alone: the number may have become
        another file's."""
        if self.fd >= 0 and self._pid == os.getpid():
            os.close(self.fd)
        self.fd = -1

    def is_ours(self) -> bool:
        """Was it opened by this process?"""
        return self.fd >= 0 and self._pid == os.getpid()

    def _prove(self, libc: ctypes.CDLL, folder: str) -> None:
        """Listing the folder must be heard; some file systems and sandboxes are deaf."""
        _checked(libc.inotify_add_watch(self.fd, os.fsencode(folder), IN_OPEN | IN_ONLYDIR))
        os.listdir(folder)
        if not self._read():
            raise OSError(f"inotify says nothing of what happens in {folder}.")

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, BUFFER_BYTES)
        except BlockingIOError:
            return b""

    def _concerns_us(self, events: bytes) -> bool:
        at = 0
        while at < len(events):
            _, mask, _, length = HEADER.unpack_from(events, at)
            name = events[at + HEADER.size : at + HEADER.size + length].rstrip(b"\0")
            if mask & IN_Q_OVERFLOW or name in self._names:
                return True
            at += HEADER.size + length
        return False


def _checked(returned: int) -> int:
    if returned < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return returned
