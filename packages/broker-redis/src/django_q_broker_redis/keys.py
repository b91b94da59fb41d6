"""The names of a queue's keys, all in one slot of a Redis Cluster."""

from __future__ import annotations

import re

PREFIX, SUFFIX = "django_q:", ":q"

TAG = re.compile(r"\{[^}]+\}")
"""What a Redis Cluster counts of a key's name where it is there, instead of the whole."""


def list_key_of(name: str) -> str:
    """The key of the list of packages that nobody has claimed, as Django Q names it."""
    if name.startswith(PREFIX) and name.endswith(SUFFIX):
        return name  # it is the key already
    return f"{PREFIX}{name}{SUFFIX}"


def keys_of(list_key: str) -> list[str]:
    """All keys of a queue, in the order in which the scripts name them; the list comes first."""
    tag = list_key if TAG.search(list_key) else f"{{{list_key}}}"
    names = ("ready", "delayed", "leases", "claims", "packages", "counter", "wake")
    return [list_key, *(f"{tag}:{name}" for name in names)]
