"""The names of a queue's keys, all in one slot of a Redis Cluster."""

from __future__ import annotations

import re

PREFIX, SUFFIX = "django_q:", ":q"

TAG = re.compile(r"^[^{]*\{[^}]+\}")
"""Does a Redis Cluster take a part of this key's name for the whole: what is between the first
opening brace and the next closing one?"""


def list_key_of(name: str) -> str:
    """The key of the list of packages that nobody has claimed, as Django Q names it."""
    if name.startswith(PREFIX) and name.endswith(SUFFIX):
        return name  # it is the key already
    return f"{PREFIX}{name}{SUFFIX}"


def has_one_slot(list_key: str) -> bool:
    """Can the keys of this queue be in one slot? A name like `a}b` cannot be in braces."""
    return "}" not in list_key or TAG.match(list_key) is not None


def keys_of(list_key: str) -> list[str]:
    """All keys of a queue, in the order in which the scripts name them; the list comes first."""
    tag = list_key if TAG.match(list_key) else f"{{{list_key}}}"
    names = ("ready", "delayed", "leases", "claims", "packages", "counter", "wake")
    return [list_key, *(f"{tag}:{name}" for name in names)]
