"""How lifecycle signals reach receivers and plugins."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from django_q import plugins, signals
from django_q.errors import TimeoutException


@pytest.fixture
def receivers() -> Iterator[list[Any]]:
    """Receivers of post_execute, put in by the test and taken out after it."""
    before = list(signals.post_execute.receivers)
    yield []
    signals.post_execute.receivers = before


class Heard:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.arguments: list[dict[str, Any]] = []

    def __call__(self, **arguments: Any) -> None:
        self.arguments.append(arguments)


def failing_receiver(**_: Any) -> None:
    raise ValueError("the receiver failed")


def overdue_receiver(**_: Any) -> None:
    raise TimeoutException("time is up")


@pytest.mark.usefixtures("receivers")
def test_a_receiver_gets_the_sender_and_the_arguments() -> None:
    heard = Heard()
    signals.post_execute.connect(heard, sender="django_q")

    signals.notify(signals.post_execute, task={"id": "1"})

    (arguments,) = heard.arguments
    assert arguments["sender"] == "django_q"
    assert arguments["task"] == {"id": "1"}


@pytest.mark.usefixtures("receivers")
def test_a_receiver_that_raises_is_named_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = Heard()
    signals.post_execute.connect(failing_receiver)
    signals.post_execute.connect(heard)

    with caplog.at_level(logging.ERROR, "django-q"):
        raised = signals.notify("post_execute", task={"id": "1"})

    assert len(heard.arguments) == 1
    assert [str(error) for error in raised] == ["the receiver failed"]
    assert f"{__name__}.failing_receiver of post_execute raised" in caplog.text


@pytest.mark.usefixtures("receivers")
def test_a_receiver_that_raises_is_reported_with_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(plugins, "report_error", reported.append)
    signals.post_execute.connect(failing_receiver)

    signals.notify("post_execute", task={"id": "1"})

    assert reported == [{"id": "1"}]


@pytest.mark.usefixtures("receivers")
def test_a_tasks_deadline_passes_through_its_receivers() -> None:
    signals.post_execute.connect(overdue_receiver)

    with pytest.raises(TimeoutException):
        signals.notify("post_execute", task={"id": "1"})


def test_nobody_listens_until_somebody_does(
    receivers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signals.post_execute.receivers = receivers

    assert not signals.listens(signals.post_execute)
    monkeypatch.setattr(plugins, "listens", lambda name: name == "post_execute")
    assert signals.listens("post_execute")


def test_the_plugin_hook_of_the_same_name_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    failure = ValueError("the plugin failed")

    def call(name: str, **arguments: Any) -> list[BaseException]:
        called.append((name, arguments))
        return [failure]

    monkeypatch.setattr(plugins, "listens", lambda name: name == "post_spawn")
    monkeypatch.setattr(plugins, "call", call)

    raised = signals.notify(signals.post_spawn, proc_name="worker 1")

    assert called == [("post_spawn", {"proc_name": "worker 1"})]
    assert raised == [failure]


def test_an_unknown_signal_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        signals.notify("post_nothing")
