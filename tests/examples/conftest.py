"""The distributions of `examples/`, built and unpacked as an installer would."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import ROOT
from tests.packaging.conftest import Distribution, build

EXAMPLES = ROOT / "examples"

Unpack = Callable[[Path, Path], None]


@pytest.fixture(scope="session")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Unpack:
    """Return a function that builds a distribution and unpacks its wheel into a folder.

    For a wheel of pure Python that is all that an installer does: where the folder is on
    `sys.path`, the entry point is found.
    """
    built: dict[Path, Path] = {}

    def unpack_one(distribution: Path, folder: Path) -> None:
        if distribution not in built:
            wheel = build(Distribution(distribution), tmp_path_factory.mktemp("wheel"))
            built[distribution] = wheel.path
        with zipfile.ZipFile(built[distribution]) as archive:
            archive.extractall(folder)

    return unpack_one


def run_tests(distribution: Path, site: Path) -> str:
    """Run the tests that a distribution brings, as its author does; return what pytest says."""
    # The settings of this repository's tests are not the author's.
    env = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=distribution,
        env=env
        | {
            "PYTHONPATH": str(site),
            # Nothing is left in the repository.
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(site / "hypothesis"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
