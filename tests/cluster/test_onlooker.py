"""The status says what each worker runs, and nothing of it when that cannot be known."""

from pathlib import Path
from typing import Any

import pytest

from django_q import package
from django_q.brokers.base import Delivery
from django_q.cluster import clock
from django_q.cluster.lane import LANE_BYTES, Lane
from django_q.cluster.onlooker import LARGEST_READ, Onlooker
from django_q.signing import SignedPackage
from tests.harness import Project
from tests.queues import NAME

RUNNING = """
from django_q.status import Stat
[(stat.name, stat.workers, each) for stat in Stat.get_all() for each in stat.running]
"""


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    """Return the lane of a living worker."""
    lane = Lane(0, memoryview(bytearray(LANE_BYTES)), tmp_path)
    lane.open()
    lane.pid = 4711
    return lane


def begin(lane: Lane, text: str | bytes) -> None:
    lane.put(Delivery("1", None, text))
    lane.started_at = clock.now()
    lane.started = lane.written


def packed(**changes: Any) -> str:
    task = {
        "id": "a" * 32,
        "name": "four-words",
        "func": "shop.tasks.send",
        "args": (),
        "kwargs": {},
        "started": None,
        "group": "letters",
    }
    return package.dumps(task | changes)


def named(lane: Lane) -> list[tuple[Any, ...]]:
    return [
        (each["pid"], each["number"], each["id"], each["name"], each["func"], each["group"])
        for each in Onlooker([lane]).running()
    ]


def test_a_running_task_is_in_the_status_and_gone_from_it_afterwards(project: Project) -> None:
    gate = project.gate()
    cluster = project.start_cluster()
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('tests.jobs.gate', 'a', {gate.path!r}, task_name='patient', group='door')"
    )

    [[queue, workers, task]] = project.wait_until(lambda: project.run(RUNNING))
    gate.open()
    project.wait_until(lambda: not project.run(RUNNING), what="a status without the task")

    assert (queue, task["func"]) == (NAME, "tests.jobs.gate")
    assert (task["name"], task["group"]) == ("patient", "door")
    assert task["pid"] in workers
    assert task["id"] == project.tasks()[0]["id"]
    assert task["since"].endswith("+00:00")
    assert cluster.stop() == 0


def test_what_runs_is_read_from_the_package(lane: Lane) -> None:
    assert named(lane) == []

    begin(lane, packed())

    assert named(lane) == [(4711, 1, "a" * 32, "four-words", "shop.tasks.send", "letters")]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("nobody:has:signed", id="forged"),
        pytest.param(SignedPackage.dumps(["no", "task"]), id="no task"),
    ],
)
def test_what_cannot_be_read_has_no_name(lane: Lane, text: str) -> None:
    begin(lane, text)

    assert named(lane) == [(4711, 1, None, None, None, None)]


@pytest.mark.parametrize("size", [LARGEST_READ, 8 * LARGEST_READ])
def test_large_packages_are_not_read(lane: Lane, size: int) -> None:
    begin(lane, packed(args=("x" * size,)))

    assert named(lane) == [(4711, 1, None, None, None, None)]


def test_a_long_task_is_read_once(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(lane, packed())
    onlooker = Onlooker([lane])
    before = onlooker.running()

    monkeypatch.setattr(lane, "small_package", None)

    assert onlooker.running() == before


@pytest.mark.parametrize("happening", ["ended", "died", "went on"])
def test_a_task_that_ends_while_it_is_read_is_not_shown(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, happening: str
) -> None:
    begin(lane, packed())
    read = lane.small_package

    def read_late(number: int, largest: int) -> bytes | None:
        found = read(number, largest)
        if happening == "died":
            lane.close(-9)
        else:
            lane.done = number
        if happening == "went on":
            begin(lane, packed(name="another"))
        return found

    monkeypatch.setattr(lane, "small_package", read_late)

    assert named(lane) == []
