"""Empty environments to install into, and a site that has nothing but what is installed in one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import MARKER, SETTINGS_MODULE, Project, temporary_folder
from tests.jobs import LEDGER_VARIABLE
from tests.packaging.conftest import Wheel

OFFLINE = ("Failed to fetch", "NewConnectionError", "dns error", "Temporary failure")

ELSEWHERE = {
    *("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"),
    *("PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET", "PIP_USER"),
    *("UV_PREFIX", "UV_PROJECT_ENVIRONMENT", "UV_SYSTEM_PYTHON", "UV_TARGET"),
}
"""What could lead an installer, or an interpreter, to another environment than its own."""


RUN_A_TASK = """\
import django_q
from django_q.brokers import broker_class
from django_q.tasks import async_task, result
[
    result(async_task("math.copysign", 2, -2), wait=60_000),
    django_q.__file__,
    broker_class().__module__,
]
"""


def install(folder: Path, *arguments: str) -> Path:
    """Make an empty environment and install into it what the arguments of `pip install` say.

    Return its interpreter.
    """
    python = folder / "bin" / "python"
    uv = find_uv()
    if uv:
        run([uv, "venv", "--python", sys.executable, str(folder)])
    else:
        run([sys.executable, "-m", "venv", str(folder)])
    add(python, *arguments)
    return python


def add(python: Path, *arguments: str) -> None:
    """Install into an environment what the arguments of `pip install` say."""
    uv = find_uv()
    if uv:
        run([uv, "pip", "install", "--python", str(python), *arguments])
    else:
        run([str(python), "-m", "pip", "install", *arguments])


def find_uv() -> str | None:
    """Return where uv is: it is faster."""
    return os.environ.get("HATCH_UV") or shutil.which("uv")


def run(command: list[str]) -> None:
    """Run an installer; without a network the test is skipped, but in CI."""
    done = subprocess.run(command, env=own(), capture_output=True, text=True, check=False)
    if done.returncode and not os.environ.get("CI") and any(t in done.stderr for t in OFFLINE):
        pytest.skip("PyPI cannot be reached: connect this machine to install the wheels")
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def own() -> dict[str, str]:
    """Return the environment variables that lead nowhere else."""
    return {key: value for key, value in os.environ.items() if key not in ELSEWHERE}


class InstalledSite(Project):
    """A project that an environment's Python runs, and that sees nothing of this repository."""

    def __init__(self, path: Path, interpreter: Path) -> None:
        self.interpreter = str(interpreter)
        super().__init__(path)

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of everything that the site starts."""
        return own() | {
            "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
            "PYTHONUNBUFFERED": "1",
            LEDGER_VARIABLE: str(self.ledger_path),
            MARKER: self.id,
        }

    def run_a_task(self) -> tuple[Any, str, str]:
        """Run a task by a real cluster, which then stops.

        Return its result, core's file, and the module of the broker that took it there.
        """
        cluster = self.start_cluster()
        result, core, broker = self.run(RUN_A_TASK, timeout=120)
        assert cluster.stop() == 0, cluster.log
        return result, core, broker


@contextmanager
def installed(wheels: list[Wheel], *extras: str) -> Iterator[InstalledSite]:
    """Install core with these extras; yield a site on it, of which nothing survives."""
    with temporary_folder() as folder:
        constraints = folder / "constraints.txt"
        # A release on the index must not stand in for what was just built.
        constraints.write_text(
            "".join(f"{w.distribution.name}=={w.metadata['Version']}\n" for w in wheels)
        )
        links = [part for w in wheels for part in ("--find-links", str(w.path.parent))]
        requirement = f"django-q-core[{','.join(extras)}]" if extras else "django-q-core"
        python = install(folder / "venv", *links, "--constraint", str(constraints), requirement)
        (folder / "site").mkdir()
        site = InstalledSite(folder / "site", python)
        yield site
        site.close()
