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

Unpack = Callable[[str, Path], None]


@pytest.fixture(scope="session")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Unpack:
    """Return a function that unpacks the wheel of an example into a folder of `sys.path`.

    For a wheel of pure Python that is all that an installer does, so its entry point is found.
    """
    built: dict[str, Path] = {}

    def unpack_one(example: str, folder: Path) -> None:
        if example not in built:
            built[example] = build(
                Distribution(EXAMPLES / example), tmp_path_factory.mktemp("wheel")
            ).path
        with zipfile.ZipFile(built[example]) as wheel:
            wheel.extractall(folder)

    return unpack_one


def run_tests(example: str, site: Path) -> str:
    """Run the tests that an example brings, as its author does; return what pytest says."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=EXAMPLES / example,
        env=os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
