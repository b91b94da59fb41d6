"""Where packages go when pushers die, halt, or hand out what ended a worker before."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from django_q.brokers.base import Broker, Delivery
from django_q.cluster import clock
from django_q.cluster.board import Board
from django_q.cluster.dealer import Dealer
from django_q.cluster.keeper import Keeper
from django_q.cluster.lane import Action, Lane, State
from django_q.cluster.pusher import Pusher
from django_q.errors import BrokerUnavailable


class Leasing(Broker):
    """A broker that knows of nothing but what it was given back."""

    supports_receipts = supports_lease_renewal = supports_release = True
    counts_lapses = counts_attempts = True

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self.released: list[Any] = []

    def release(self, receipts: list[Any], delay: float = 0, count: bool = False) -> list[Any]:
        self.released += receipts
        return []


SETTINGS: Any = SimpleNamespace(queue_limit=None, bulk=None, retry=60, workers=2)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(2)
    for lane in board.lanes[:2]:
        lane.open()
    yield board
    board.remove()


def package(key: str, lapses: int = 0) -> Delivery:
    return Delivery(key, f"{key}.1", b"package", lapses=lapses)


def held(lane: Lane) -> list[str]:
    return [lane.key(number) for number in Dealer.unsettled(lane)]


def test_a_package_whose_move_was_cut_short_by_a_death_has_one_place(board: Board) -> None:
    busy, idle = board.lanes[:2]
    for lane in (busy, idle):
        lane.put(package("a"))
    busy.voided = busy.written

    Dealer(board, SETTINGS, Leasing).adopt()

    assert (held(busy), held(idle)) == ([], ["a"])
    assert busy.state(1) == State.MOVED


def test_the_copy_that_was_recalled_is_the_one_that_goes_wherever_it_lies(board: Board) -> None:
    idle, busy = board.lanes[:2]
    for lane in (busy, idle):
        lane.put(package("a"))
    busy.voided = busy.written

    Dealer(board, SETTINGS, Leasing).adopt()

    assert (held(busy), held(idle)) == ([], ["a"])


def test_what_is_in_another_lane_already_is_not_moved_again(board: Board) -> None:
    first, second, third = board.lanes[:3]
    third.open()
    dealer = Dealer(board, SETTINGS, Leasing)
    first.put(package("a"))
    second.put(package("a"))
    dealer.adopt()
    first.set_state(1, State.HELD)

    dealer.move(first, [1])

    assert (held(first), held(second), held(third)) == ([], ["a"], [])


def test_what_is_dealt_while_others_are_taken_back_stays_where_it_is(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealer = Dealer(board, SETTINGS, Leasing)
    lane = board.lanes[0]
    for key in ("runs", "waits"):
        lane.put(package(key))
    lane.started = 1
    meanwhile = SimpleNamespace(wait=lambda seconds: lane.put(package("new")))
    monkeypatch.setattr(f"{Dealer.__module__}.threading", SimpleNamespace(Event=lambda: meanwhile))

    assert dealer.recall(lane) == [2]


def test_what_lapsed_before_is_alone_in_its_lane(board: Board) -> None:
    dealer = Dealer(board, SETTINGS, Leasing)

    left = dealer.deal([package("a", 1), package("b", 1), package("c", 1), package("d")])

    assert [held(lane) for lane in board.lanes[:2]] == [["a"], ["b"]]
    assert [delivery.key for delivery in left] == ["c", "d"]


def test_a_new_pusher_knows_what_is_to_be_alone(board: Board) -> None:
    Dealer(board, SETTINGS, Leasing).deal([package("a", 1)])
    successor = Dealer(board, SETTINGS, Leasing)
    successor.adopt()

    successor.deal([package("b"), package("c")])

    assert [held(lane) for lane in board.lanes[:2]] == [["a"], ["b", "c"]]


def test_after_suspects_no_more_is_claimed_than_can_be_alone(board: Board) -> None:
    dealer = Dealer(board, SETTINGS, Leasing)
    dealer.deal([package("a", 1)])

    assert dealer.room() == 1


def test_a_package_that_no_lane_can_hold_ends_no_pusher(board: Board) -> None:
    unfit: Any = Delivery("a", lambda: None, b"package")

    assert Dealer(board, SETTINGS, Leasing).deal([unfit, package("b")]) == []
    assert held(board.lanes[0]) == ["b"]


@pytest.fixture
def pusher(board: Board) -> Pusher:
    crew: Any = SimpleNamespace(
        board=board, settings=SETTINGS, broker_class=Leasing, list_key="q", broker=Leasing
    )
    pusher = Pusher("Process-1", crew)
    pusher.take_broker()
    return pusher


def test_what_a_halted_pusher_held_is_given_back_and_not_begun(
    pusher: Pusher, board: Board
) -> None:
    pusher.asked_at = clock.after(-SETTINGS.retry)

    pusher.push([package("a")])

    assert pusher.broker.released == ["a.1"]
    assert held(board.lanes[0]) == []


def test_what_finds_no_lane_does_not_wait_until_its_lease_ends(
    pusher: Pusher, board: Board
) -> None:
    pusher.asked_at = clock.now()

    pusher.push([package(key, lapses=1) for key in "abc"])

    assert pusher.broker.released == ["c.1"]


class Picky(Leasing):
    """A broker that raises where it no longer knows a receipt, as those of 1.x do."""

    answers = True

    def acknowledge_many(self, receipts: list[Any]) -> list[Any]:
        if "bad.1" in receipts or not self.answers:
            raise ValueError("the receipt has expired")
        self.released += receipts
        return []

    def ping(self) -> bool:
        return self.answers


def settled_by(board: Board, broker: Picky) -> Keeper:
    """A keeper of one lane whose two packages have been run and recorded."""
    lane = board.lanes[0]
    dealer = Dealer(board, SETTINGS, Picky)
    for key in ("bad", "good"):
        lane.put(package(key))
    dealer.adopt()
    lane.started = lane.done = lane.committed = 2
    for number in (1, 2):
        lane.set_action(number, Action.ACKNOWLEDGE)
    crew: Any = SimpleNamespace(board=board, settings=SETTINGS, broker_class=Picky, list_key="q")
    keeper = Keeper(crew, dealer)
    keeper.broker = broker
    return keeper


def test_a_receipt_that_the_broker_refuses_does_not_hold_up_the_others(board: Board) -> None:
    broker = Picky()

    settled_by(board, broker).settle()

    assert broker.released == ["good.1"]
    assert board.lanes[0].settled == 2


def test_what_a_broker_that_is_away_was_not_told_stays_unsettled(board: Board) -> None:
    broker = Picky()
    broker.answers = False

    with pytest.raises(ValueError, match="expired"):
        settled_by(board, broker).settle()

    assert board.lanes[0].settled == 0


def test_what_a_broker_was_not_told_that_answers_but_takes_nothing_stays_unsettled(
    board: Board,
) -> None:
    class Full(Picky):
        def acknowledge_many(self, receipts: list[Any]) -> list[Any]:
            raise BrokerUnavailable("not now")

    with pytest.raises(BrokerUnavailable):
        settled_by(board, Full()).settle()

    assert board.lanes[0].settled == 0


def test_what_the_only_worker_dropped_returns_to_it(board: Board) -> None:
    only = board.lanes[0]
    board.lanes[1].close(0)
    keeper = settled_by(board, Picky())
    for number in (1, 2):
        only.set_action(number, Action.RETURN)

    keeper.settle()

    assert (only.state(1), keeper.dealer.held["bad"]) == (State.MOVED, (only, 3))
