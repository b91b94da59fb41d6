"""Runs Django Q2's own tests against our django_q; they come from its wheel and are not kept."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import CLIENT, DJANGO, Contender, editable
from tests.compat.old_sites import Q2
from tests.redis_servers import Redis
from tests.servers import missing

HERE = Path(__file__).parent
SECONDS = 240
"""How long a run may take before it is ended: about ten times what it needs."""

OURS = Contender(
    "graft",
    "django-q-core under Django Q2's tests",
    (
        *(
            DJANGO,
            *CLIENT,
            "django-redis>=6",
            "croniter",
            "psutil>=5.9",
            "rich>=13",
            "pytest>=8",
            "pytest-django>=4.14",
        ),
        *editable("core", "broker-orm", "broker-redis"),
    ),
    "django-q-core",
    local=True,
)


@dataclass(frozen=True)
class Outcomes:
    """What came out of a part of the tests, by their names without parameters."""

    found: frozenset[str]
    """All that there are, also those that were not run."""
    passed: frozenset[str]
    reports: str
    """Of what did not pass."""


class GraftedTests:
    """The tests in a folder of their own, and a Redis that nobody else uses."""

    def __init__(self, folder: Path, redis: Redis) -> None:
        self.folder = folder / "grafted"
        self.runs = folder / "runs"
        self.redis = redis
        # Nothing else of Django Q2: a module that we lack must not be found there.
        shutil.copytree(
            _tests_of_django_q2(), self.folder / "tests", ignore=shutil.ignore_patterns("*.pyc")
        )
        self.runs.mkdir()

    def run(self, part: str, listed: list[str]) -> Outcomes:
        """Run those that are on the list ("listed"), or all "others"."""
        files = {name: self.runs / f"{part}-{name}" for name in ("listed", "outcomes", "database")}
        files["listed"].write_text(json.dumps(listed))
        command = [
            *(str(_python()), "-m", "pytest", "-p", "graft_plugin", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", str(self.folder / "tests")),
            *("--part", part, "--listed", str(files["listed"])),
            *("--outcomes", str(files["outcomes"]), str(self.folder / "tests")),
        ]
        log = _run(command, self.runs, self._environment(files["database"]))
        assert files["outcomes"].exists(), log
        outcomes = json.loads(files["outcomes"].read_text())
        passed = frozenset(name for name, passed in outcomes["passed"].items() if passed)
        reports = "\n".join(f"{name}: {text}" for name, text in outcomes["reports"].items())
        return Outcomes(frozenset(outcomes["found"]), passed, reports or log)

    def _environment(self, database: Path) -> dict[str, str]:
        # Not this run's coverage, plugins or settings.
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        return {name: os.environ[name] for name in kept if name in os.environ} | {
            "DJANGO_SETTINGS_MODULE": "graft_settings",
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "REDIS_HOST": "127.0.0.1",
            "GRAFT_FOLDER": str(self.folder),
            "GRAFT_REDIS": f"redis://127.0.0.1:{self.redis.port}/0",
            "GRAFT_DATABASE": str(database),
        }


def _python() -> Path:
    try:
        return OURS.python()
    except subprocess.CalledProcessError as error:
        missing(f"what Django Q2's tests need could not be installed: {error}")


def _tests_of_django_q2() -> Path:
    code = "import django_q; print(django_q.__path__[0])"
    command = [str(Q2.python()), "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip()) / "tests"


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run it to its end, with all that it leaves behind; return what it printed."""
    with _group(command, folder, environment) as process:
        try:
            return process.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"no end after {SECONDS} seconds: {error.output}") from None


@contextlib.contextmanager
def _group(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
