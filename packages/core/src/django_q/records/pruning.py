"""Keeps the table of finished tasks at its limits, by a few statements that load no row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q
from django.db.models.functions import Coalesce

from django_q.conf import Settings
from django_q.records.chunks import Bounds, Part, Target, delete

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

KEYS_PER_PASS = 1000
"""How many groups, names or functions one call brings down to the limit."""


def prune(settings: Settings, using: str, since: datetime | None = None) -> int:
    """Delete the oldest finished tasks beyond the limits; return how many.

    With `save_limit_per`, `since` restricts it to groups (names, functions) of which a task has
    ended since then: pass the time of the last call less a minute.
    """
    return sum(_chunks(beyond_limits(settings, using, since, KEYS_PER_PASS), using))


def prune_for(
    seconds: float, settings: Settings, using: str, since: datetime | None = None
) -> bool:
    """Prune for about so long; return whether all is done, so that no call is needed again."""
    return _work_for(seconds, beyond_limits(settings, using, since, KEYS_PER_PASS), using)


def expire_for(seconds: float, before: datetime, using: str) -> bool:
    """Delete for about so long what ended before then; return whether all is done."""
    return _work_for(seconds, older_than(before), using)


def _work_for(seconds: float, targets: Iterator[Target], using: str) -> bool:
    deadline = time.monotonic() + seconds
    return all(time.monotonic() < deadline for _ in _chunks(targets, using))


def _chunks(targets: Iterator[Target], using: str) -> Iterator[int]:
    for target in targets:
        yield from delete(target, using)


def older_than(before: datetime) -> Iterator[Target]:
    """All finished tasks that ended before then."""
    from django_q.models import Failure, Success  # needs the app registry

    yield Target(Part(Success), Bounds(before=before))
    yield Target(Part(Failure), Bounds(before=before))


def beyond_limits(
    settings: Settings, using: str, since: datetime | None = None, keys: int | None = None
) -> Iterator[Target]:
    """What `save_limit` and `failure_limit` leave no room for, found out as it is asked for.

    With `save_limit_per`, of so many groups (names, functions) at most; None: of all.
    """
    from django_q.models import Failure, Success

    if settings.save_limit > 0:
        for part in _parts(Success, settings, using, since, keys):
            yield from _excess(part, settings.save_limit, using)
    if settings.failure_limit > 0:
        yield from _excess(Part(Failure), settings.failure_limit, using)


def _parts(
    model: type[Model], settings: Settings, using: str, since: datetime | None, keys: int | None
) -> list[Part]:
    """The parts that exceed the limit, or all successes where it is one limit for all."""
    field = settings.save_limit_per
    if field is None:
        return [Part(model)]
    tasks = model._default_manager.using(using)
    if since is not None:
        touched = tasks.filter(stopped__gte=since).order_by().values(field)
        tasks = tasks.filter(Q((f"{field}__in", touched)) | Q((f"{field}__isnull", True)))
    exceeding = (
        tasks.order_by()
        .values_list(field)
        .annotate(finished=Count("pk"))
        .filter(finished__gt=settings.save_limit)
    )
    return [Part(model, field, value) for value, _ in exceeding[:keys]]


def _excess(part: Part, limit: int, using: str) -> Iterator[Target]:
    newest_first = _ranked(part, using).order_by("-stopped", "-id")
    cutoff = newest_first.values_list("stopped", "id")[limit : limit + 1].first()
    if cutoff is not None:
        yield Target(part, Bounds(up_to=cutoff))


def _ranked(part: Part, using: str) -> QuerySet[Any]:
    """The part's tasks, asked for so that the index on its field is read in its order."""
    from django_q.models import Task

    if part.field is None:
        return part.tasks(using)
    # Django 6.1 writes `success = 1`, and SQLite prefers the index on that to the field's:
    # hidden in an expression it serves no index.
    hidden = Task._default_manager.using(using).alias(is_success=Coalesce("success", False))
    return hidden.filter(is_success=part.success, **{part.field: part.value})
