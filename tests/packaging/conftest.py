"""Every distribution, its metadata, and its wheel."""

import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT

FOLDERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))


@dataclass(frozen=True)
class Distribution:
    """One folder of `packages/`."""

    folder: Path

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """Return its pyproject.toml."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text())

    @property
    def project(self) -> dict[str, Any]:
        """Return the table [project]."""
        return self.pyproject["project"]

    @property
    def name(self) -> str:
        """Return the distribution's name."""
        return self.project["name"]

    @property
    def package(self) -> Path:
        """Return the folder of its import package."""
        (package,) = self.pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        return self.folder / package


@dataclass(frozen=True)
class Wheel:
    """A built wheel."""

    distribution: Distribution
    path: Path

    @cached_property
    def names(self) -> list[str]:
        """Return the files in it."""
        with zipfile.ZipFile(self.path) as archive:
            return archive.namelist()

    def read(self, ending: str) -> str:
        """Return the text of the only file whose path ends so."""
        (name,) = [name for name in self.names if name.endswith(ending)]
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name).decode()

    @cached_property
    def metadata(self) -> Message:
        """Return its core metadata."""
        return Parser().parsestr(self.read(".dist-info/METADATA"))


@pytest.fixture(scope="session")
def distributions() -> list[Distribution]:
    """Return all distributions of the repository."""
    return [Distribution(folder) for folder in FOLDERS]


@pytest.fixture(scope="session")
def wheels(
    distributions: list[Distribution], tmp_path_factory: pytest.TempPathFactory
) -> list[Wheel]:
    """Build the wheel of every distribution, once."""
    return [build(one, tmp_path_factory.mktemp("wheel")) for one in distributions]


def build(distribution: Distribution, target: Path) -> Wheel:
    """Build without isolation: hatchling is here, so nothing is downloaded."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(
        [*command, "--directory", str(target)],
        cwd=distribution.folder,
        check=True,
        capture_output=True,
    )
    (path,) = target.glob("*.whl")
    return Wheel(distribution, path)
