"""What is compared, each installed in an environment of its own that later runs reuse."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DJANGO = "Django~=5.2.0"
"""The same in both environments, and the newest that every supported Python runs."""
DRIVERS = ("psycopg[binary]>=3.2", "PyMySQL>=1.1")
CLIENT = ("redis>=5", "hiredis>=2.3")
"""The same for everybody: Redis' client, and its parser in C that all of them recommend."""


@dataclass(frozen=True)
class Contender:
    """A library and how to install it."""

    key: str
    title: str
    requirements: tuple[str, ...]
    distribution: str
    local: bool = False
    """Is its environment to be made anew when a package of this repository changes?"""

    def python(self, fresh: bool = False) -> Path:
        """Return the interpreter of its environment, made if it is not there yet."""
        circumstances = [str(ROOT)] if self.local else []
        if self.local:
            pyprojects = sorted(ROOT.glob("packages/*/pyproject.toml"))
            circumstances += [path.read_text() for path in pyprojects]
        return environment(self.key, list(self.requirements), *circumstances, fresh=fresh)

    def version(self) -> str:
        """Return the installed version."""
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        command = [str(self.python()), "-c", code, self.distribution]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def editable(*names: str) -> tuple[str, ...]:
    """Return what installs these packages of the repository as they are being written."""
    return tuple(part for name in names for part in ("-e", str(ROOT / "packages" / name)))


Q2 = Contender("q2", "Django Q2", (DJANGO, *DRIVERS, *CLIENT, "django-q2==1.11.1"), "django-q2")
OURS = Contender(
    "ours",
    "django-q-core",
    (DJANGO, *DRIVERS, *CLIENT, *editable("core", "broker-orm", "broker-redis")),
    "django-q-core",
    local=True,
)


def cache_folder() -> Path:
    """Return where the environments are kept: this user's, in the system's temporary folder."""
    folder = Path(tempfile.gettempdir()) / f"django-q-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def environment(
    name: str, requirements: list[str], *circumstances: str, fresh: bool = False
) -> Path:
    """Return the interpreter of a virtual environment, made if it is not there yet.

    It is made anew where the requirements or the circumstances are others, and is there whole or
    not at all, also where two runs begin together. Raises CalledProcessError.
    """
    parts = "\n".join([sys.version, *requirements, *circumstances])
    folder = cache_folder() / f"{name}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}-{uuid.uuid4().hex}")
        try:
            install(unfinished, unfinished / "bin" / "python", requirements)
            with contextlib.suppress(OSError):  # somebody was faster
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder / "bin" / "python"


def install(folder: Path, python: Path, requirements: list[str]) -> None:
    """Make a virtual environment; with hatch's uv in a second, else with pip."""
    uv = os.environ.get("HATCH_UV") or shutil.which("uv")
    if uv:
        run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        run([uv, "pip", "install", "--quiet", "--python", str(python), *requirements])
    else:
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(python), "-m", "pip", "install", "--quiet", *requirements])


def run(command: list[str]) -> None:
    """Run a command; its error output is the user's to read."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
