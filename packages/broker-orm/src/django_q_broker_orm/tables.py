"""Chooses how the queue's table is used and waited for, by what the database can."""

from __future__ import annotations

from django.db import connections

from django_q_broker_orm.notifications import ListeningWaiter
from django_q_broker_orm.postgresql import PostgreSQLTable
from django_q_broker_orm.skip_locked import SkipLockedTable
from django_q_broker_orm.sqlite import SQLiteTable
from django_q_broker_orm.table import Table
from django_q_broker_orm.wake import SQLiteWaiter, Waiter


def table_for(alias: str, key: str) -> Table:
    """The best way that this database allows."""
    return _class_for(alias)(alias, key)


def _class_for(alias: str) -> type[Table]:
    connection = connections[alias]
    if connection.vendor == "sqlite":
        return SQLiteTable
    if connection.vendor == "postgresql":
        return PostgreSQLTable
    # Oracle has SKIP LOCKED, but not together with a limit.
    if connection.vendor == "mysql" and connection.features.has_select_for_update_skip_locked:
        return SkipLockedTable
    return Table


def waiter_for(alias: str, key: str, poll: float) -> Waiter:
    """The best way to wait that this database allows."""
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        return SQLiteWaiter(alias)
    if vendor == "postgresql":
        return ListeningWaiter(alias, key, poll)
    return Waiter(poll)
