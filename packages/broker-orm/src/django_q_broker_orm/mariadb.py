"""The queue's table on MariaDB: what is due is found without counting what waits."""

from __future__ import annotations

from datetime import datetime

from django_q_broker_orm.skip_locked import SkipLockedTable
from django_q_broker_orm.sqlite import LEVELS as LEVELS_OF_SQLITE
from django_q_broker_orm.table import Due, aware, due_of

LEVELS = LEVELS_OF_SQLITE.replace('"', "`")


class MariaDBTable(SkipLockedTable):
    """As wherever rows can be skipped; MySQL may restrict subqueries of a recursion more."""

    def due(self, now: datetime) -> Due:
        with self.connection.cursor() as cursor:
            cursor.execute(LEVELS, [self.key] * 4)
            found = cursor.fetchall()
        return due_of([(level, self._moment(at), bool(lack)) for level, at, lack in found], now)

    def _moment(self, at: datetime | None) -> datetime | None:
        return aware(at.replace(tzinfo=self.connection.timezone)) if at else None
