"""What docs/testkit.md promises is so."""

import re
import subprocess
import sys
from pathlib import Path

from django_q.brokers import Broker
from django_q_testkit import plugin
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


def test_the_two_file_example_passes_as_it_stands(tmp_path: Path) -> None:
    for name, code in NAMED_BLOCK.findall(PAGE):
        (tmp_path / name).write_text(code)
    (tmp_path / "settings.py").write_text(SETTINGS)

    command = [sys.executable, "-m", "pytest", "test_folder_broker.py", "--ds=settings"]
    run = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_every_adjustment_is_on_the_page() -> None:
    attributes = set(Bench.__annotations__) | {
        name
        for name, value in vars(Bench).items()
        if isinstance(value, bool | int | float | str) and not name.startswith("_")
    }

    assert {name for name in attributes if f"| `{name}` |" not in PAGE} == set()


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
