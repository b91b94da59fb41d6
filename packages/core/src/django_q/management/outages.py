"""Lets a command say in one sentence what is missing or away, instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import Error

from django_q.databases import is_connection_error
from django_q.errors import DjangoQError
from django_q.plugins.listing import in_one_line
from django_q.readiness import explanation


@contextmanager
def in_a_sentence(using: str = "default") -> Iterator[None]:
    """Turn what is wrong with the site, its broker or its database `using` into a CommandError."""
    try:
        yield
    except DjangoQError as error:
        raise CommandError(str(error)) from error
    except Error as error:
        explained = explanation(error, using)
        if explained is not None:
            raise CommandError(str(explained)) from error
        if is_connection_error(error):
            raise CommandError(
                f"The database {using!r} cannot be used: {in_one_line(str(error))}"
            ) from error
        raise
