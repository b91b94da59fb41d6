"""The broker keeps Django Q's contract."""

from collections import defaultdict
from pathlib import Path

import pytest
from django_q_broker_filesystem.broker import SECOND, Filesystem
from pytest_django import Settings

from django_q_testkit import BrokerConformance


class AdvancedFilesystem(Filesystem):
    """A broker whose clock can be put forward, so that no test waits for the end of a lease."""

    ahead: defaultdict[Path, int] = defaultdict(int)

    def now(self) -> int:
        return super().now() + self.ahead[self.connection.path]

    def advance(self, seconds: float) -> None:
        self.ahead[self.connection.path] += int(seconds * SECOND)


class TestFilesystem(BrokerConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, settings: Settings) -> None:
        settings.Q_CLUSTER = {"name": "tests", "filesystem": {"folder": str(tmp_path)}}

    def make_broker(self, list_key: str) -> AdvancedFilesystem:
        return AdvancedFilesystem(list_key)
