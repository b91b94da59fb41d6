"""What is true of this reporter alone."""

import json
from urllib.error import HTTPError

import pytest
from django_q_reporter_webhook.plugin import django_q_reporters
from django_q_reporter_webhook.reporter import Webhook

from .conftest import Inbox


def fail(task: object, reporter: Webhook) -> None:
    """Report an error in the way of a worker, which has the task in a local variable."""
    try:
        raise ValueError("no such order: Grüße")
    except ValueError:
        reporter.report()


def test_the_text_names_task_and_error_and_shows_the_traceback(inbox: Inbox) -> None:
    fail({"id": "d7f0", "name": "winter-lamp", "func": "shop.mail.confirm"}, Webhook(inbox.url))

    (body,) = inbox.bodies
    first, *rest = json.loads(body)["text"].splitlines()
    assert first == (
        "The task winter-lamp (shop.mail.confirm, d7f0) failed: ValueError('no such order: Grüße')"
    )
    assert rest[0].startswith("Traceback")


def test_the_arguments_of_the_task_stay_here(inbox: Inbox) -> None:
    fail({"id": "i", "name": "n", "func": "f", "args": ("secret-number",)}, Webhook(inbox.url))

    assert "secret-number" not in inbox.bodies[0]


def test_an_error_outside_any_task_is_posted_too(inbox: Inbox) -> None:
    fail("no dict", Webhook(inbox.url))

    assert json.loads(inbox.bodies[0])["text"].startswith("An error: ValueError(")


def test_without_an_error_nothing_is_posted(inbox: Inbox) -> None:
    Webhook(inbox.url).report()

    assert inbox.bodies == []


def test_a_refusal_of_the_server_is_raised(inbox: Inbox) -> None:
    inbox.status = 500

    with pytest.raises(HTTPError):
        fail({}, Webhook(inbox.url))


def test_a_url_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"not be 'chat\.example\.org'"):
        Webhook("chat.example.org")


def test_the_plugin_names_the_reporter() -> None:
    (entry,) = django_q_reporters()

    assert entry.answers_to == ("webhook",)
    assert entry.path == f"{Webhook.__module__}.{Webhook.__name__}"
