"""A Django site of a contender: database, settings, producers and cluster in a folder."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.brokers import Carrier
from benchmarks.databases import Provider
from benchmarks.ledger import Ledger
from benchmarks.processes import run_python, running
from tests.databases import Database
from tests.harness import temporary_folder

SITE = Path(__file__).resolve().parent / "site"
RECORDED = b" Processed '"
"""Both contenders log so when a result has been written to the database."""


@dataclass
class Site:
    """A migrated database, a broker, a ledger, and the interpreter that runs it all."""

    python: Path
    folder: Path
    database: Database
    carrier: Carrier
    save_limit: int | None = None
    trace: bool = False

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder)

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of everything that the site starts."""
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench_settings",
            "PYTHONPATH": str(SITE),
            "BENCH_GIVEN": str(self.folder / "bench_given.py"),
            "BENCH_FOLDER": str(self.folder),
            "BENCH_SAVE_LIMIT": "" if self.save_limit is None else str(self.save_limit),
            "BENCH_TRACE": "1" if self.trace else "",
        }

    def migrate(self) -> None:
        """Make the tables."""
        given = {"DATABASE": self.database.settings, "BROKER": self.carrier.q_cluster()}
        text = "".join(f"{name} = {value!r}\n" for name, value in given.items())
        (self.folder / "bench_given.py").write_text(self.database.prelude + text)
        self._run("-m", "django", "migrate", "--verbosity", "0")

    def produce(self, kind: str, count: int) -> Any:
        """Enqueue tasks and return what the producer saw."""
        return json.loads(self._run(str(SITE / "produce.py"), kind, str(count)))

    @contextlib.contextmanager
    def cluster(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run a cluster, and leave nothing of it behind."""
        command = [str(self.python), "-m", "django", "qcluster"]
        with running(command, self.folder, self.env) as process:
            yield process

    def query(self, sql: str) -> Any:
        """Return the first value that the database answers."""
        return self.database.query(sql)[0][0]

    def traced(self) -> list[str]:
        """Return the SQL statements that SQLite's own trace has seen so far."""
        path = self.folder / "statements"
        return path.read_text().splitlines() if path.exists() else []

    @contextlib.contextmanager
    def settled(self, count: int) -> Iterator[Callable[[], bool]]:
        """Yield what says whether nothing waits or is claimed, and every result is stored."""
        if self.carrier.server is None:
            # The row of a package is there until its result is.
            yield lambda: not self.query("SELECT count(*) FROM django_q_ormq")
            return
        with self._broker() as left:
            yield lambda: self._recorded() >= count and not left()

    def _recorded(self) -> int:
        """Return how many results have been stored, whatever `save_limit` leaves of them.

        Without receipts nothing is claimed, and an empty queue does not say what is stored.
        """
        return (self.folder / "cluster.log").read_bytes().count(RECORDED)

    @contextlib.contextmanager
    def _broker(self) -> Iterator[Callable[[], int]]:
        """Yield what asks the site's own broker how many packages it has, at little cost."""
        with subprocess.Popen(
            [str(self.python), str(SITE / "left.py")],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            asked, answers = process.stdin, process.stdout

            def left() -> int:
                asked.write("\n")
                asked.flush()
                return int(answers.readline())

            left()  # It takes its time to start, which is nobody's fault afterwards.
            yield left

    def _run(self, *arguments: str) -> str:
        return run_python(self.python, self.folder, self.env, *arguments)


@contextlib.contextmanager
def fresh_site(
    python: Path,
    provider: Provider,
    carrier: Carrier,
    save_limit: int | None = None,
    trace: bool = False,
) -> Iterator[Site]:
    """Yield a site with an empty database and an empty broker."""
    with temporary_folder() as folder:
        # A folder of its own: ledger and traces are no events beside the database.
        (folder / "database").mkdir()
        database = provider.new(folder / "database")
        carrier.clear()
        site = Site(python, folder, database, carrier, save_limit, trace)
        site.migrate()
        yield site
        database.drop()
