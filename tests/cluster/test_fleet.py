"""The clusters of one `qcluster` share a main process: what it starts, tells and ends."""

import os
import signal
from collections.abc import Iterator
from typing import cast

import pytest

from django_q.cluster.birth import SIGNALS
from django_q.cluster.cluster import Cluster
from django_q.cluster.fleet import Fleet


class Scripted:
    """A cluster that does at once what it is asked for, and notes it."""

    board = None
    name = "four-words-for-it"

    def __init__(self, *, starts: bool = True, gives_up: bool = False) -> None:
        self.starts = starts
        self.has_given_up = gives_up
        self.notes: list[str] = []
        self.signals = 0
        self.is_over = False
        self.is_asked_to_stop = False

    @property
    def exit_status(self) -> int:
        return int(self.has_given_up)

    def launch(self) -> None:
        self.notes.append("launched")

    def wait_for_start(self) -> None:
        if not self.starts:
            self.is_over = True
            raise RuntimeError("The sentinel ended")
        self.notes.append("runs")

    def mind(self) -> bool:
        if self.is_asked_to_stop or self.signals or self.has_given_up:
            self.is_over = True
        return self.is_over

    def ask_to_stop(self) -> None:
        self.is_asked_to_stop = True

    def count_signal(self) -> None:
        self.signals += 1

    def nap(self) -> float:
        return 1.0

    def end_of_sentinel(self) -> list[int]:
        return []


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fleet_of(*clusters: Scripted) -> Fleet:
    fleet = Fleet()
    fleet.clusters += cast("tuple[Cluster, ...]", clusters)
    return fleet


def test_a_signal_is_passed_to_each_cluster_once_and_ends_the_wait() -> None:
    clusters = [Scripted(), Scripted()]
    fleet = fleet_of(*clusters)
    fleet.start()

    os.kill(os.getpid(), signal.SIGTERM)
    status = fleet.join()

    assert [cluster.signals for cluster in clusters] == [1, 1]
    assert status == 0


def test_the_others_are_stopped_when_one_does_not_start() -> None:
    first, second = Scripted(), Scripted(starts=False)

    with pytest.raises(RuntimeError, match="The sentinel ended"):
        fleet_of(first, second).start()

    # All begin before any is waited for.
    assert (first.notes, second.notes) == (["launched", "runs"], ["launched"])
    assert first.is_asked_to_stop
    assert first.is_over


def test_one_that_gives_up_ends_all_with_its_status() -> None:
    others = [Scripted(), Scripted()]

    status = fleet_of(others[0], Scripted(gives_up=True), others[1]).join()

    assert status == 1
    assert all(cluster.is_over for cluster in others)


def test_the_end_of_one_can_be_waited_for_while_the_others_go_on() -> None:
    leaving, staying = Scripted(), Scripted()
    fleet = fleet_of(leaving, staying)
    leaving.ask_to_stop()

    status = fleet.join(cast("Cluster", leaving))

    assert (status, leaving.is_over, staying.is_over) == (0, True, False)
