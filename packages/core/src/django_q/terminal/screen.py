"""Shows something on the whole screen, again and again, until `q` is pressed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rich.console import Console, ConsoleRenderable
from rich.live import Live

from django_q.terminal.keys import QUIT, Keys

REFRESH_SECONDS = 0.5


def is_live(console: Console) -> bool:
    """Can a screen be shown there? Neither in a file or a pipe, nor where nothing can be moved."""
    return console.file.isatty() and not console.is_dumb_terminal


def watch(console: Console, draw: Callable[[int], ConsoleRenderable]) -> None:
    """Show what `draw(height)` returns until `q` or Ctrl-C; the terminal is as before then.

    A SIGTERM ends the process, but only when the terminal has been put back.
    """
    screen = Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    try:
        with _ending_orderly(), Keys() as keys, screen:
            pressed = ""
            while QUIT not in pressed.lower():
                _follow(console)
                screen.update(draw(console.height), refresh=True)
                pressed = keys.pressed(REFRESH_SECONDS)
    except KeyboardInterrupt:
        pass


def _follow(console: Console) -> None:
    """Take the size that the terminal has now; rich would rather believe a COLUMNS that somebody
    has exported, which stays as it was."""
    columns, lines = os.get_terminal_size(console.file.fileno())
    if columns and lines:  # A pseudo-terminal may not know.
        console.size = columns, lines


@contextmanager
def _ending_orderly() -> Iterator[None]:
    """Let a SIGTERM unwind the block, which it would else cut off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
