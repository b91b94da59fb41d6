"""Reporters of different makes pass the suite: one that writes at once, one that sends later."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_q.reporters import Reporter
from django_q_testkit import ReporterConformance
from tests.reporters.file_reporter import FileReporter


class TestFileReporter(ReporterConformance):
    """It keeps a file, which every process appends to."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "errors"

    def make_reporter(self) -> Reporter:
        return FileReporter(self.path)

    def reports(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def make_unreachable_reporter(self) -> Reporter:
        return FileReporter(self.path / "in no folder")


class Datagrams:
    """Sends the exception alone, as one datagram."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def report(self) -> None:
        error = sys.exc_info()[1]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(f"{type(error).__name__}: {error}".encode(), str(self.path))


class TestDatagrams(ReporterConformance):
    """A reporter that has a server, and does not look for the task."""

    names_of_the_task = ()

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "socket"
        self.arrived: list[str] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as self.server:
            self.server.bind(str(self.path))
            self.server.setblocking(False)
            yield

    def make_reporter(self) -> Reporter:
        return Datagrams(self.path)

    def reports(self) -> list[str]:
        while True:
            try:
                self.arrived.append(self.server.recv(65536).decode())
            except BlockingIOError:
                return self.arrived
