"""How the hook of a finished task is run."""

import logging
from typing import Any

import pytest

from django_q.models import Task
from django_q.tasks import hooks
from tests.core import queueing
from tests.core.queueing import failing_hook


@pytest.fixture
def task() -> Task:
    return Task(id="1" * 32, name="some-task", func="math.floor")


@pytest.mark.parametrize("hook", ["tests.core.queueing.hook", queueing.hook])
def test_a_hook_gets_the_finished_task(hook: Any, task: Task) -> None:
    queueing.hooked.clear()

    hooks.run_hook(hook, task)

    assert queueing.hooked == [task]


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ("tests.core.queueing.failing_hook", "the hook failed"),
        (failing_hook, "the hook failed"),
        ("nowhere.to.be_found", "is not defined"),
        ("tests.core.queueing", "is not defined"),
        (3, "is not defined"),
        ("sys.exit", "some-task"),
    ],
)
def test_a_hook_that_fails_is_logged_and_not_raised(
    hook: Any, reason: str, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "django-q"):
        hooks.run_hook(hook, task)

    (record,) = caplog.records
    assert "failed on [some-task]" in record.getMessage()
    assert reason in record.getMessage()


def test_a_hook_that_fails_is_reported_with_the_task(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(hooks.reporters, "report", reported.append)

    hooks.run_hook(failing_hook, task)

    assert [(each["id"], each["func"]) for each in reported] == [(task.id, "math.floor")]
