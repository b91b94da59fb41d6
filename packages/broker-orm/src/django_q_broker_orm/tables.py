"""Chooses how the queue's table is read and written, by what the database can."""

from __future__ import annotations

from django.db import connections

from django_q_broker_orm.postgresql import PostgreSQLTable
from django_q_broker_orm.skip_locked import SkipLockedTable
from django_q_broker_orm.sqlite import SQLiteTable
from django_q_broker_orm.table import Table


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
