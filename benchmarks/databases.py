"""The databases that the benchmark and the stress test run on: a file, or a private server."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Database, OnMariaDB, OnPostgreSQL, SQLite
from tests.harness import DATABASE_FILE
from tests.servers import MariaDB, PostgreSQL

NAMES = ("sqlite", "postgresql", "mariadb")
KEPT_SECONDS = 600
"""Django's CONN_MAX_AGE on a server: for both contenders the same."""

LOGGED = re.compile(r"^\[(?P<database>\w*)\] LOG:  (?:statement|execute [^:]*): (?P<sql>.*)$")
"""A statement in PostgreSQL's log; what follows of it stands on indented lines."""


class DurableMariaDB(MariaDB):
    """A MariaDB that has on disk what it says is committed, as it does by default."""

    def command(self) -> list[str]:
        """Return what runs the server; of an option given twice the last counts."""
        return [*super().command(), "--innodb-flush-log-at-trx-commit=1"]


class Provider:
    """Makes databases, each new and empty; this one makes SQLite files."""

    server: PostgreSQL | MariaDB | None = None

    def new(self, folder: Path, template: Path | None = None) -> Database:
        """Return a database; a file lies in the folder."""
        return SQLite(folder / DATABASE_FILE, template)

    def title(self) -> str:
        """Return what runs, and how."""
        return "SQLite with WAL, synchronous NORMAL"

    def close(self) -> None:
        """End the server, if there is one."""

    @contextlib.contextmanager
    def statements(self, database: Database) -> Iterator[list[str]]:
        """Yield a list that holds, afterwards, every statement that the server has run."""
        yield []


class PostgreSQLProvider(Provider):
    """Makes databases on a PostgreSQL of its own."""

    server: PostgreSQL

    def __init__(self, durable: bool) -> None:
        self.durable = durable
        self.server = PostgreSQL(fsync="on" if durable else "off", log_line_prefix="[%d] ")
        self.server.start()

    def new(self, folder: Path, template: Path | None = None) -> Database:
        """Return a database on the server."""
        return kept(OnPostgreSQL(self.server))

    def title(self) -> str:
        """Return what runs, and how."""
        [(version,)] = self.server.query("postgres", "SHOW server_version")
        fsync = "fsync and synchronous_commit on" if self.durable else "fsync off"
        return f"PostgreSQL {version.split()[0]}, {fsync}, CONN_MAX_AGE {KEPT_SECONDS}"

    def close(self) -> None:
        """End the server."""
        self.server.close()

    @contextlib.contextmanager
    def statements(self, database: Database) -> Iterator[list[str]]:
        """Yield a list that holds, afterwards, every statement of this database's sessions."""
        found: list[str] = []
        with (self.server.folder / "log").open(errors="replace") as log:
            self._log("all")
            log.seek(0, os.SEEK_END)
            yield found
            lines = log.read().splitlines()
            self._log("none")
        own = [match for line in lines if (match := LOGGED.match(line))]
        name = database.settings["NAME"]
        found += [match["sql"][:200] for match in own if match["database"] == name]

    def _log(self, which: str) -> None:
        self.server.query("postgres", f"ALTER SYSTEM SET log_statement = '{which}'")
        self.server.query("postgres", "SELECT pg_reload_conf()")


class MariaDBProvider(Provider):
    """Makes databases on a MariaDB of its own."""

    server: MariaDB

    def __init__(self, durable: bool) -> None:
        self.durable = durable
        self.server = DurableMariaDB() if durable else MariaDB()
        self.server.start()

    def new(self, folder: Path, template: Path | None = None) -> Database:
        """Return a database on the server."""
        return kept(OnMariaDB(self.server))

    def title(self) -> str:
        """Return what runs, and how."""
        [(version,)] = self.server.query("mysql", "SELECT VERSION()")
        flush = f"innodb_flush_log_at_trx_commit {int(self.durable)}"
        return f"MariaDB {version.split('-')[0]}, {flush}, CONN_MAX_AGE {KEPT_SECONDS}"

    def close(self) -> None:
        """End the server."""
        self.server.close()

    @contextlib.contextmanager
    def statements(self, database: Database) -> Iterator[list[str]]:
        """Yield a list that holds, afterwards, every statement but our own."""
        found: list[str] = []
        query = self.server.query
        query("mysql", "SET GLOBAL log_output = 'TABLE'")
        query("mysql", "TRUNCATE mysql.general_log")
        query("mysql", "SET GLOBAL general_log = ON")
        yield found
        query("mysql", "SET GLOBAL general_log = OFF")
        rows = query(
            "mysql",
            "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Execute') "
            "AND thread_id NOT IN "
            "(SELECT thread_id FROM mysql.general_log WHERE argument LIKE 'SET GLOBAL%')",
        )
        found += [str(as_text(sql))[:200] for (sql,) in rows]


def as_text(value: object) -> object:
    """Return bytes as text: the log's column is a blob to some versions."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def kept(database: Database) -> Database:
    """Return the database, to which Django keeps its connections."""
    database.settings["CONN_MAX_AGE"] = KEPT_SECONDS
    return database


@contextlib.contextmanager
def provider(name: str, durable: bool) -> Iterator[Provider]:
    """Yield what makes databases of this kind; `durable` as a site would have them."""
    try:
        provider = make_provider(name, durable)
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        sys.exit(str(missing))
    try:
        yield provider
    finally:
        provider.close()


def make_provider(name: str, durable: bool) -> Provider:
    """Return what makes databases of this kind, its server started."""
    if name == "postgresql":
        return PostgreSQLProvider(durable)
    return MariaDBProvider(durable) if name == "mariadb" else Provider()
