"""The demo's cluster: `qcluster` in a process group of its own, stopped cleanly."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STOP_SECONDS = 60
ROOT = Path(__file__).resolve().parent.parent


class Cluster:
    """A running `qcluster`."""

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        with log_path.open("wb") as log:
            # Its own session: Ctrl-C reaches the demo alone, which then stops the cluster in order.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django", "qcluster"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def died(self) -> bool:
        """Has the cluster ended although nobody stopped it?"""
        return self.process.poll() is not None

    def stop(self) -> int:
        """Ask for a graceful stop and return the exit status; kill what does not listen."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()

    @property
    def exit_status(self) -> int | None:
        """Return how the main process ended, None while it runs."""
        return self.process.returncode

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the cluster's log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-count:])


@contextmanager
def running_cluster(log_path: Path) -> Iterator[Cluster]:
    """Start a cluster, and stop it whatever happens."""
    cluster = Cluster(log_path)
    try:
        yield cluster
    finally:
        cluster.stop()
