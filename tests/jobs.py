"""Task functions of the cluster tests, `tests.jobs.NAME`: each notes its start in a ledger."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

LEDGER_VARIABLE = "DJANGO_Q_TEST_LEDGER"


def note(label: object, event: str) -> None:
    """Append one line `label event pid`; a single small O_APPEND write is never torn or lost."""
    path = os.environ[LEDGER_VARIABLE]
    line = f"{label} {event} {os.getpid()}\n".encode()
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(ledger, line)
    finally:
        os.close(ledger)


def ok(label: object, answer: Any = None) -> Any:
    """Succeed at once with `answer`, or with the label."""
    note(label, "start")
    return label if answer is None else answer


def sleep(label: object, seconds: float) -> object:
    """Sleep, and note the end too."""
    note(label, "start")
    time.sleep(seconds)
    note(label, "end")
    return label


def gate(label: object, path: str) -> object:
    """Wait until the test opens the gate at `path` (see `Project.gate`), and note the end too."""
    note(label, "start")
    os.close(os.open(path, os.O_RDONLY))
    note(label, "end")
    return label


def scheduled(label: object, due: str) -> None:
    """Note the start of what was due at `due` as `label@due`, and by how much it is late."""
    late = time.time() - datetime.fromisoformat(due).timestamp()
    note(f"{label}@{due}", "start")
    note(f"{label}@{due}", f"late:{late:.6f}")


def spin(label: object, seconds: float) -> object:
    """Burn a core for `seconds`."""
    note(label, "start")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    note(label, "end")
    return label


def stubborn(label: object, seconds: float) -> object:
    """Go on for `seconds` whatever exception is raised inside."""
    note(label, "start")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            time.sleep(left)
        except BaseException:
            note(label, "ignored")
    note(label, "end")
    return label


def fail(label: object, text: str = "on purpose") -> NoReturn:
    """Raise ValueError."""
    note(label, "start")
    raise ValueError(text)


def fail_times(label: object, times: int) -> object:
    """Raise in the first `times` starts, then succeed."""
    note(label, "start")
    starts = sum(
        line.split()[:2] == [str(label), "start"]
        for line in Path(os.environ[LEDGER_VARIABLE]).read_text().splitlines()
    )
    if starts <= times:
        raise ValueError(f"failure {starts} of {times}")
    return label


def exit_process(label: object, code: int = 3) -> NoReturn:
    """End the worker without unwinding."""
    note(label, "start")
    os._exit(code)


def system_exit(label: object, code: int = 3) -> NoReturn:
    """Raise SystemExit."""
    note(label, "start")
    sys.exit(code)


def kill_process(label: object, number: int = signal.SIGKILL) -> object:
    """Send a signal to the worker itself."""
    note(label, "start")
    os.kill(os.getpid(), number)
    time.sleep(0.5)
    note(label, "end")
    return label


def segfault(label: object) -> None:
    """Read address 0."""
    note(label, "start")
    ctypes.string_at(0)


def generator(label: object) -> Iterator[int]:
    """Return what no pickle can hold."""
    note(label, "start")
    return iter(x for x in (1, 2, 3))


def big(label: object, size: int) -> bytes:
    """Return `size` bytes."""
    note(label, "start")
    return b"x" * size


def allocate(label: object, megabytes: int) -> int:
    """Touch so much memory that the worker's peak shows it."""
    note(label, "start")
    return len(bytearray(os.urandom(1024) * (1024 * megabytes)))


def child_process(label: object) -> str:
    """Start a program and return what it printed."""
    note(label, "start")
    done = subprocess.run(
        [sys.executable, "-c", "print('child')"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def affinity(label: object) -> list[int]:
    """Return the processors that the worker may use."""
    note(label, "start")
    return sorted(os.sched_getaffinity(0))


def pid(label: object) -> int:
    """Return the worker's process id."""
    note(label, "start")
    return os.getpid()


def add(left: Any, right: Any) -> Any:
    """Note `add` and return the sum."""
    note("add", "start")
    return left + right


def note_hook(task: Any) -> None:
    """Be a hook that notes the id of its task."""
    note(task.id, "hook")


def failing_hook(task: Any) -> NoReturn:
    """Be a hook that notes its task and raises."""
    note(task.id, "hook")
    raise ValueError("hook on purpose")


def slow_hook(task: Any) -> None:
    """Be a hook that takes a second."""
    note(task.id, "hook")
    time.sleep(1)
    note(task.id, "hook-end")
