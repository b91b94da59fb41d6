"""The wheels hold what an installed site needs, and install and import where nothing else is."""

import os
import subprocess
import sysconfig
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.packaging.conftest import Wheel
from tests.packaging.environments import install

IMPORT = """\
import os, sys, threading
import django_q
modules = sorted(name for name in sys.modules if name.partition(".")[0] in ("django", "redis"))
assert "DJANGO_SETTINGS_MODULE" not in os.environ
assert threading.active_count() == 1, threading.enumerate()
assert "django.db" not in modules, modules
print(django_q.__file__)
"""


def test_every_wheel_holds_each_file_of_its_package(wheels: list[Wheel]) -> None:
    for wheel in wheels:
        package = wheel.distribution.package
        expected = {
            path.relative_to(package.parent).as_posix()
            for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        packed = {name for name in wheel.names if ".dist-info/" not in name}

        assert packed == expected, wheel.path.name


def test_every_wheel_is_typed_and_licensed(wheels: list[Wheel]) -> None:
    for wheel in wheels:
        assert f"{wheel.distribution.package.name}/py.typed" in wheel.names
        assert wheel.read(".dist-info/licenses/LICENSE").startswith("MIT License")
        assert wheel.metadata["License-Expression"] == "MIT"


def test_every_wheel_shows_its_readme(wheels: list[Wheel]) -> None:
    for wheel in wheels:
        readme = (wheel.distribution.folder / "README.md").read_text().strip()

        assert len(readme.splitlines()) > 5, wheel.path.name
        assert str(wheel.metadata.get_payload()).strip() == readme


def test_all_wheels_have_one_version(wheels: list[Wheel]) -> None:
    assert len({wheel.metadata["Version"] for wheel in wheels}) == 1


def test_cores_wheel_has_commands_and_migrations(wheels: list[Wheel]) -> None:
    (core,) = [wheel for wheel in wheels if wheel.distribution.name == "django-q-core"]

    assert "django_q/management/__init__.py" in core.names
    assert "django_q/management/commands/__init__.py" in core.names
    assert "django_q/management/commands/qcluster.py" in core.names
    assert "django_q/migrations/__init__.py" in core.names
    assert "django_q/migrations/0001_initial.py" in core.names


def test_every_entry_point_leads_to_a_module_of_its_wheel(wheels: list[Wheel]) -> None:
    for wheel in wheels:
        groups = wheel.distribution.project.get("entry-points", {})
        for group in groups.keys() - {"djangoq.errorreporters"}:
            for name, value in groups[group].items():
                path = EntryPoint(name, value, group).module.replace(".", "/")

                assert {f"{path}.py", f"{path}/__init__.py"} & set(wheel.names), value
                assert f"{name} = {value}" in wheel.read("entry_points.txt")


def test_installed_wheels_import_without_settings_and_without_side_effects(
    wheels: list[Wheel], tmp_path: Path
) -> None:
    python = install(tmp_path / "venv", *[str(wheel.path) for wheel in wheels])
    env = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO")}

    done = subprocess.run(
        [str(python), "-c", IMPORT],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path.resolve())
    assert done.stderr == ""


def test_installing_wheels_changes_nothing_where_the_tests_run(
    wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoy = tmp_path / "decoy"
    for name in ("PIP_TARGET", "UV_TARGET", "PYTHONPATH"):
        monkeypatch.setenv(name, str(decoy))
    before = installed_here()

    install(tmp_path / "venv", *[str(wheel.path) for wheel in wheels])

    assert installed_here() == before
    assert not decoy.exists()


def installed_here() -> dict[str, int]:
    """Say when each file beside the packages of this interpreter was last changed."""
    folder = Path(sysconfig.get_path("purelib"))
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*django_q*")}
