"""Database servers as private processes on free ports, for tests to stop, kill and start again.

They answer on 127.0.0.1, trust everybody and forget everything when they are closed.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

START_SECONDS = 60
USER = "django"
TOOLS = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/usr/sbin", "/usr/local/sbin")
"""Where Debian keeps servers, which are not on everybody's PATH."""


class Server:
    """A server process in a folder of its own; `start` and `stop` as often as one likes."""

    program: str
    package: str
    """What Debian calls the package that brings the program."""
    account: str
    """Whom the server runs as where the tests run as root, whom it would refuse."""
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(self) -> None:
        self.executable = self.find()
        self.folder = Path(tempfile.mkdtemp(prefix=f"django-q-{self.program}-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            shutil.chown(self.folder, self.account, self.account)

    def find(self) -> str:
        """Return the path of the program."""
        return find(self.program, self.package)

    def command(self) -> list[str]:
        """Return what runs the server in the foreground."""
        raise NotImplementedError

    def answers(self) -> Any:
        """Ask the server something; raises while it cannot answer."""
        raise NotImplementedError

    def start(self) -> None:
        """Start, and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._as_account(), *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.answers, self._lives, (self.folder / "log").read_text)

    def stop(self) -> None:
        """Stop in good order; those who are connected lose their connection."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End at once, as a crash does."""
        self._end(self.kill_signal)

    def restart(self) -> None:
        """Stop, and start again on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove what it stored."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str) -> None:
        """Run one of the server's own tools as its account."""
        done = subprocess.run(
            [*self._as_account(), *command],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"

    def tool(self, name: str) -> str:
        """Return the path of a tool that is installed beside the server."""
        beside = Path(self.executable).with_name(name)
        return str(beside) if beside.exists() else find(name, self.package)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(START_SECONDS)
            self.process = None

    def _lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _as_account(self) -> list[str]:
        # The signal: nothing outlives tests that are killed.
        follow = ["setpriv", "--pdeathsig", "KILL"]
        if os.getuid() != 0:
            return follow
        group = f"--regid={self.account}"
        return [*follow, f"--reuid={self.account}", group, "--init-groups"]


class PostgreSQL(Server):
    """PostgreSQL, by psycopg 3; `options` are server settings such as `fsync="on"`."""

    program = "postgres"
    package = "postgresql"
    account = "postgres"
    stop_signal = signal.SIGINT
    kill_signal = signal.SIGQUIT

    def __init__(self, **options: str) -> None:
        super().__init__()
        self.options = {"fsync": "off", "max_connections": "200"} | options
        self.data = self.folder / "data"
        self.run(
            *(self.tool("initdb"), "-D", str(self.data), "-U", USER),
            *("--auth=trust", "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8"),
        )

    def command(self) -> list[str]:
        settings = self.options | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        pairs = [f"--{name}={value}" for name, value in settings.items()]
        return [self.executable, "-D", str(self.data), *pairs]

    def answers(self) -> Any:
        return self.query("postgres", "SELECT 1")

    def settings(self, name: str, **extra: Any) -> dict[str, Any]:
        """Return Django's settings of a database."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": USER,
            "HOST": "127.0.0.1",
            "PORT": self.port,
        } | extra

    def connect(self, name: str) -> Any:
        """Return a connection of one's own, in autocommit mode."""
        import psycopg

        address: dict[str, Any] = {"host": "127.0.0.1", "port": self.port}
        return psycopg.connect(dbname=name, user=USER, autocommit=True, **address)

    def query(self, name: str, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement with `%s` placeholders and return its rows."""
        return query(self.connect(name), sql, parameters)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make a database, empty or as a copy."""
        copied = f' TEMPLATE "{template}"' if template else ""
        self.query("postgres", f'CREATE DATABASE "{name}"{copied}')

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.query("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def cut_connections(self, name: str) -> int:
        """End every connection to a database, as an administrator may; return how many."""
        sql = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_backend_pid()"
        )
        return int(self.query("postgres", sql, name)[0][0])


class MariaDB(Server):
    """MariaDB, by PyMySQL or mysqlclient."""

    program = "mariadbd"
    package = "mariadb-server"
    account = "mysql"

    def __init__(self) -> None:
        super().__init__()
        self.data = self.folder / "data"
        self.run(
            *(self.tool("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-log-bin"),
        )

    def command(self) -> list[str]:
        return [
            *(self.executable, "--no-defaults", f"--datadir={self.data}"),
            *("--bind-address=127.0.0.1", f"--port={self.port}"),
            *(f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"),
            *("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M"),
            *("--character-set-server=utf8mb4", "--max-connections=200", "--skip-name-resolve"),
        ]

    def answers(self) -> Any:
        return self.query("mysql", "SELECT 1")

    def settings(self, name: str, **extra: Any) -> dict[str, Any]:
        """Return Django's settings of a database."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": name,
            "USER": "root",
            "HOST": "127.0.0.1",
            "PORT": self.port,
        } | extra

    def connect(self, name: str) -> Any:
        """Return a connection of one's own, in autocommit mode."""
        import pymysql

        address: dict[str, Any] = {"host": "127.0.0.1", "port": self.port}
        # Names are quoted as everywhere else: "key" and not `key`.
        mode = "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"
        return pymysql.connect(
            user="root", database=name, autocommit=True, init_command=mode, **address
        )

    def query(self, name: str, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement with `%s` placeholders and return its rows."""
        return query(self.connect(name), sql, parameters)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make a database, empty or as a copy."""
        self.query("mysql", f'CREATE DATABASE "{name}"')
        if template is not None:
            self.run("sh", "-c", f"{self._client('mariadb-dump', template)} > {name}.sql")
            self.run("sh", "-c", f"{self._client('mariadb', name)} < {name}.sql")
            (self.folder / f"{name}.sql").unlink()

    def drop_database(self, name: str) -> None:
        """Drop a database."""
        self.query("mysql", f'DROP DATABASE IF EXISTS "{name}"')

    def cut_connections(self, name: str) -> int:
        """End every connection to a database, as an administrator may; return how many."""
        sql = "SELECT id FROM information_schema.processlist WHERE db = %s"
        connections = self.query("mysql", sql, name)
        for (number,) in connections:
            self.query("mysql", f"KILL CONNECTION {number}")
        return len(connections)

    def _client(self, program: str, name: str) -> str:
        address = f"--host=127.0.0.1 --port={self.port} --user=root"
        return f"{self.tool(program)} --no-defaults {address} {name}"


class PgBouncer(Server):
    """PgBouncer in transaction mode before a PostgreSQL, whose databases it passes on."""

    program = "pgbouncer"
    package = "pgbouncer"
    account = "postgres"
    stop_signal = signal.SIGINT

    def __init__(self, postgresql: PostgreSQL) -> None:
        super().__init__()
        self.postgresql = postgresql
        (self.folder / "users").write_text(f'"{USER}" ""\n')
        (self.folder / "ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={postgresql.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self.folder}/users\npool_mode = transaction\n"
        )

    def command(self) -> list[str]:
        return [self.executable, str(self.folder / "ini")]

    def answers(self) -> Any:
        return query(self.connect("postgres"), "SELECT 1", ())

    def connect(self, name: str) -> Any:
        """Return a connection that leads through the bouncer."""
        import psycopg

        address: dict[str, Any] = {"host": "127.0.0.1", "port": self.port}
        address |= {"dbname": name, "user": USER, "autocommit": True}
        return psycopg.connect(prepare_threshold=None, **address)

    def settings(self, name: str, **extra: Any) -> dict[str, Any]:
        """Return Django's settings of a database behind the bouncer, as Django advises them."""
        return (
            self.postgresql.settings(name)
            | {"PORT": self.port, "DISABLE_SERVER_SIDE_CURSORS": True}
            | extra
        )


def query(connection: Any, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Run one statement on a connection, which is closed afterwards, and return its rows."""
    with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(sql, parameters or None)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def find(program: str, package: str) -> str:
    """Return the path of a program; where it is missing the test is skipped, or fails in CI."""
    folders = [os.environ.get("PATH", ""), *(f for tool in TOOLS for f in sorted(glob.glob(tool)))]
    # The last of several versions, and a real one before a link that may lead nowhere.
    found = shutil.which(program, path=os.pathsep.join(reversed(folders)))
    if found is None:
        missing(f"{program} is not installed: apt-get install {package}")
    return str(found)


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where CI promises that everything is there."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(ask: Callable[[], Any], lives: Callable[[], bool], log: Callable[[], str]) -> None:
    """Ask until there is an answer."""
    deadline = time.monotonic() + START_SECONDS
    pause = threading.Event()
    while True:
        try:
            ask()
        except Exception as error:
            if not lives() or time.monotonic() > deadline:
                raise AssertionError(f"The server does not answer: {error}\n{log()}") from error
            pause.wait(0.02)
        else:
            return
