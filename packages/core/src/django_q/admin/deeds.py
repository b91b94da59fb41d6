"""Tells what an action did: to who asked for it, to the log, and to each object's history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from django_q.conf import logger

NAMED_AT_MOST = 10
"""A message may travel in a cookie."""
LONGEST_REASON = 300  # characters


class Left(Exception):
    """Why an action leaves one object as it is."""


class Deeds:
    """One action's, object by object."""

    def __init__(
        self, model_admin: admin.ModelAdmin[Any], request: HttpRequest, action: str
    ) -> None:
        self.admin = model_admin
        self.request = request
        self.action = action
        self.done = 0
        self.left: list[str] = []

    def each(self, rows: Iterable[Any], deed: Callable[[Any], str | None]) -> None:
        """Do it to each object: it tells what it did, None for nothing, or raises."""
        for row in rows:
            try:
                text = deed(row)
            except Exception as error:  # what one object meets is no reason to leave the others
                self.leave(getattr(row, "name", None) or row, error)
            else:
                if text is not None:
                    self.done += 1
                    self.note(row, text)

    def note(self, row: Any, text: str) -> None:
        """Write what was done to an object into its history."""
        self.admin.log_change(self.request, row, text)

    def leave(self, name: object, reason: object) -> None:
        """Keep why an object is left as it is."""
        text = str(reason) or type(reason).__name__
        self.left.append(f"{name}: {text[:LONGEST_REASON]}")

    def tell(self, done: Callable[[int], str], left: Callable[[int], str]) -> None:
        """Say how many objects were changed, and which were not and why."""
        logger.info(
            "%s in the admin by %s: %s done, %s left",
            self.action, self.request.user, self.done, len(self.left),
        )  # fmt: skip
        if self.done:
            self.admin.message_user(self.request, done(self.done), messages.SUCCESS)
        if self.left:
            named = [left(len(self.left)), *self.left[:NAMED_AT_MOST]]
            if len(self.left) > NAMED_AT_MOST:
                named.append(_("and so on"))
            self.admin.message_user(self.request, " · ".join(named), messages.ERROR)
