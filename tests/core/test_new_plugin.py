"""`python -m django_q.plugins` lists what is installed, and writes skeletons whose tests pass."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from django_q.plugins.skeleton import KINDS, Skeleton
from tests.core.distributions import SitePackages

MODULES = {
    "pigeon.plugin": """
        from django_q.plugins import BrokerEntry, hookimpl

        @hookimpl
        def django_q_brokers():
            return [BrokerEntry("pigeon", "pigeon.broker.Pigeon")]
    """
}


def run(*arguments: str, folder: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, without settings."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=env | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def plugins(*arguments: str, folder: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    return run("-m", "django_q.plugins", *arguments, folder=folder, path=path)


# New ones


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_plugin_pass(kind: str, tmp_path: Path) -> None:
    made = plugins("new", kind, "carrier-pigeon", folder=tmp_path)
    folder = tmp_path / f"django-q-{kind}-carrier-pigeon"

    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=folder, path="src")

    assert made.returncode == 0, made.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_a_new_plugin_is_well_formed(kind: str, tmp_path: Path) -> None:
    tools = [tool for tool in ("ruff", "mypy") if importlib.util.find_spec(tool)]
    if len(tools) < 2:
        pytest.skip("ruff and mypy are not installed: pip install ruff mypy")
    plugins("new", kind, "carrier-pigeon", folder=tmp_path)

    for command in (
        ["ruff", "check", "--no-cache", "--select", "B,E,F,N,PL,RUF,SIM,UP", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--strict", "--cache-dir", os.devnull, "src"],
    ):
        done = run("-m", *command, folder=next(tmp_path.iterdir()))

        assert done.returncode == 0, done.stdout + done.stderr


def test_it_says_what_it_wrote_and_what_to_do_next(tmp_path: Path) -> None:
    done = plugins("new", "broker", "pigeon", "--folder", "my plugins", folder=tmp_path)

    written, next_ones = done.stdout.split("Next:\n")
    folder = Path("my plugins/django-q-broker-pigeon")
    assert {tmp_path / line.strip() for line in written.splitlines()[1:]} == {
        path for path in (tmp_path / folder).rglob("*") if path.is_file()
    }
    assert [line.strip() for line in next_ones.splitlines()] == [
        f"cd '{folder}'",
        'pip install --editable ".[test]"',
        "pytest",
    ]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    plugins("new", "broker", "pigeon", folder=tmp_path)
    changed = tmp_path / "django-q-broker-pigeon" / "README.md"
    changed.write_text("mine")

    done = plugins("new", "broker", "pigeon", folder=tmp_path)

    assert done.returncode == 2
    assert "django-q-broker-pigeon is there already" in done.stderr
    assert changed.read_text() == "mine"


@pytest.mark.parametrize("name", ["Pigeon", "9lives", "a--b", "a b", "a-", "../a", "grün", ""])
def test_a_name_that_is_none_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    done = plugins("new", "broker", "--", name, folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "A broker's name begins with a letter and has lower-case letters and digits, with single "
        f"hyphens between them, such as 'carrier-pigeon'; not {name!r}."
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_broker_cannot_be_called_like_a_setting(tmp_path: Path) -> None:
    done = plugins("new", "broker", "cache", folder=tmp_path)

    assert done.returncode == 2
    assert "'cache' is a key of Q_CLUSTER already" in done.stderr


def test_everything_is_called_after_the_name() -> None:
    skeleton = Skeleton("broker", "carrier-pigeon")

    assert (skeleton.distribution, skeleton.package, skeleton.key, skeleton.class_name) == (
        "django-q-broker-carrier-pigeon",
        "django_q_broker_carrier_pigeon",
        "carrier_pigeon",
        "CarrierPigeonBroker",
    )


# The installed ones


def test_the_list_names_plugins_distributions_and_what_they_bring(
    site_packages: SitePackages, tmp_path: Path
) -> None:
    site_packages.install("pigeon", MODULES, plugins={"pigeon": "pigeon.plugin"})

    done = plugins(folder=tmp_path, path=str(site_packages.folder))

    assert re.search(
        r"^pigeon +pigeon 1\.0 +broker pigeon \(pigeon\) +ok$", done.stdout, re.MULTILINE
    )


@pytest.mark.parametrize("arguments", [["--json"], ["list", "--json"], ["--json", "list"]])
def test_the_list_is_had_as_json(
    arguments: list[str], site_packages: SitePackages, tmp_path: Path
) -> None:
    site_packages.install("pigeon", MODULES, plugins={"pigeon": "pigeon.plugin"})

    done = plugins(*arguments, folder=tmp_path, path=str(site_packages.folder))

    (pigeon,) = [each for each in json.loads(done.stdout)["plugins"] if each["name"] == "pigeon"]
    assert (pigeon["distribution"], pigeon["state"]) == ("pigeon 1.0", "ok")
    assert [entry["path"] for entry in pigeon["brokers"]] == ["pigeon.broker.Pigeon"]


def test_a_broken_plugin_is_listed_with_its_error(
    site_packages: SitePackages, tmp_path: Path
) -> None:
    site_packages.install("owl", {"owl": "import no_such_thing"}, plugins={"owl": "owl"})

    done = plugins(folder=tmp_path, path=str(site_packages.folder))

    assert "No module named 'no_such_thing'" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
