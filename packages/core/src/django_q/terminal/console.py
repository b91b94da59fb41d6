"""What all tables share: the console that they are printed to, and cells that cannot break them."""

from __future__ import annotations

from collections.abc import Mapping
from io import TextIOWrapper
from typing import Any

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.text import Text

from django_q.plugins.listing import in_one_line


def console_on(stdout: Any, options: Mapping[str, Any] | None = None) -> Console:
    """A console that prints to a command's `stdout`, in colour as its options have it."""
    asked = options or {}
    if isinstance(stdout, OutputWrapper):
        stdout = stdout._out  # itself it would end each write with a new line
    if isinstance(stdout, TextIOWrapper) and stdout.encoding.lower() not in ("utf-8", "utf8"):
        # A name may have letters, and what is cut has dots, which not every terminal knows.
        stdout.reconfigure(errors="replace")
    return Console(
        file=stdout,
        force_terminal=True if asked.get("force_color") else None,
        no_color=True if asked.get("no_color") else None,
        highlight=False,
    )


def cell(value: object, style: str = "") -> Text:
    """A value as one line of plain text: a name may hold line ends, colours, or markup."""
    return Text(in_one_line(str(value)), style=style, overflow="ellipsis", no_wrap=True)
