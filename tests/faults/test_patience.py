"""One line when something is lost and one when it is back, whoever of a cluster notices."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from django_q.cluster.patience import Outage, Patience

GONE = ConnectionError("refused\n\tIs the server running?")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "django-q")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def processes(tmp_path: Path) -> list[Outage]:
    """Return what three processes know of one thing."""
    return [Outage("it", tmp_path / "away") for _ in range(3)]


LOST, FOUND = "Lost it, trying again: ConnectionError: refused", "Found it again"


def test_what_all_lose_and_find_is_spoken_of_once(
    processes: list[Outage], said: Callable[[], list[str]]
) -> None:
    for outage in processes * 3:
        outage.lost(GONE)
    for outage in processes:
        outage.found()

    assert said() == [LOST, FOUND]


def test_a_connection_that_was_only_cut_is_not_spoken_of(
    processes: list[Outage], said: Callable[[], list[str]]
) -> None:
    for outage in processes:
        outage.lost(GONE)
        outage.found()

    assert said() == []


def test_who_still_misses_what_another_has_found_says_so_again(
    processes: list[Outage], said: Callable[[], list[str]]
) -> None:
    first, second, _ = processes
    for outage in (first, second) * 2:
        outage.lost(GONE)

    first.found()
    second.lost(GONE)
    assert said() == [LOST, FOUND]

    second.lost(GONE)
    assert said() == [LOST, FOUND, LOST]


def test_what_a_process_lost_that_died_of_it_is_found_by_its_successor(
    processes: list[Outage], said: Callable[[], list[str]]
) -> None:
    dead, heir, _ = processes
    dead.lost(GONE)
    dead.lost(GONE)
    successor = Patience(heir, wait=lambda seconds: None, give_up=lambda: False)

    successor.call(lambda: None, None, is_contact=False)
    assert said() == [LOST]

    successor.call(lambda: None, None)
    assert said() == [LOST, FOUND]


def test_each_failure_mends_what_it_may_have_spoilt() -> None:
    mended: list[int] = []
    answers = iter([GONE, GONE, None])

    def work() -> None:
        if (error := next(answers)) is not None:
            raise error

    patience = Patience(
        "it",
        wait=lambda seconds: None,
        give_up=lambda: False,
        mend=lambda: mended.append(1),
    )
    patience.call(work, None)

    assert len(mended) == 2
