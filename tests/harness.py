"""A throw-away Django project with real clusters: for tests, fault tests, benchmarks.

def test_a_task_runs(project: Project) -> None:
    project.configure({"workers": 1})
    project.run('from django_q.tasks import async_task; async_task("tests.jobs.ok", "a")')
    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0
    assert project.starts() == {"a": 1}
"""

import ast
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.databases import Database, SQLite
from tests.jobs import LEDGER_VARIABLE
from tests.queues import NAME, Queue, TableQueue
from tests.zygote import Forked, can_fork, complete

ROOT = Path(__file__).resolve().parent.parent
MARKER = "DJANGO_Q_TEST_ID"
SETTINGS_MODULE = "project_settings"
DATABASE_FILE = "db.sqlite3"
POLL_SECONDS = 0.02

MANAGE = """\
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project_settings")
execute_from_command_line(sys.argv)
"""

RUN = """\
import ast, json, sys
import django
django.setup()
path, code = sys.argv[1:3]
tree = ast.parse(code)
last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
names = {"__name__": "__harness__"}
exec(compile(tree, "<run>", "exec"), names)
answer = eval(compile(ast.Expression(last.value), "<run>", "eval"), names) if last else None
with open(path, "w") as file:
    json.dump(answer, file, default=str)
"""


class Note(NamedTuple):
    """One line of the ledger that the functions of `tests.jobs` write."""

    label: str
    event: str
    pid: int


class ClusterProcess:
    """A `manage.py qcluster` in a session of its own; its output is read by a thread."""

    def __init__(self, command: list[str], project: "Project", env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._closed = False
        output, theirs = os.pipe()
        self._output = os.fdopen(output, errors="replace")
        try:
            self.process = self._start(command, project, env, theirs)
        finally:
            os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _start(
        self, command: list[str], project: "Project", env: dict[str, str], output: int
    ) -> subprocess.Popen[bytes] | Forked:
        if project.can_fork(command, env):
            return Forked(command, project.path, env, output, output)
        return subprocess.Popen(
            # A cluster stops when tests are killed, who can stop it no more.
            ["setpriv", "--pdeathsig", "TERM", *command],
            cwd=project.path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Return the process id of the main process, which is also its group's and session's."""
        return self.process.pid

    @property
    def log(self) -> str:
        """Return all that was printed so far."""
        with self._news:
            return "\n".join(self.lines)

    def mark(self) -> int:
        """Return a position for `wait_for_line(…, since=…)`: only later lines count."""
        with self._news:
            return len(self.lines)

    def wait_for_line(self, text: str, timeout: float = 20, since: int = 0, count: int = 1) -> str:
        """Return the `count`-th line after `since` in which the regular expression occurs."""
        pattern = re.compile(text)
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                found = [line for line in self.lines[since:] if pattern.search(line)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    reason = "the output ended" if self._closed else f"{timeout} s passed"
                    raise AssertionError(self._missing(text, count, len(found), reason))
                self._news.wait(left)

    def pid_of(self, text: str, timeout: float = 20, since: int = 0, count: int = 1) -> int:
        """Return the number after `text`: `pid_of("pushing tasks at")`."""
        line = self.wait_for_line(rf"{text} (\d+)", timeout, since, count)
        found = re.search(rf"{text} (\d+)", line)
        assert found is not None
        return int(found[1])

    def send(self, number: int, group: bool = False) -> None:
        """Send a signal to the main process, or to the whole group; gone is fine."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def terminate(self, group: bool = False) -> None:
        """Ask for a graceful stop."""
        self.send(signal.SIGTERM, group)

    def kill(self, group: bool = False) -> None:
        """Kill the main process, or all of them at once."""
        self.send(signal.SIGKILL, group)

    def wait(self, timeout: float = 30) -> int:
        """Return the exit status of the main process once it has ended."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"The cluster was expected to end within {timeout} s.\n{self.log}"
            ) from None
        # What it had printed is read; a surviving child may hold the pipe open, so not for ever.
        self._reader.join(1)
        return status

    def stop(self, timeout: float = 30) -> int:
        """Terminate and wait."""
        self.terminate()
        return self.wait(timeout)

    def descendants(self) -> list[int]:
        """Return the process ids in the cluster's session, without the main process."""
        return [pid for pid in session_members({self.pid}) if pid != self.pid]

    def _read(self) -> None:
        for line in self._output:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    def close(self) -> None:
        """Close the pipe, unless a survivor may still write to it."""
        if not self._reader.is_alive():
            self._output.close()

    def _missing(self, text: str, count: int, found: int, reason: str) -> str:
        log = "\n".join(self.lines)
        return f"Expected {count} times {text!r}, found {found} when {reason}. The log:\n{log}"


class Gate:
    """A door for `tests.jobs.gate`: tasks wait at it until it is opened, and pass ever after."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._descriptor: int | None = None
        os.mkfifo(path)

    def open(self) -> None:
        """Let everyone through, also those who come later."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR)

    def close(self) -> None:
        """Make the next ones wait again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Project:
    """A Django project in a folder: settings, `manage.py`, database, queue, ledger, clusters."""

    interpreter = sys.executable
    """The Python that runs everything of it."""

    starts_anew = True
    """Is every process started as users start it? Else `tests.zygote` forks what it can."""

    def __init__(
        self, path: Path, database: Database | None = None, queue: Queue | None = None
    ) -> None:
        self.path = path
        self.id = uuid.uuid4().hex
        self.settings_path = path / f"{SETTINGS_MODULE}.py"
        self.database = database or SQLite(path / DATABASE_FILE)
        self.queue = queue or TableQueue(self.database)
        self.ledger_path = path / "ledger"
        self.clusters: list[ClusterProcess] = []
        self._gates: list[Gate] = []
        (path / "manage.py").write_text(MANAGE)
        self.ledger_path.touch()
        self.configure({})

    @property
    def database_path(self) -> Path:
        """Return the file of a SQLite database."""
        assert isinstance(self.database, SQLite), self.database
        return self.database.path

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of everything that the project starts."""
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
            "PYTHONPATH": os.pathsep.join([str(self.path), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "",
            LEDGER_VARIABLE: str(self.ledger_path),
            MARKER: self.id,
        }

    def configure(self, Q_CLUSTER: dict[str, Any], **django_settings: Any) -> None:  # noqa: N803
        """Write the settings module anew; values must survive `repr`. Nothing running notices.

        `Q_CLUSTER` is merged over two workers on the project's queue; a Django setting replaces
        ours.
        """
        settings: dict[str, Any] = {
            "SECRET_KEY": "not-a-secret-but-long-enough-to-be-a-key",
            "USE_TZ": True,
            "TIME_ZONE": "UTC",
            "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
            "INSTALLED_APPS": [
                "django.contrib.contenttypes",
                "django.contrib.auth",
                "django_q",
            ],
            "DATABASES": {"default": self.database.settings},
            "Q_CLUSTER": {"name": NAME, "workers": 2} | self.queue.settings | Q_CLUSTER,
        }
        settings |= django_settings
        text = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
        text = self.database.prelude + text
        ast.parse(text)
        self.settings_path.write_text(text)

    def migrate(self, database: str = "default") -> None:
        """Migrate a database whose settings differ from the template's."""
        self.manage("migrate", "--verbosity", "0", "--database", database)

    def manage(
        self, *arguments: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end; with `check`, a failure fails the test."""
        return self.python("manage.py", *arguments, check=check, timeout=timeout)

    def python(
        self, *arguments: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in the project: `python("-m", "x")`, `python("x.py")`, `python("code; …")`."""
        if len(arguments) == 1 and not arguments[0].endswith(".py"):
            arguments = ("-c", *arguments)
        done = self._complete([self.interpreter, *arguments], timeout)
        if check and done.returncode:
            raise AssertionError(
                f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def can_fork(self, command: list[str], env: dict[str, str]) -> bool:
        """Say whether a zygote may become this process of the project."""
        return not self.starts_anew and can_fork(command, env)

    def _complete(self, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        if self.can_fork(command, self.env):
            return complete(command, self.path, self.env, timeout)
        return subprocess.run(
            command,
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, code: str, timeout: float = 60) -> Any:
        """Run code with Django set up; return the value of its last expression, through JSON."""
        answer = self.path / f"answer-{uuid.uuid4().hex}.json"
        self.python("-c", RUN, str(answer), code, timeout=timeout)
        value = json.loads(answer.read_text())
        answer.unlink()
        return value

    def start_cluster(self, *arguments: str, **env: str) -> ClusterProcess:
        """Start `qcluster`, without waiting for anything; `env` is added to its environment."""
        command = [self.interpreter, "manage.py", "qcluster", *arguments]
        cluster = ClusterProcess(command, self, self.env | env)
        self.clusters.append(cluster)
        return cluster

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement on the database, with `?` for values, and return its rows."""
        return self.database.query(sql, *parameters)

    def tasks(self) -> list[dict[str, Any]]:
        """Return the rows of django_q_task, oldest first; result, args, kwargs stay encoded."""
        return self.database.rows("SELECT * FROM django_q_task ORDER BY stopped, id")

    def ledger(self) -> list[Note]:
        """Return what the functions of `tests.jobs` noted, in order."""
        notes = (line.split() for line in self.ledger_path.read_text().splitlines())
        return [Note(label, event, int(pid)) for label, event, pid in notes]

    def starts(self) -> Counter[str]:
        """Return how often each label was started."""
        return Counter(note.label for note in self.ledger() if note.event == "start")

    def wait_until(
        self, condition: Callable[[], Any], timeout: float = 20, what: str = "the condition"
    ) -> Any:
        """Return the first true answer of `condition`; else fail, showing the clusters' logs."""
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while not (answer := condition()):
            if time.monotonic() > deadline:
                logs = "\n---\n".join(cluster.log for cluster in self.clusters)
                raise AssertionError(
                    f"Expected {what} within {timeout} s.\n{self.ledger()}\n{logs}"
                )
            pause.wait(POLL_SECONDS)
        return answer

    def wait_for_starts(self, count: int, timeout: float = 20) -> Counter[str]:
        """Wait until the ledger has `count` starts, and return them."""
        self.wait_until(
            lambda: self.starts().total() >= count, timeout, f"{count} starts in the ledger"
        )
        return self.starts()

    def wait_for_tasks(self, count: int, timeout: float = 20) -> list[dict[str, Any]]:
        """Wait until `count` tasks are recorded, and return them."""
        sql = "SELECT count(*) FROM django_q_task"
        self.wait_until(lambda: self.query(sql)[0][0] >= count, timeout, f"{count} recorded tasks")
        return self.tasks()

    def gate(self, name: str = "gate") -> Gate:
        """Make a gate for `tests.jobs.gate`; it is opened at the end of the test at the latest."""
        gate = Gate(self.path / name)
        self._gates.append(gate)
        return gate

    def processes(self) -> list[int]:
        """Return the process ids of everything alive that belongs to this project."""
        sessions = {cluster.pid for cluster in self.clusters}
        own = set(session_members(sessions)) | set(marked(self.id)) | set(living_in(self.path))
        return sorted(own - {os.getpid()})

    def close(self, grace_seconds: float = 15) -> None:
        """Stop what runs; fail if a cluster does not stop or a process outlives it."""
        for gate in self._gates:
            gate.open()
        problems = [
            problem for cluster in self.clusters if (problem := _end(cluster, grace_seconds))
        ]
        survivors = wait_gone(self.processes(), grace_seconds)
        for pid in survivors:
            problems.append(f"process {pid} outlived its cluster: {command_line(pid)}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_gone(survivors, 5)
        for gate in self._gates:
            gate.close()
        for cluster in self.clusters:
            cluster.process.wait(5)
            cluster.close()
        assert not problems, "\n".join(problems)


def make_template(folder: Path, database: Database | None = None) -> Path:
    """Migrate a database once, for every project to copy; return where a SQLite file is."""
    project = Project(folder, database)
    project.migrate()
    project.close()
    return folder / DATABASE_FILE


@contextlib.contextmanager
def temporary_folder() -> Any:
    """Yield a folder that is removed afterwards; on a RAM disk nothing waits for `fsync`."""
    with tempfile.TemporaryDirectory(prefix="django-q-") as name:
        yield Path(name).resolve()


def wait_gone(pids: Iterable[int], timeout: float) -> list[int]:
    """Wait for processes that need not be our children; return those that are still alive."""
    deadline = time.monotonic() + timeout
    alive = []
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            gone, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        finally:
            os.close(descriptor)
        if not gone:
            alive.append(pid)
    return alive


def session_members(sessions: set[int]) -> list[int]:
    """Return the living processes of these sessions; a zombie has ended."""
    return [pid for pid, state, session in _processes() if session in sessions and state != "Z"]


def marked(identity: str) -> list[int]:
    """Return the processes whose environment says that they belong to this project."""
    mark = f"{MARKER}={identity}".encode()
    return [pid for pid, _, _ in _processes() if mark in _read_bytes(pid, "environ").split(b"\0")]


def living_in(folder: Path) -> list[int]:
    """Return the processes that work in this folder: a process title overwrites `environ`."""
    found = []
    for pid, state, _ in _processes():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd") == str(folder) and state != "Z":
                found.append(pid)
    return found


def command_line(pid: int) -> str:
    """Return what the process list shows for a process."""
    return _read_bytes(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def _end(cluster: ClusterProcess, grace_seconds: float) -> str | None:
    if cluster.process.poll() is not None:
        return None
    cluster.terminate()
    try:
        cluster.wait(grace_seconds)
    except AssertionError as error:
        cluster.kill(group=True)
        return str(error)
    return None


def _processes() -> Iterable[tuple[int, str, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            # "pid (name) state ppid group session …", and the name may hold anything.
            fields = _read_bytes(int(name), "stat").rpartition(b")")[2].split()
            if fields:
                yield int(name), fields[0].decode(), int(fields[3])


def _read_bytes(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
