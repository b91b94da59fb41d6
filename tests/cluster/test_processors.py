"""Which processors each worker may use: the tables of the manual."""

import logging
import os

import pytest

from django_q.cluster import processors, set_cpu_affinity
from django_q.cluster.crew import affinity

TABLES = [
    (4, 1, [[0], [1], [2], [3]]),
    (4, 2, [[0, 1], [2, 3], [0, 1], [2, 3]]),
    (
        8,
        3,
        [
            [0, 1, 2],
            [3, 4, 5],
            [6, 7, 0],
            [1, 2, 3],
            [4, 5, 6],
            [7, 0, 1],
            [2, 3, 4],
            [5, 6, 7],
        ],
    ),
]


@pytest.mark.parametrize(("cpus", "size", "table"), TABLES)
def test_processors_are_dealt_out_as_in_the_manual(
    cpus: int, size: int, table: list[list[int]]
) -> None:
    assert [affinity(i, cpus, range(cpus), size) for i in range(cpus)] == table


def test_processors_that_the_cluster_may_not_use_are_not_dealt_out() -> None:
    assert [affinity(i, 3, [2, 5, 7], 2) for i in range(3)] == [[2, 5], [7, 2], [5, 7]]


@pytest.mark.parametrize(("cpus", "size", "table"), TABLES)
def test_the_1x_function_tells_the_same_tables_without_pinning(
    cpus: int,
    size: int,
    table: list[list[int]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processors, "available", lambda: list(range(cpus)))
    before = os.sched_getaffinity(0)
    caplog.set_level(logging.INFO, "django-q")

    set_cpu_affinity(size, [os.getpid()] * cpus, actual=False)

    assert [record.getMessage() for record in caplog.records] == [
        f"{os.getpid()} will use cpu {cpus}" for cpus in table
    ]
    assert os.sched_getaffinity(0) == before


def test_the_1x_function_pins_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: dict[int, list[int]] = {}
    monkeypatch.setattr(processors, "available", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(os, "sched_setaffinity", pinned.__setitem__)

    set_cpu_affinity(1, [11, 12], actual=True)

    assert pinned == {11: [0], 12: [1]}


@pytest.mark.parametrize("size", [0, 4, 9])
def test_a_size_of_none_or_of_all_processors_changes_nothing(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: dict[int, list[int]] = {}
    monkeypatch.setattr(processors, "available", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(os, "sched_setaffinity", pinned.__setitem__)

    set_cpu_affinity(size, [os.getpid()], actual=True)

    assert pinned == {}


def test_where_processes_cannot_be_pinned_one_warning_is_given(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "can_pin", lambda: False)
    monkeypatch.setattr(processors, "available", lambda: [0, 1, 2, 3])

    set_cpu_affinity(1, [11, 12], actual=True)

    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "cpu_affinity" in warnings[0]
