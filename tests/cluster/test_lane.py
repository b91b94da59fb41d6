"""The memory between pusher, worker and monitor: rings, lanes and doorbells."""

import random
import select
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from django_q import records
from django_q.brokers.base import Delivery
from django_q.cluster.doorbell import Doorbell
from django_q.cluster.lane import LANE_BYTES, RECEIPT_MARGIN, Action, Lane, Report, Verdict
from django_q.cluster.ring import HEAP_BYTES, LARGEST_BODY, RING_BYTES, SLOTS, Ring, Torn


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(memoryview(bytearray(RING_BYTES)), tmp_path, "ring")


@pytest.fixture
def memory() -> memoryview:
    return memoryview(bytearray(LANE_BYTES))


@pytest.fixture
def lane(memory: memoryview, tmp_path: Path) -> Lane:
    return Lane(0, memory, tmp_path)


def delivery(key: str = "1", receipt: object = "1.7", package: bytes = b"package") -> Delivery:
    return Delivery(key, receipt, package, lapses=2, attempts=3)


def report(result: str = "r") -> Report:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    row = records.Row(
        id="0" * 32,
        name="name",
        func="f",
        hook=None,
        args=None,
        kwargs=None,
        options=None,
        result=result,
        group=None,
        cluster=None,
        started=moment,
        stopped=moment,
        success=True,
        attempt_count=1,
    )
    outcome = records.Outcome(row=row, saved=True, first=True)
    return Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 1.5, outcome, "why")


# Rings


def test_records_are_read_as_they_were_written_however_often_the_ring_goes_round(
    ring: Ring,
) -> None:
    dice = random.Random(7)
    bodies: dict[int, bytes] = {}
    written = freed = 0
    while written < 6 * SLOTS:
        body = dice.randbytes(dice.choice([0, 1, 300, 5_000, LARGEST_BODY]))
        if ring.put(written + 1, freed, (body[:7], body[7:]), spare=dice.randrange(40)):
            written += 1
            bodies[written] = body
        else:
            assert written > freed
        if dice.random() < 0.5 and freed < written:
            freed += 1
            assert ring.body(freed) == bodies.pop(freed)
            ring.free(freed)

    assert {number: ring.body(number) for number in bodies} == bodies


def test_a_ring_without_a_free_slot_refuses_a_record_until_one_is_freed(ring: Ring) -> None:
    for number in range(1, SLOTS + 1):
        assert ring.put(number, 0, (b"x",))

    assert not ring.put(SLOTS + 1, 0, (b"y",))
    assert ring.put(SLOTS + 1, 1, (b"y",))
    assert ring.body(2) == b"x"


def test_a_ring_without_free_bytes_refuses_a_record_until_some_are_freed(ring: Ring) -> None:
    for number in range(1, HEAP_BYTES // LARGEST_BODY + 1):
        assert ring.put(number, 0, (bytes(LARGEST_BODY),))
    following = number + 1

    assert not ring.put(following, 0, (b"y",))
    assert ring.put(following, 1, (b"y",))
    assert ring.body(following) == b"y"
    assert ring.body(2) == bytes(LARGEST_BODY)


def test_a_record_that_does_not_exist_yet_is_torn(ring: Ring) -> None:
    ring.put(1, 0, (b"one",))

    with pytest.raises(Torn):
        ring.body(2)
    with pytest.raises(Torn):
        ring.body(1 + SLOTS)


def test_a_large_body_lies_in_a_private_file_until_it_is_freed(ring: Ring, tmp_path: Path) -> None:
    body = random.Random(7).randbytes(LARGEST_BODY + 1)

    assert ring.put(1, 0, (body,))
    [file] = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert ring.body(1) == body

    ring.free(1)
    assert list(tmp_path.iterdir()) == []


# Lanes


def test_a_worker_reads_what_the_pusher_put_in(lane: Lane) -> None:
    assert lane.put(delivery("a", "a.1", b"first")) == 1
    assert lane.put(delivery("b", ("any", 1), b"second")) == 2

    assert lane.written == 2
    assert lane.delivery(1) == Delivery("a", None, b"first", 2, 3)
    assert lane.delivery(2).package == b"second"
    assert [lane.receipt(1), lane.receipt(2)] == ["a.1", ("any", 1)]


@pytest.mark.parametrize("receipt", [None, "text", 17, ("pk", 1)])
def test_receipts_of_every_kind_are_kept(lane: Lane, receipt: object) -> None:
    lane.put(delivery(receipt=receipt))

    assert lane.receipt(1) == receipt


def test_a_renewed_receipt_takes_the_place_of_the_old_one(lane: Lane) -> None:
    lane.put(delivery(receipt="short", package=b"one"))
    lane.put(delivery(key="2", package=b"two"))
    longer = "x" * (len("short") + RECEIPT_MARGIN)

    assert lane.replace_receipt(1, longer)
    assert not lane.replace_receipt(1, longer + "x")

    assert lane.receipt(1) == longer
    assert [lane.delivery(1).package, lane.delivery(2).package] == [b"one", b"two"]


def test_a_full_lane_takes_a_package_once_another_is_settled(lane: Lane) -> None:
    while lane.put(delivery(package=bytes(LARGEST_BODY - 100))):
        pass
    full = lane.written

    lane.settled = 1

    assert lane.put(delivery(package=b"next")) == full + 1
    assert lane.delivery(full + 1).package == b"next"


def test_the_monitor_reads_what_the_worker_reported(lane: Lane) -> None:
    lane.put(delivery())

    assert lane.report(1, report())

    assert lane.done == 1
    assert lane.read_report(1) == report()


def test_a_full_outbox_refuses_a_report_until_others_are_committed(lane: Lane) -> None:
    number = 0
    while lane.report(number + 1, report("r" * 50_000)):
        number += 1

    assert lane.done == number
    lane.committed = number
    assert lane.report(number + 1, report("r" * 50_000))


def test_a_successor_finds_everything_that_its_predecessor_wrote(
    lane: Lane, memory: memoryview, tmp_path: Path
) -> None:
    lane.put(delivery("a", "a.1", b"first"))
    lane.put(delivery("b", "b.1", bytes(LARGEST_BODY + 1)))
    lane.report(1, report())
    lane.set_action(1, Action.RETRY, 2.5)
    lane.count_commit(1)

    successor = Lane(0, memory, tmp_path)

    assert (successor.written, successor.done) == (2, 1)
    assert successor.delivery(2).package == bytes(LARGEST_BODY + 1)
    assert successor.receipt(2) == "b.1"
    assert successor.read_report(1) == report()
    assert successor.action(1) == (Action.RETRY, 2.5)
    assert successor.count_commit(1) == 2
    assert successor.put(delivery("c")) == 3
    assert lane.delivery(3).key == "c"


def test_a_lane_is_free_when_nothing_of_its_dead_worker_is_left(lane: Lane) -> None:
    assert lane.is_free
    lane.open()
    lane.put(delivery())
    assert lane.is_alive
    assert not lane.is_free

    lane.close(-9)
    lane.committed = lane.written
    assert not lane.is_free
    lane.settled = lane.written
    assert lane.is_free


# Doorbells


@pytest.fixture
def bell() -> Doorbell:
    return Doorbell(memoryview(bytearray(8)).cast("q"))


def has_rung(bell: Doorbell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_a_bell_is_silent_while_its_reader_is_awake(bell: Doorbell) -> None:
    bell.ring()
    assert not has_rung(bell)

    bell.shout()
    assert has_rung(bell)


def test_a_sleeper_is_woken_by_a_ring(bell: Doorbell) -> None:
    asleep, awake = threading.Event(), threading.Event()

    def sleep() -> None:
        bell.wait(60, asleep.set)
        awake.set()

    threading.Thread(target=sleep).start()
    asleep.wait(5)
    bell.ring()

    assert awake.wait(0.9)
    assert not has_rung(bell)


def test_nobody_sleeps_when_there_is_work_already(bell: Doorbell) -> None:
    bell.shout()

    bell.wait(60, lambda: True)

    assert not has_rung(bell)


def test_a_ring_is_heard_by_whoever_waits_for_the_bell_among_others(bell: Doorbell) -> None:
    with bell.attended():
        bell.ring()
        assert has_rung(bell)

    assert not has_rung(bell)


def test_a_bell_that_nobody_answers_never_blocks_who_rings(bell: Doorbell) -> None:
    for _ in range(100_000):
        bell.shout()

    bell.silence()
    assert not has_rung(bell)
