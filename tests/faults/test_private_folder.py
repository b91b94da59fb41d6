"""The folder of large bodies goes with its cluster, however that ended."""

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from django_q.cluster.folder import PREFIX, YOUNG_SECONDS, PrivateFolder
from django_q.cluster.lane import Action, Verdict
from django_q.cluster.monitor import Monitor
from django_q.cluster.ring import LARGEST_BODY, RING_BYTES, Ring


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def make_old(path: Path) -> None:
    (path / "body").touch()
    moment = path.stat().st_mtime - YOUNG_SECONDS - 1
    os.utime(path, (moment, moment))


def test_the_folder_of_a_cluster_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    deserted = tmp_path / f"{PREFIX}deserted"
    deserted.mkdir()
    make_old(deserted)

    mine = PrivateFolder()

    assert list(tmp_path.iterdir()) == [mine.path]


def test_the_folder_of_a_living_cluster_stays(tmp_path: Path) -> None:
    living = PrivateFolder()
    make_old(living.path)
    starting = tmp_path / f"{PREFIX}starting"
    starting.mkdir()

    mine = PrivateFolder()

    assert set(tmp_path.iterdir()) == {living.path, starting, mine.path}


def test_a_folder_that_somebody_cleared_away_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    ring = Ring(memoryview(bytearray(RING_BYTES)), folder, "ring")
    body = b"x" * (LARGEST_BODY + 1)

    assert ring.put(1, 0, [body])

    assert ring.body(1) == body


def test_a_package_that_cannot_be_read_any_more_ends_no_monitor(tmp_path: Path) -> None:
    bell = SimpleNamespace(wait=None)
    crew: Any = SimpleNamespace(
        board=SimpleNamespace(monitor_bell=bell, folder=tmp_path), list_key="queue"
    )
    monitor = Monitor("Process-1", crew)

    def vanished() -> Any:
        raise FileNotFoundError("in-1-1")

    report = monitor.coroner.or_leave(vanished)

    assert (report.verdict, report.action) == (Verdict.REJECTED, Action.FORGET)
