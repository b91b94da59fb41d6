"""A process that has imported Django and forks others on request, which so need not import it.

A run of the tests starts thousands of processes, and importing was most of their work. What is
forked here goes on as if it had been started: as `python FILE …` or `python -c CODE …` in a
session, folder and environment of its own, with nothing imported that depends on settings. What
differs: its entry in /proc is the zygote's until it gives itself a title, and all hash strings
alike.

The upper half asks for processes; run as a program, this file is the zygote.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import multiprocessing.process
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

FIXED = ("PYTHON", "LD_", "LANG", "LC_", "COVERAGE_", "COV_")
"""How the variables begin that an interpreter heeds when it starts: a fork has the zygote's."""

SAME = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": ""}
"""Those that every process of a project has."""

AT_FIRST = dict(os.environ)
"""Before any test changed a variable."""

PR_SET_PDEATHSIG = 1

PRELOADED = (
    "asyncio",
    "concurrent.futures.process",
    "django.contrib.auth.apps",
    "django.contrib.auth.hashers",
    "django.contrib.contenttypes.apps",
    "django.core.cache.backends.locmem",
    "django.core.checks.security.sessions",
    "django.core.files.storage",
    "django.core.mail",
    "django.core.management.commands.check",
    "django.core.management.commands.migrate",
    "django.core.serializers.json",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.writer",
    "django.db.models",
    "django.forms",
    "django.template.loader",
    "django.test.client",
    "django.urls",
    "django.utils.autoreload",
    "django.views.generic",
    "django_q.apps",
    "django_q.cluster.birth",
    "django_q.cluster.restraint",
    "django_q.cluster.settlement",
    "django_q.cluster.states",
    "django_q.management.commands.qcluster",
    "django_q.reporters",
    "django_q.scheduling",
    "multiprocessing.popen_fork",
    "multiprocessing.shared_memory",
)
"""What most processes of the tests import, as far as it can be imported without settings."""

PRELOADED_WHERE_INSTALLED = (
    "croniter",
    "django.db.backends.postgresql.base",
    "django_q_broker_redis.broker",
    "picklefield.fields",
    "psutil",
    "psycopg_pool",
    "pymysql",
    "redis.cluster",
    "redis.sentinel",
    "setproctitle",
)


class Request(NamedTuple):
    """What a process is to be: `argv` without the interpreter."""

    argv: list[str]
    cwd: str
    env: dict[str, str]


def can_fork(command: list[str], env: dict[str, str]) -> bool:
    """Is this a process that a zygote can become?"""
    is_ours = command[0] == sys.executable and sys.platform == "linux"
    is_code = len(command) > 1 and (command[1] == "-c" or command[1].endswith(".py"))
    # Coverage measures processes from their first line on. COVERAGE_FILE alone measures nothing.
    is_measured = any(name.startswith("COVERAGE_PROCESS") for name in env)
    return is_ours and is_code and not is_measured and _fixed(env) == _fixed(AT_FIRST | SAME)


class Forked:
    """A process that a zygote forked, with what its starter needs of `subprocess.Popen`."""

    def __init__(
        self, command: list[str], cwd: Path, env: dict[str, str], stdout: int, stderr: int
    ) -> None:
        self.returncode: int | None = None
        self._news, theirs = os.pipe()
        try:
            request = Request(command[1:], str(cwd), env)
            _zygote().ask(request, stdout, stderr, theirs)
        finally:
            os.close(theirs)
        self.pid = int(self._hear())

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._news, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("forked", timeout or 0)
            self.returncode = int(self._hear())
            os.close(self._news)
        return self.returncode

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _hear(self) -> bytes:
        # Each word is written at once.
        word = os.read(self._news, 64)
        if not word:
            raise AssertionError("The zygote has ended; what it said is in the tests' stderr.")
        return word


def complete(
    command: list[str], cwd: Path, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Fork a process and wait for its end, as `subprocess.run` does that captures its output."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = Forked(command, cwd, env, output.fileno(), errors.fileno())
        try:
            status = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(command, status, output.read(), errors.read())


class Zygote:
    """The zygote of this process, as long as this lives."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = AT_FIRST | SAME
        env.pop("PYTHONPATH", None)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def ask(self, request: Request, *descriptors: int) -> None:
        """Have a process forked; on the last descriptor come its pid and then its exit status."""
        sheet = os.memfd_create("request")
        try:
            os.write(sheet, json.dumps(request).encode())
            socket.send_fds(self.socket, [b"\0"], [sheet, *descriptors])
        finally:
            os.close(sheet)

    def close(self) -> None:
        """End it; what it forked is terminated."""
        if self.owner == os.getpid():
            self.socket.close()
            self.process.wait(10)


_current: Zygote | None = None


def _zygote() -> Zygote:
    global _current  # noqa: PLW0603
    # A process that the tests forked has no zygote yet: what its parent's forks is not its own.
    is_ours = _current is not None and _current.owner == os.getpid()
    if _current is None or not is_ours or _current.process.poll() is not None:
        _current = Zygote()
        atexit.register(_current.close)
    return _current


def _fixed(env: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name.startswith(FIXED) and name != "PYTHONPATH"
    }


# The zygote


def serve(requests: socket.socket) -> Request:
    """Fork on request, and say how it ends; returns in each process that was forked."""
    children: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == requests.fileno():
                message, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
                if not message:
                    os._exit(0)
                pid = os.fork()
                if not pid:
                    requests.detach()
                    return begin(*descriptors)
                report = descriptors.pop()
                os.write(report, b"%d" % pid)
                pidfd = os.pidfd_open(pid)
                children[pidfd] = (pid, report)
                poll.register(pidfd, select.POLLIN)
                for each in descriptors:
                    os.close(each)
            else:
                poll.unregister(descriptor)
                bury(descriptor, *children.pop(descriptor))


def bury(pidfd: int, pid: int, report: int) -> None:
    """Say how a process has ended, if anybody still wants to know."""
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(report, b"%d" % os.waitstatus_to_exitcode(status))
    os.close(report)
    os.close(pidfd)


def begin(sheet: int, stdout: int, stderr: int, report: int) -> Request:
    """Make of a fork what a started process is before its first line."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.lseek(sheet, 0, os.SEEK_SET)
    with open(sheet, "rb", closefd=False) as file:
        request = Request(*json.loads(file.read()))
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.closerange(3, 1 + max(int(name) for name in os.listdir("/proc/self/fd")))
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.env)
    time.tzset()
    tempfile.tempdir = None
    # Names that multiprocessing's stubs do not tell.
    process: Any = multiprocessing.process
    process.ORIGINAL_DIR = os.getcwd()
    process.current_process().authkey = process.AuthenticationString(os.urandom(32))
    return request


def main_module(argv: list[str]) -> tuple[CodeType, dict[str, Any]]:
    """Return the code that a new interpreter would run, and the namespace of its `__main__`."""
    is_file = argv[0] != "-c"
    source = Path(argv[0]).read_bytes() if is_file else argv[1]
    path = os.path.abspath(argv[0])
    paths = [os.path.dirname(path) if is_file else ""]
    paths += [os.path.abspath(each) for each in os.environ["PYTHONPATH"].split(os.pathsep)]
    sys.path[:0] = dict.fromkeys(paths)
    sys.orig_argv = [sys.executable, *argv]
    sys.argv = argv if is_file else ["-c", *argv[2:]]
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__dict__.update({"__builtins__": sys.modules["builtins"], "__annotations__": {}})
    if is_file:
        module.__file__ = path
        module.__loader__ = SourceFileLoader("__main__", path)
    name = path if is_file else "<string>"
    return compile(source, name, "exec", dont_inherit=True), module.__dict__


def preload() -> None:
    """Import what the processes will need."""
    from django.core.exceptions import ImproperlyConfigured

    for name in (*PRELOADED, *PRELOADED_WHERE_INSTALLED):
        # Not installed; or it has come to need settings, and is imported by those who have them.
        with contextlib.suppress(ImportError, ImproperlyConfigured):
            importlib.import_module(name)
    if "setproctitle" in sys.modules:
        # It finds the place of a title by the first environment, which a fork replaces.
        sys.modules["setproctitle"].getproctitle()
    # Not copied into each fork by a collection there.
    gc.collect()
    gc.freeze()


def live(descriptor: int) -> tuple[CodeType, dict[str, Any]]:
    """Be the zygote; returns in each process that was forked, with what it is to run."""
    # The folder of this file, where no project looks for modules.
    del sys.path[0]
    preload()
    return main_module(serve(socket.socket(fileno=descriptor)).argv)


if __name__ == "__main__":
    exec(*live(int(sys.argv[1])))
