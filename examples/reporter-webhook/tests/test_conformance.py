"""The reporter keeps Django Q's contract."""

import socket
from collections.abc import Iterator

import pytest
from django_q_reporter_webhook.reporter import Webhook

from django_q_testkit import ReporterConformance

from .conftest import Inbox


class TestWebhook(ReporterConformance):
    @pytest.fixture(autouse=True)
    def listen(self, inbox: Inbox) -> Iterator[None]:
        self.inbox = inbox
        with socket.create_server(("127.0.0.1", 0)) as self.silent:
            yield

    def make_reporter(self) -> Webhook:
        return Webhook(self.inbox.url)

    def reports(self) -> list[str]:
        return list(self.inbox.bodies)

    def make_unreachable_reporter(self) -> Webhook:
        host, port = self.silent.getsockname()
        return Webhook(f"http://{host}:{port}/", timeout=0.05)
