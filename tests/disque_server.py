"""Disque for tests: our stub as a private process, or the real nodes that the environment names.

`DJANGO_Q_TEST_DISQUE_NODES` (host:port, separated by commas) and `DJANGO_Q_TEST_DISQUE_AUTH` name
real ones; time then passes by waiting.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.servers import Server, free_port

ROOT = Path(__file__).resolve().parents[1]

REAL_NODES = os.environ.get("DJANGO_Q_TEST_DISQUE_NODES", "")
REAL_PASSWORD = os.environ.get("DJANGO_Q_TEST_DISQUE_AUTH", "")


class DisqueStub(Server):
    """`nodes` ports that share their jobs: see `tests/disque_stub.py`."""

    program = "python"
    package = "python3"
    account = "root"

    def __init__(self, nodes: int = 1, password: str = "") -> None:
        super().__init__()
        self.password = password
        self.ports = [self.port, *(free_port() for _ in range(nodes - 1))]

    def find(self) -> str:
        return sys.executable

    def command(self) -> list[str]:
        program = "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        program += "from tests.disque_stub import main; main()"
        options = ["--password", self.password, *map(str, self.ports)]
        return [self.executable, "-c", program, str(ROOT), *options]

    def answers(self) -> Any:
        return self.run_command("PING")

    @property
    def addresses(self) -> list[str]:
        """Return the nodes as `Q_CLUSTER["disque_nodes"]` names them."""
        return [f"127.0.0.1:{port}" for port in self.ports]

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER` says of it."""
        password = {"disque_auth": self.password} if self.password else {}
        return {"disque_nodes": self.addresses} | password | extra

    def connect(self, port: int | None = None) -> Any:
        """Return a client of one's own."""
        import redis

        password = self.password or None
        return redis.Redis(port=port or self.port, password=password, protocol=2, socket_timeout=5)

    def run_command(self, *command: Any, port: int | None = None) -> Any:
        """Run one command over a connection of its own."""
        with contextlib.closing(self.connect(port)) as client:
            return client.execute_command(*command)

    def advance(self, seconds: float) -> None:
        """Let time pass for the jobs."""
        self.run_command("DEBUG", "ADVANCE", seconds)


class RealDisque:
    """The nodes of the environment."""

    def start(self) -> None:
        """They run already."""

    def close(self) -> None:
        """And go on to."""

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER` says of them."""
        password = {"disque_auth": REAL_PASSWORD} if REAL_PASSWORD else {}
        return {"disque_nodes": REAL_NODES.split(",")} | password | extra

    def advance(self, seconds: float) -> None:
        """Wait, and for as long again as a real server may be late."""
        time.sleep(seconds + 1)


def disque() -> DisqueStub | RealDisque:
    """Return the nodes to test with."""
    return RealDisque() if REAL_NODES else DisqueStub()
