"""SecantusDB as a private process on a free port: it answers as a MongoDB of its own making does.

It speaks MongoDB's protocol and stores with MongoDB's storage engine; its planner, its locks and
its replication are its own, so nothing here proves how fast a MongoDB is or how it fails over.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.servers import Server, missing

VARIABLE = "DJANGO_Q_TEST_MONGO"
"""The URI of a real MongoDB, where there is one to test with: tests that kill theirs need ours."""

PROGRAM = "secantusd-py"


class Mongo(Server):
    """One server; it says that it is a replica set of one node unless it is to stand alone."""

    program = PROGRAM
    package = "SecantusDB"
    account = "root"  # the program lies in the environment of the tests, which others cannot enter

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options

    def find(self) -> str:
        """Return the program that pip has put beside the Python of the tests."""
        program = Path(sys.executable).with_name(self.program)
        if not program.exists():
            missing("SecantusDB is not installed: pip install 'SecantusDB>=0.6.0b12,<0.8'")
        return str(program)

    def command(self) -> list[str]:
        # It looks for a file of settings in the folder of the user; it shall find none.
        settings = self.folder / "secantusd.toml"
        settings.touch()
        return [
            *(self.executable, "--config", str(settings)),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--storage-path", str(self.folder / "data"), "--log-level", "WARNING"),
            *self.options,
        ]

    def answers(self) -> Any:
        with contextlib.closing(self.connect()) as client:
            return client.admin.command("ping")

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER["mongo"]` says of it."""
        return {"host": "127.0.0.1", "port": self.port} | extra

    def connect(self, **options: Any) -> Any:
        """Return a client of one's own."""
        from pymongo import MongoClient

        patience = {"serverSelectionTimeoutMS": 2000, "connect": False}
        return MongoClient("127.0.0.1", self.port, **patience | options)


class RealMongo:
    """The server that the environment names, which nobody kills."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER["mongo"]` says of it."""
        return {"host": self.uri} | extra


AnyMongo = Mongo | RealMongo


@contextlib.contextmanager
def running() -> Iterator[AnyMongo]:
    """Give the server that the environment names, or else one of our own."""
    if uri := os.environ.get(VARIABLE):
        yield RealMongo(uri)
        return
    with contextlib.closing(Mongo("--sync-on-commit")) as server:
        server.start()
        yield server
