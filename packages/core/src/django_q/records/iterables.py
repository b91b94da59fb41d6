"""Completes `async_iter` groups: all items become one Task whose id is the group.

Items are counted where results are kept, so this works with any number of clusters and without
a shared cache.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections
from django.db.models import Count
from django.utils import timezone

from django_q import databases
from django_q.conf import Settings, get_settings
from django_q.records.rows import CacheEntry, Item, Outcome, decode, row_of
from django_q.records.writing import insert_rows
from django_q.signing import SignedPackage

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_q.models import IterItem


def collate(groups: Mapping[str, Item], using: str) -> list[Outcome]:
    """Complete those groups whose items have all finished; return the outcomes of the groups.

    Call it after the items are committed, since of two clusters that commit the last items at
    once neither sees the other's before, and before the items' packages are settled. It has a
    transaction of its own; twice is harmless. Cache entries and signals are the caller's.
    """
    work = partial(_collate, groups, using)
    try:
        return databases.transact(using, work)
    except IntegrityError:
        if connections[using].in_atomic_block:
            raise
        # Another cluster was quicker, and is committed now: there is nothing left to do.
        return databases.transact(using, work)


def _collate(groups: Mapping[str, Item], using: str) -> list[Outcome]:
    from django_q.models import IterItem  # needs the app registry

    counts = (
        IterItem.objects.using(using)
        .filter(group__in=list(groups))
        .values_list("group")
        .annotate(finished=Count("pk"))
        .order_by("group")
    )
    ready = [groups[group] for group, finished in counts if finished >= groups[group].count]
    completed = (_complete(item, using) for item in ready)
    return [outcome for outcome in completed if outcome is not None]


def _complete(item: Item, using: str) -> Outcome | None:
    from django_q.models import IterItem, Task

    items = IterItem.objects.using(using).filter(group=item.group)
    rows = _locked(items)
    if len(rows) < item.count:
        return None
    if Task.objects.using(using).filter(pk=item.group).exists():
        items.delete()  # late twins of items of a group that is complete
        return None
    outcome = _outcome(item, rows)
    if outcome.saved:
        insert_rows(connections[using], [outcome])
    items.delete()
    return outcome


def _locked(items: QuerySet[IterItem]) -> list[tuple[bool, str | None, str | None]]:
    """The items in order; where rows can be locked, whoever comes second finds none."""
    return list(
        items.select_for_update()
        .order_by("index", "task_id")
        .values_list("success", "args", "result")
    )


def _outcome(item: Item, rows: list[tuple[bool, str | None, str | None]]) -> Outcome:
    task: dict[str, Any] = pickle.loads(item.final)
    task |= {
        "id": item.group,
        "group": None,
        "result": [_readable(result) for _, _, result in rows],
        "success": all(success for success, _, _ in rows),
        "stopped": timezone.now(),
        "iter_length": item.count,
    }
    wrapped = task.pop("iter_wrapped", False)
    if "args" not in task:
        gathered = [_readable(args) for _, args, _ in rows]
        task["args"] = [_unwrapped(args) for args in gathered] if wrapped else gathered
    settings = get_settings()
    cached = bool(task.get("cached"))
    return Outcome(
        row=row_of(task, attempt_count=1),
        saved=not cached and _is_saved(task, settings),
        first=True,
        cache=_cache_entry(task, settings) if cached else None,
        hook=pickle.dumps(task["hook"]) if task.get("hook") else None,
        signal=pickle.dumps(task),
    )


def _unwrapped(args: Any) -> Any:
    """The caller's element, where it was no tuple and was made one."""
    return args[0] if isinstance(args, tuple) and len(args) == 1 else args


def _readable(text: str | None) -> Any:
    """An item's value, or why it cannot be read: one bad item must not hold up its group."""
    try:
        return decode(text)
    except Exception as error:  # unpickling runs what the value's classes define
        return f"The value of this item cannot be read: {type(error).__name__}: {error}"


def _is_saved(task: Mapping[str, Any], settings: Settings) -> bool:
    save = task.get("save")
    return not task["success"] or bool(settings.save_limit >= 0 if save is None else save)


def _cache_entry(task: Mapping[str, Any], settings: Settings) -> CacheEntry:
    queue = task.get("cluster") or settings.cluster_name
    return CacheEntry(
        key=f"{queue}:{task['id']}",
        text=SignedPackage.dumps(dict(task)),
        timeout=None if task["cached"] is True else task["cached"],
        group_key=None,
    )
