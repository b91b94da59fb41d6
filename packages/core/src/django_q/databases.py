"""What a cluster asks of a database connection: patience with locks, and to know an outage."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from django.db import DatabaseError, Error, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.transaction import atomic
from django.dispatch import receiver

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.001

_PREPARED = "_django_q_prepared"
_JOURNAL = "_django_q_journal"

_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_SQLITE_AWAY = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
}
# Serialization failure, deadlock, lock not available.
_SQLSTATE_BUSY = ("40001", "40P01", "55P03")
# Connection exceptions, insufficient resources, shutdown, input and output, a transaction that was
# ended with its connection, a primary that became a standby.
_SQLSTATE_AWAY = ("08", "53", "57P", "58030", "25P03", "25006")
# Lock wait timeout, deadlock, a row changed since the snapshot (MariaDB).
_MYSQL_BUSY = {1205, 1213, 1020}
# Too many connections, shutdown, disk full, read-only, interrupted, a cluster's node that is not
# ready; and the client's own codes 2000 to 2999.
_MYSQL_AWAY = {1021, 1040, 1047, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1203, 1290, 1317, 1836}
_MYSQL_AWAY |= {1927}
_ORACLE_AWAY = ("ORA-03113", "ORA-03114", "ORA-03135", "ORA-01033", "ORA-01034", "ORA-01089")
_ORACLE_LISTENER_AWAY = ("ORA-12", "DPY-4011", "DPY-1001", "DPY-6")


def prepare(using: str) -> None:
    """Make this thread's connection to `using` one of a cluster's own; reconnects keep it.

    On SQLite it takes its write locks at once (BEGIN IMMEDIATE) and does not wait for others in
    SQLite's busy handler, which starves the one that waits longest: `transact` and `insist` try
    again every millisecond instead. Other databases need nothing.
    """
    connection = connections[using]
    if getattr(connection, _PREPARED, False):
        return
    setattr(connection, _PREPARED, True)
    if connection.vendor == "sqlite" and connection.connection is not None:
        _make_impatient(connection)


def transact(using: str, work: Callable[[], T], patience: float | None = None) -> T:
    """Run `work` in one transaction and return what it returned.

    While other writers hold the lock, it is rolled back and tried again: `work` runs as often as
    needed and must do nothing but database work. Inside the caller's transaction it simply runs.
    A process that is no cluster's has waited as long as Django's settings say, and fails then.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        return work()

    def attempt() -> T:
        with _immediate(connection), atomic(using=using):
            outcome = work()
            _await_readers(connection)
            return outcome

    try:
        return insist(attempt, _patience(connection) if patience is None else patience)
    finally:
        _stop_awaiting_readers(connection)


def insist(work: Callable[[], T], patience: float = PATIENCE_SECONDS) -> T:
    """Run `work`, and again about every millisecond while the database says that it is busy."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return work()
        except Error as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))


def is_prepared(using: str) -> bool:
    """Does this thread's connection to `using` belong to a cluster's process?"""
    return bool(getattr(connections[using], _PREPARED, False))


def is_busy(error: BaseException) -> bool:
    """Did the database refuse because others hold a lock, so that trying again is enough?"""
    return any(_says_busy(cause) for cause in _chain(error))


def is_connection_error(error: BaseException) -> bool:
    """Is the database away (or full, or read-only), so that nothing is wrong with the data?"""
    return any(_says_away(cause) for cause in _chain(error))


def close(using: str) -> None:
    """Close this thread's connection; the next statement opens it again."""
    connection = connections[using]
    if connection.in_atomic_block:
        return
    try:
        connection.close()
    except DatabaseError:
        # What is lost already needs no goodbye, but must not be used again either.
        connection.connection = None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Django's error and the driver's own beneath it, which alone carries the code."""
    seen: BaseException | None = error
    for _ in range(3):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__


def _says_busy(error: BaseException) -> bool:
    code = _sqlite_code(error)
    if code is not None:
        return code in _SQLITE_BUSY
    sqlstate = _sqlstate(error)
    if sqlstate is not None:
        return sqlstate in _SQLSTATE_BUSY
    return _mysql_code(error) in _MYSQL_BUSY or _oracle_text(error).startswith("ORA-00060")


def _says_away(error: BaseException) -> bool:
    code = _sqlite_code(error)
    if code is not None:
        return code in _SQLITE_AWAY
    if isinstance(error, InterfaceError):
        return not isinstance(error.__cause__, sqlite3.Error)
    sqlstate = _sqlstate(error)
    if sqlstate is not None:
        return sqlstate.startswith(_SQLSTATE_AWAY)
    if _is_postgres_operational(error):
        return True  # libpq gives no SQLSTATE for a connection that it lost or never had.
    mysql = _mysql_code(error)
    if mysql is not None:
        return mysql in _MYSQL_AWAY or 2000 <= mysql < 3000 or mysql == 0
    return _oracle_text(error).startswith(_ORACLE_AWAY + _ORACLE_LISTENER_AWAY)


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None


def _is_postgres_operational(error: BaseException) -> bool:
    driver, _, _ = type(error).__module__.partition(".")
    return driver in {"psycopg", "psycopg2", "psycopg_pool"} and type(error).__name__ in {
        "OperationalError",
        "InterfaceError",
        "AdminShutdown",
        "PoolTimeout",
        "PoolClosed",
    }


def _mysql_code(error: BaseException) -> int | None:
    driver, _, _ = type(error).__module__.partition(".")
    if driver not in {"MySQLdb", "pymysql"} or not error.args:
        return None
    code = error.args[0]
    return code if isinstance(code, int) else None


def _oracle_text(error: BaseException) -> str:
    driver, _, _ = type(error).__module__.partition(".")
    return str(error) if driver in {"oracledb", "cx_Oracle"} else ""


def _make_impatient(connection: Any) -> None:
    connection.transaction_mode = "IMMEDIATE"
    connection.connection.execute("PRAGMA busy_timeout = 0")


@receiver(connection_created)
def _prepare_again(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.vendor == "sqlite":
        connection.__dict__.pop(_JOURNAL, None)
        if getattr(connection, _PREPARED, False):
            _make_impatient(connection)


def _patience(connection: Any) -> float:
    if connection.vendor != "sqlite" or getattr(connection, _PREPARED, False):
        return PATIENCE_SECONDS
    return float(connection.settings_dict["OPTIONS"].get("timeout", 5.0))


def _immediate(connection: Any) -> Any:
    """BEGIN IMMEDIATE also where the process's own connection is used: a lock asked for after a
    read is refused at once when somebody wrote in between."""
    if connection.vendor != "sqlite" or getattr(connection, _PREPARED, False):
        return nullcontext()
    return _borrowed_immediate(connection)


@contextmanager
def _borrowed_immediate(connection: Any) -> Iterator[None]:
    connection.ensure_connection()  # It would reset the mode.
    mode, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
    try:
        yield
    finally:
        connection.transaction_mode = mode


def _await_readers(connection: Any) -> None:
    """Without WAL a COMMIT waits for readers; being refused there would repeat all the work."""
    if _is_impatient(connection) and _journal(connection) != "wal":
        connection.connection.execute("PRAGMA busy_timeout = 200")


def _stop_awaiting_readers(connection: Any) -> None:
    if _is_impatient(connection) and getattr(connection, _JOURNAL, "wal") != "wal":
        connection.connection.execute("PRAGMA busy_timeout = 0")


def _is_impatient(connection: Any) -> bool:
    return (
        connection.vendor == "sqlite"
        and getattr(connection, _PREPARED, False)
        and connection.connection is not None
    )


def _journal(connection: Any) -> str:
    known: str | None = getattr(connection, _JOURNAL, None)
    if known is None:
        known = str(connection.connection.execute("PRAGMA journal_mode").fetchone()[0])
        setattr(connection, _JOURNAL, known)
    return known
