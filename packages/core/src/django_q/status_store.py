"""Keeps statuses where all can read them: with the broker, in a shared cache, or in a table."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import IntegrityError, router
from django.db.transaction import atomic
from django.utils import timezone

from django_q import databases, status
from django_q.brokers import Broker, get_broker

if TYPE_CHECKING:
    from django_q.models import ClusterStatus


class SharedStatusStore:
    """The first that all can read of: the broker that keeps stats, the cache, the table."""

    def save(self, key: str, text: str, ttl: float, broker: Broker | None = None) -> None:
        """Keep `text` under `key` for `ttl` seconds."""
        keeper = _keeper(broker)
        if keeper is not None:
            keeper.set_stat(key, text, ttl)
        else:
            _save_row(key, text, ttl)

    def get(self, key: str, broker: Broker | None = None) -> str | None:
        """The living text under `key`."""
        keeper = _keeper(broker)
        if keeper is not None:
            return keeper.get_stat(key)
        model = _table()
        rows = model.objects.using(_alias()).filter(key=key, expires__gt=timezone.now())
        return rows.values_list("value", flat=True).first()

    def all(self, pattern: str, broker: Broker | None = None) -> list[str]:
        """Every living text whose key matches `pattern`, which ends in a star."""
        keeper = _keeper(broker)
        if keeper is not None:
            return list(keeper.get_stats(pattern) or ())
        rows = (
            _table()
            .objects.using(_alias())
            .filter(key__startswith=pattern.rstrip("*"), expires__gt=timezone.now())
        )
        return list(rows.order_by("key").values_list("value", flat=True))


store = SharedStatusStore()
status.store = store


def _keeper(broker: Broker | None) -> Broker | None:
    """The broker through which statuses are shared; None: the table has to serve."""
    broker = broker or get_broker()
    return broker if broker.keeps_stats or _is_shared(broker.cache) else None


def _is_shared(cache: Any) -> bool:
    """Do other processes see what is written to this cache?"""
    return cache is not None and not isinstance(cache, DummyCache | LocMemCache)


def _save_row(key: str, text: str, ttl: float) -> None:
    """One UPDATE each time but the first, when the dead are cleared away as well."""
    rows = _table().objects.using(_alias())
    now = timezone.now()
    facts = {"value": text, "expires": now + timedelta(seconds=ttl)}
    if databases.insist(lambda: rows.filter(key=key).update(**facts)):
        return
    databases.insist(lambda: rows.filter(expires__lt=now).delete())
    try:
        with atomic(_alias()):
            rows.create(key=key, **facts)
    except IntegrityError:
        rows.filter(key=key).update(**facts)  # somebody was faster


def _alias() -> str:
    """Never a replica: it may lag behind by more than a status lives."""
    return router.db_for_write(_table())


def _table() -> type[ClusterStatus]:
    from django_q.models import ClusterStatus  # the models need the app registry

    return ClusterStatus
