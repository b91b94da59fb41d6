"""Keeps results and the membership of groups in the cache, so that any number may write at once.

A result lies under `LIST_KEY:TASK_ID`. A group is not one list, which two writers would overwrite
in turn, but numbered slots `LIST_KEY:GROUP:keys:N`, each taken by `cache.add`. The list that a
Django Q2 cluster keeps under `LIST_KEY:GROUP:keys` is read too.
"""

from __future__ import annotations

import logging
from itertools import count
from typing import Any

from django_q.records.rows import CacheEntry

logger = logging.getLogger("django-q")

SLOTS_PER_READ = 200


def cache_write(entry: CacheEntry, cache: Any) -> None:
    """Keep a result in the cache and, if it has a group, list it there; twice is harmless."""
    cache.set(entry.key, entry.text, entry.timeout)
    if entry.group_key is not None:
        cached_group_add(cache, entry.group_key, entry.key, entry.timeout)


def cached_group_add(cache: Any, group_key: str, key: str, timeout: float | None) -> None:
    """List the key of a result in its group."""
    # A hint only: whoever sets it back by a race makes the next writer try one slot more.
    start = cache.get(_hint(group_key)) or 0
    for number in count(start):
        if cache.add(_slot(group_key, number), key, timeout):
            cache.set(_hint(group_key), number + 1, timeout)
            return
        if cache.get(_slot(group_key, number)) is None:
            # Neither free nor taken: the cache is away, or the slot expired at this moment.
            logger.warning("The cache did not take %r into the group %r", key, group_key)
            return


def cached_group_keys(cache: Any, group_key: str) -> list[str]:
    """The keys of the results that are listed in a group, each once; empty: no such group."""
    old_style = cache.get(group_key)
    keys = dict.fromkeys(old_style if isinstance(old_style, list) else ())
    keys.update(dict.fromkeys(_read_slots(cache, group_key).values()))
    return list(keys)


def cached_group_delete(cache: Any, group_key: str) -> None:
    """Remove a group and the results that are listed in it; an unknown group is no error."""
    slots = _read_slots(cache, group_key)
    results = cached_group_keys(cache, group_key)
    cache.delete_many([*results, *slots, _hint(group_key), group_key])


def _read_slots(cache: Any, group_key: str) -> dict[str, str]:
    """All taken slots in their order; those between them may have expired."""
    hint = cache.get(_hint(group_key)) or 0
    found: dict[str, str] = {}
    for start in count(0, SLOTS_PER_READ):
        slots = [_slot(group_key, start + offset) for offset in range(SLOTS_PER_READ)]
        values = cache.get_many(slots)
        found.update((slot, values[slot]) for slot in slots if slot in values)
        if not values and start + SLOTS_PER_READ > hint:
            return found
    return found


def _slot(group_key: str, number: int) -> str:
    return f"{group_key}:{number}"


def _hint(group_key: str) -> str:
    return f"{group_key}:next"
