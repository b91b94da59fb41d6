"""The examples of docs/tasks.md run, and print what the page says."""

import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from django.core import mail
from django.core.cache import cache

from django_q import tasks
from django_q.tasks.enqueue import OPTIONS
from tests.core.queueing import memory_queue

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"

_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
_MODULE = re.compile(r"^# (\w+)\.py\n")


class Example(NamedTuple):
    """A block of the page: code, and what it prints."""

    code: str
    prints: str


def examples() -> list[Example]:
    return [Example(code, prints or "") for code, prints in _BLOCK.findall(PAGE.read_text())]


@pytest.fixture
def _modules_of_the_page() -> Iterator[None]:
    """Blocks that begin with a file's name, importable under it."""
    made: dict[str, ModuleType] = {}
    for code, _ in examples():
        if found := _MODULE.match(code):
            module = made.setdefault(found[1], ModuleType(found[1]))
            exec(code, module.__dict__)
    sys.modules.update(made)
    yield
    for name in made:
        del sys.modules[name]


@pytest.mark.django_db
@pytest.mark.usefixtures("_modules_of_the_page")
def test_the_examples_print_what_the_page_says(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue(sync=True)
    namespace: dict[str, Any] = {}
    cache.clear()

    for code, prints in examples():
        if not _MODULE.match(code):
            with redirect_stdout(StringIO()) as printed:
                exec(compile(code, str(PAGE), "exec"), namespace)
            assert printed.getvalue() == prints, code

    assert [message.subject for message in mail.outbox] == ["Welcome", "The report you requested"]
    cache.clear()


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in tasks.__all__
        if getattr(getattr(tasks, name), "__module__", "").startswith("django_q.tasks")
        and name not in ("_sync", "schedule")
    ),
)
def test_the_page_tells_of_every_function(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE.read_text())


def test_the_page_tells_of_every_option() -> None:
    options = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))

    internal = {"iter_count", "iter_cached", "chain"}
    assert options == {*OPTIONS, "task_name", "q_options"} - internal
