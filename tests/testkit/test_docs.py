"""What docs/testkit.md promises is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from django_q.brokers import Broker
from django_q_testkit import ReporterConformance, plugin
from django_q_testkit.conformance import sequences
from django_q_testkit.conformance.bench import Bench

PAGE = (Path(__file__).parents[2] / "docs" / "testkit.md").read_text()
NAMED_BLOCK = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)

SETTINGS = """
SECRET_KEY = "not-a-secret"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
Q_CLUSTER = {"broker_class": "folder_broker.FolderBroker"}
"""


SECTION = re.compile(r"## The report on brokers\n.*?```text\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the tests that the page shows, as they stand, and return what pytest wrote."""
    tmp_path = tmp_path_factory.mktemp("examples")
    for name, code in NAMED_BLOCK.findall(PAGE):
        (tmp_path / name).write_text(code)
    (tmp_path / "settings.py").write_text(SETTINGS)

    command = [sys.executable, "-m", "pytest", "--ds=settings"]
    run = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_examples_pass_as_they_stand(examples: str) -> None:
    assert " passed" in examples
    assert " failed" not in examples


def test_the_report_on_brokers_looks_as_the_page_shows_it(examples: str) -> None:
    [sample] = SECTION.findall(PAGE)

    assert sample.strip() in examples


def test_every_adjustment_is_on_the_page() -> None:
    attributes = set(Bench.__annotations__) | {
        name
        for name, value in vars(Bench).items()
        if isinstance(value, bool | int | float | str) and not name.startswith("_")
    }

    assert {name for name in attributes if f"| `{name}` |" not in PAGE} == set()


def test_every_adjustment_of_reporters_is_on_the_page() -> None:
    adjustable = {name for name in ReporterConformance.__annotations__ if not name.startswith("_")}
    optional = {name for name in vars(ReporterConformance) if name.startswith("make_")}

    assert {name for name in adjustable if f"| `{name}` |" not in PAGE} == set()
    assert {name for name in optional if f"{name}(" not in PAGE} == set()


def test_every_demand_on_reporters_is_on_the_page() -> None:
    demands = [name for name in vars(ReporterConformance) if name.startswith("test_")]
    table = PAGE.partition("| demanded | because |")[2].partition("\n\n")[0]
    rows = table.strip().splitlines()[1:]

    # Two tests are about the task's name: that it is there, and that it is not an earlier one's.
    assert len(rows) == len(demands) - 1


def test_the_measures_of_random_sequences_are_those_of_the_page() -> None:
    assert "Two clusters share a queue" in PAGE
    assert sequences.CLUSTERS == 2
    assert f"at most {sequences.WAITING_SEQUENCES} sequences" in PAGE.replace("\n", " ")
    assert "time passes twice in each" in PAGE
    assert sequences.WAITS == 2
    assert f"After {sequences.PATIENCE_SECONDS:g} s no further" in PAGE


def test_every_capability_that_is_tested_is_on_the_page() -> None:
    capabilities = {
        name
        for name in Broker.__annotations__
        if name.startswith(("supports_", "max_", "is_", "counts_", "keeps_"))
    }

    assert {name for name in capabilities if f"`{name}`" not in PAGE} == set()


def test_every_fixture_is_on_the_page() -> None:
    fixtures = ["django_q_sync", "memory_broker", "enqueued_tasks"]

    assert all(hasattr(plugin, fixture) and f"| `{fixture}` |" in PAGE for fixture in fixtures)
