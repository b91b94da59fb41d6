"""Reads single keys from the terminal, and puts it back as it was."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

QUIT = "q"

if sys.platform == "win32":
    import msvcrt

    POLL_SECONDS = 0.05

    class Keys:
        """The keys that are pressed in its block."""

        def __enter__(self) -> Keys:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def pressed(self, seconds: float) -> str:
            """What is pressed within so many seconds; the console cannot be waited for."""
            until = time.monotonic() + seconds
            while not msvcrt.kbhit():
                if time.monotonic() > until:
                    return ""
                time.sleep(POLL_SECONDS)
            return msvcrt.getwch()

else:
    import os
    import select
    import termios
    import tty

    class Keys:
        """The keys that are pressed in its block: at once, and without showing them."""

        def __enter__(self) -> Keys:
            # Without a terminal to read from (`qmonitor </dev/null`) there are only signals.
            self._terminal = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None
            self._before: list[Any] = []
            if self._terminal is not None:
                self._before = termios.tcgetattr(self._terminal)
                tty.setcbreak(self._terminal)
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            if self._terminal is not None:
                # What was typed too much is not for the shell.
                termios.tcsetattr(self._terminal, termios.TCSAFLUSH, self._before)

        def pressed(self, seconds: float) -> str:
            """What is pressed within so many seconds."""
            terminals = [] if self._terminal is None else [self._terminal]
            for terminal in select.select(terminals, [], [], seconds)[0]:
                # Nothing to be read: the terminal is gone.
                return os.read(terminal, 1024).decode(errors="replace") or QUIT
            return ""
