"""What came of tasks: written in batches by the monitor, read by whoever decides on it.

A worker says what came of a package in an `Outcome` whose columns it has encoded already; the
monitor hands many of them to `write` inside one transaction, and `collate` in the next one
completes the `async_iter` groups among them. Importing this package imports no model.
"""

from django_q.records.cached import (
    cache_write,
    cached_group_add,
    cached_group_delete,
    cached_group_keys,
)
from django_q.records.iterables import collate
from django_q.records.pruning import expire_for, prune, prune_for
from django_q.records.reading import (
    attempt_count,
    database,
    recorded_success,
    stored_task,
    worker_deaths,
)
from django_q.records.rows import (
    CacheEntry,
    Item,
    Link,
    Outcome,
    Recorded,
    Row,
    cautious,
    decode,
    encode,
    load_task,
    refusal,
    row_of,
)
from django_q.records.writing import write

__all__ = [
    "CacheEntry",
    "Item",
    "Link",
    "Outcome",
    "Recorded",
    "Row",
    "attempt_count",
    "cache_write",
    "cached_group_add",
    "cached_group_delete",
    "cached_group_keys",
    "cautious",
    "collate",
    "database",
    "decode",
    "encode",
    "expire_for",
    "load_task",
    "prune",
    "prune_for",
    "recorded_success",
    "refusal",
    "row_of",
    "stored_task",
    "worker_deaths",
    "write",
]
