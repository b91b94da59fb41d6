"""What pytest tells at its end of the brokers that were tested."""

import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = """
SECRET_KEY = "not-a-secret"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
"""

TESTS = """
import pytest
from django_q.brokers import Broker
from django_q.brokers.memory import Memory
from django_q_testkit import BrokerConformance


class Late(Memory):
    idle_seconds = 0.01
    max_delay = 60.0

    def enqueue(self, package, *, available_at=None, **options):
        return super().enqueue(package, **options)

    def info(self):
        return "Late 1.2"


class TestLate(BrokerConformance):
    def make_broker(self, list_key):
        return Late(list_key)


class TestNothing(BrokerConformance):
    def make_broker(self, list_key):
        return Broker(list_key)


@pytest.mark.skip("its server is missing")
class TestMissing(BrokerConformance):
    def make_broker(self, list_key):
        raise NotImplementedError


def test_info_of_something_else():
    pass
"""


@pytest.fixture
def run(tmp_path: Path) -> "Run":
    """Return a function that runs some tests of brokers in a project of its own."""
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "test_brokers.py").write_text(TESTS)
    return Run(tmp_path)


class Run:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, tests: str = "info or delayed_work or longest") -> str:
        command = [sys.executable, "-m", "pytest", "--ds=settings", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-k", tests, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout + done.stderr


def row(output: str, name: str) -> list[str]:
    """Return what is said of a capability, class by class."""
    [line] = [line for line in output.splitlines() if line.startswith(f"{name} ")]
    return [cell.strip() for cell in line.removeprefix(name).split("  ") if cell.strip()]


@pytest.mark.parametrize("processes", ["0", "2"])
def test_each_capability_is_shown_with_its_value_and_its_tests(run: Run, processes: str) -> None:
    output = run("-n", processes)

    assert "TestLate  " in output
    assert "Late 1.2" in output
    assert row(output, "supports_delay") == ["yes 1/0/1", "no 0/2/0"]
    assert row(output, "max_delay") == ["60.0 1/0/0", "no limit"]
    assert row(output, "all tests") == ["2/0/1", "1/2/0"]


def test_a_class_whose_tests_never_made_a_broker_is_left_out(run: Run) -> None:
    assert "TestMissing  " not in run()


def test_the_report_is_silent_with_two_q(run: Run) -> None:
    assert "supports_delay" not in run("-qq", tests="info")


def test_no_broker_was_tested_no_report(run: Run) -> None:
    assert "what the brokers declare" not in run(tests="something_else")


def test_what_does_not_fit_beside_each_other_stands_below(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    lines = run(tests="info").splitlines()

    assert len([line for line in lines if line.startswith("supports_receipts ")]) == 2
