"""Runs the process that feeds a project's queue, from outside."""

from __future__ import annotations

import subprocess
import sys

from tests.harness import Project

END_SECONDS = 120


class Feeder:
    """A module of this package as a process of a project; it ends when its standard input does."""

    def __init__(self, project: Project, module: str, *arguments: object) -> None:
        self.log = project.path / "feed.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                cwd=project.path,
                env=project.env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Fail if it has ended: nobody would notice a queue that is not fed."""
        if self.process.poll() is not None:
            sys.exit(f"The feeding process ended:\n{self.log.read_text()}")

    def stop(self) -> None:
        """Let it finish what it is at."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(END_SECONDS)

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self.process.kill()
        self.process.wait()
