"""The processes of a measurement: run, watched from outside, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.harness import session_members, wait_gone
from tests.servers import Server

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def run_python(python: Path, folder: Path, env: dict[str, str], *arguments: str) -> str:
    """Run Python to its end and return what it printed; a failure ends the whole run."""
    log = folder / "producer.log"
    with log.open("ab") as errors:
        done = subprocess.run(
            [str(python), *arguments],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{arguments} ended with {done.returncode}:\n{log.read_text()}{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, env: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own, and leave nothing of it behind."""
    with (folder / "cluster.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], patience_seconds: float = 60) -> float:
    """Terminate a cluster, and kill what does not listen; return the seconds until all is gone."""
    began = time.monotonic()
    members = session_members({process.pid})
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_seconds)
    survivors = wait_gone(members, max(0.0, patience_seconds - (time.monotonic() - began)))
    for pid in survivors:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    return time.monotonic() - began


def cpu_seconds(session: int) -> float:
    """Return the processor time that the processes of a session have used so far."""
    return sum(sum(ticks(pid)[:2]) for pid in session_members({session})) / TICKS_PER_SECOND


def server_seconds(server: Server | None) -> float:
    """Return the processor time of a server, that of ended sessions included; 0 without one."""
    if server is None or server.process is None:
        return 0.0
    # PostgreSQL gives each of its processes a session of its own.
    return sum(sum(ticks(pid)) for pid in family(server.process.pid)) / TICKS_PER_SECOND


def family(pid: int) -> list[int]:
    """Return a process and everything that descends from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def ticks(pid: int) -> list[int]:
    """Return a process's user and system time and that of its ended children, or nothing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [int(field) for field in fields[11:15]]
