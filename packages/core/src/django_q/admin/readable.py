"""What is pickled in a task's row, as text: its beginning for a list, all of it for its page."""

from __future__ import annotations

from base64 import b64decode
from pprint import pformat
from typing import TYPE_CHECKING, Any

from django.db.models import ExpressionWrapper, F, TextField
from django.utils.html import format_html
from django.utils.translation import gettext

from django_q import records

if TYPE_CHECKING:
    from django_q.models import Task

PICKLED = ("args", "kwargs", "result", "options")

BEGINNING = 600
"""Characters of base64, a multiple of 4: enough for a hundred of text, whatever these are."""

SHOWN = 100_000
"""Longer texts are cut: no browser likes them."""

PRETTY_BELOW = 100_000
"""Characters of base64: pprint takes its time."""

LENGTHS = {b"\x8c": 1, b"X": 4, b"\x8d": 8, b"U": 1, b"T": 4}
"""The opcodes of a pickled text, the last two Python 2's, and how many bytes its length takes."""


def text_beginning(encoded: str | None) -> str | None:
    """The beginning of a pickled str, from the beginning of what is stored; None: it is no str.

    It is read, not unpickled: nothing of it is run, and nothing is imported.
    """
    try:
        pickled = b64decode(encoded or "", validate=True)
    except ValueError:
        return None
    # Protocols from 2 on say which they are; from 4 on a frame may follow, with its length.
    if pickled[:1] != b"\x80":
        return None
    pickled = pickled[2:]
    if pickled[:1] == b"\x95":
        pickled = pickled[9:]
    size = LENGTHS.get(pickled[:1])
    if size is None:
        return None
    length = int.from_bytes(pickled[1 : 1 + size], "little")
    # The last character may be cut.
    return pickled[1 + size :][:length].decode("utf-8", "ignore")


def stored(task: Task, name: str) -> str | None:
    """A pickled column of a task as it is stored, without it being unpickled."""
    rows = type(task)._base_manager.using(task._state.db).filter(pk=task.pk)
    encoded = ExpressionWrapper(F(name), TextField())
    return rows.annotate(encoded=encoded).values_list("encoded", flat=True).first()


def readable(encoded: str | None) -> str | None:
    """A pickled value as HTML, or why it cannot be read; None where there is none."""
    if encoded is None:
        return None
    try:
        value = records.decode(encoded)
    except Exception as error:  # unpickling imports, and runs what it names
        return gettext("It cannot be unpickled: %s") % _named(error)
    return shown(value, len(encoded))


def shown(value: Any, size: int = 0) -> str:
    """A value as HTML, however it prints; `size` is that of its pickle."""
    try:
        text = _pretty(value, size)
    except Exception as error:  # so does a __repr__
        return gettext("It cannot be shown: %s") % _named(error)
    # The admin's style gives a <pre> wide margins.
    return format_html("<pre>{}</pre>" if "\n" in text else "<code>{}</code>", _cut(text))


def _pretty(value: Any, size: int) -> str:
    if isinstance(value, str):
        return value
    return pformat(value, width=100, sort_dicts=False) if size < PRETTY_BELOW else repr(value)


def _cut(text: str) -> str:
    if len(text) <= SHOWN:
        return text
    more = gettext("… and %d more characters") % (len(text) - SHOWN)
    return f"{text[:SHOWN]}\n{more}"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
