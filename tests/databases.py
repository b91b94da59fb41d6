"""The database of a test project: a SQLite file, or a database of its own on a private server."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from pathlib import Path
from typing import Any

from tests.servers import MariaDB, PostgreSQL

SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}

# Django asks for a version of mysqlclient; PyMySQL says one that it no longer accepts.
USE_PYMYSQL = """\
import pymysql
pymysql.version_info = (2, 2, 8, "final", 0)
pymysql.install_as_MySQLdb()
"""


class Database:
    """What a project's settings say of its database, and a way to look into it from outside."""

    name: str
    settings: dict[str, Any]
    prelude = ""
    """Code that the settings module needs first."""

    def connect(self) -> Any:
        """Return a connection of one's own, in autocommit mode."""
        raise NotImplementedError

    def statement(self, sql: str) -> str:
        """Return the statement with the driver's placeholders."""
        return sql.replace("%", "%%").replace("?", "%s")

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement, with `?` for values, and return its rows."""
        return self._run(sql, parameters)[1]

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run one statement and return its rows by column name."""
        names, rows = self._run(sql, parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _run(
        self, sql: str, parameters: tuple[Any, ...]
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            if parameters:
                cursor.execute(self.statement(sql), parameters)
            else:
                cursor.execute(sql)
            if not cursor.description:
                return [], []
            return [column[0] for column in cursor.description], list(cursor.fetchall())

    def drop(self) -> None:
        """Remove the database."""


class SQLite(Database):
    """A file, set up as the documentation recommends; a copy of `template` if there is one."""

    name = "sqlite"

    def __init__(self, path: Path, template: Path | None = None) -> None:
        self.path = path
        self.settings = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(path),
            "OPTIONS": SQLITE_OPTIONS,
        }
        if template is not None:
            shutil.copyfile(template, path)

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=20, isolation_level=None)

    def statement(self, sql: str) -> str:
        return sql


class OnServer(Database):
    """A database of its own on a server; a copy of the database `template` if there is one."""

    def __init__(self, server: PostgreSQL | MariaDB, template: str | None = None) -> None:
        self.server = server
        self.database = f"project_{uuid.uuid4().hex}"
        server.create_database(self.database, template)
        self.settings = server.settings(self.database)

    def connect(self) -> Any:
        return self.server.connect(self.database)

    def drop(self) -> None:
        self.server.drop_database(self.database)


class OnPostgreSQL(OnServer):
    """A database on a PostgreSQL server; connections are kept, as the manual advises."""

    name = "postgresql"

    def __init__(self, server: PostgreSQL, template: str | None = None) -> None:
        super().__init__(server, template)
        self.settings = server.settings(self.database, CONN_MAX_AGE=600)


class OnMariaDB(OnServer):
    """A database on a MariaDB server, by PyMySQL."""

    name = "mariadb"
    prelude = USE_PYMYSQL
