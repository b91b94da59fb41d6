"""What the terminal monitors draw, whatever the clusters and however small the terminal."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from datetime import timedelta
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone, translation
from rich.console import Console, ConsoleRenderable

from django_q import monitor_terminal
from django_q.conf import Conf
from django_q.status import Stat
from django_q.terminal import INSTALL_RICH, clusters, memory
from django_q.terminal.console import console_on
from django_q.terminal.processes import INSTALL_PSUTIL, memory_of
from django_q.terminal.sight import Sight


def stat(**facts: Any) -> Stat:
    return Stat.from_snapshot(
        {
            "cluster_id": str(uuid4()),
            "pid": 17004,
            "host": "Orion",
            "name": "tests",
            "status": "Working",
            "workers": [1, 2, 3, 4],
            "tob": timezone.now() - timedelta(seconds=75),
            **facts,
        }
    )


def task(**facts: Any) -> dict[str, Any]:
    since = timezone.now() - timedelta(hours=30)
    return {"pid": 1, "number": 1, "name": "four-words", "func": "a.b", "since": since} | facts


def drawn(what: ConsoleRenderable, width: int = 80, *, colours: bool = False) -> list[str]:
    system: Any = "standard" if colours else None
    console = Console(file=StringIO(), width=width, force_terminal=colours, color_system=system)
    with console.capture() as capture:
        console.print(what)
    return capture.get().splitlines()


# qmonitor


def test_a_row_is_the_manuals() -> None:
    stats = [stat(task_q_size=23), stat(task_q_size=63, done_q_size=14, reincarnations=2)]

    lines = drawn(clusters.clusters_table(stats, 2))

    assert [line.split() for line in lines] == [
        ["Host", "Id", "State", "Pool", "TQ", "RQ", "RC", "Up"],
        ["Orion", "17004", "Working", "4", "23", "0", "0", "0:01:15"],
        ["Orion", "17004", "Working", "4", "63", "14", "2", "0:01:15"],
        ["8", "86"],
    ]


@pytest.mark.parametrize(
    ("limit", "size", "colour"), [(9, 9, "32"), (9, 8, "36"), (None, 16, "36"), (9, 0, None)]
)
def test_the_task_queue_is_green_at_its_limit(
    settings: Any, limit: int | None, size: int, colour: str | None
) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "name": "tests", "queue_limit": limit}

    row = drawn(clusters.clusters_table([stat(task_q_size=size, status="Idle")], 1), colours=True)[
        1
    ]

    assert (f"\x1b[{colour}m" in row) if colour else ("\x1b" not in row)


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize(("count", "height"), [(0, 24), (2, 24), (40, 24), (3, 10), (40, 8)])
def test_nothing_wraps_and_all_fits_on_the_screen(width: int, count: int, height: int) -> None:
    long = "a.very.long.path.to." * 9
    tasks = [task(func=long, name="mockingbird-west-speaker-carpet" * 3)] * 4
    stats = [stat(host="a-host-with-a-long-name" * 4, running=tasks) for _ in range(count)]

    lines = drawn(clusters.drawing(stats, None, "no route to " * 20, height), width)

    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[0].split() == list(clusters.COLUMNS)
    assert lines[-1].strip() == "[Press q to quit]"


def test_what_has_no_room_is_counted() -> None:
    stats = [stat(running=[task()]) for _ in range(9)]

    lines = drawn(clusters.drawing(stats, None, None, 10))

    assert [line.split()[0] for line in lines[1:6]] == ["Orion"] * 4 + ["5"]
    assert lines[5].split() == ["5", "more"]
    assert lines[6].split() == ["36", "0"]


def test_names_cannot_draw_on_the_screen() -> None:
    wild = task(name="[red]x[/red]\x1b[2J\nnext", func="f\tg")

    lines = drawn(clusters.running_table([(stat(), wild)], 1))

    assert len(lines) == 2
    assert "[red]x[/red]" in lines[1]
    assert "\x1b" not in lines[1]


def test_a_terminal_without_unicode_shows_what_it_can() -> None:
    screen = TextIOWrapper(BytesIO(), encoding="ascii")

    console = console_on(screen)
    console.print(clusters.running_table([(stat(), task(name="früh" * 30))], 1))

    screen.flush()
    assert "fr?hfr?h" in screen.buffer.getvalue().decode()  # type: ignore[attr-defined]


def test_what_has_no_name_is_shown_all_the_same() -> None:
    unread = task(name=None, func=None, pid=4711)

    line = drawn(clusters.running_table([(stat(), unread)], 1))[1]

    assert line.split() == ["tests", "4711", "-", "-", "30:00:00"]


# qmemory


def test_memory_is_measured_on_this_host_and_nowhere_else() -> None:
    here = stat(host=socket.gethostname(), sentinel=os.getpid(), workers=[os.getpid()])
    facts = [memory_of(here), memory_of(stat(host="elsewhere"))]

    lines = drawn(memory.drawing(facts, memory.LowWater(), True, 50))

    assert facts[0]["workers"][0]["mb"] > 10
    assert facts[0]["sentinel_mb"] == facts[0]["workers_mb"]
    assert facts[0]["monitor_mb"] is None
    assert facts[1]["workers_mb"] is facts[1]["total_mb"] is None
    assert lines[3].split() == ["elsewhere", "17004", *["-"] * 6]
    assert lines[5].split() == ["Id", "W1", "W2", "W3", "W4"]
    assert lines[-1] == memory.ELSEWHERE


# Out of reach


def test_what_was_seen_stays_while_nobody_can_be_asked() -> None:
    answers: list[Any] = [1, ConnectionError("refused\nby all"), 2]

    def look() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    sight = Sight(look)

    assert (sight.look(), sight.trouble) == (1, None)
    assert sight.look() == 1
    assert (sight.trouble or "").endswith(": ConnectionError: refused by all")
    assert (sight.look(), sight.trouble) == (2, None)


# In English


@pytest.mark.django_db
def test_programs_read_states_in_english_whatever_the_sites_language() -> None:
    stat(status=Conf.WORKING).save()
    out = StringIO()

    with translation.override("de"):
        assert Conf.WORKING == "Arbeitet"
        call_command("qmonitor", json=True, stdout=out)

    assert [each["status"] for each in json.loads(out.getvalue())] == ["Working"]


# The names of 1.x


@pytest.mark.django_db
def test_the_functions_of_1_x_print_once_and_answer(capsys: pytest.CaptureFixture[str]) -> None:
    living = stat()
    living.save()

    shown = monitor_terminal.monitor(run_once=True), monitor_terminal.memory(run_once=True)

    assert [[each.cluster_id for each in stats or ()] for stats in shown] == [
        [living.cluster_id],
        [living.cluster_id],
    ]
    assert monitor_terminal.info() is True
    assert "Tasks/day" in capsys.readouterr().out
    assert monitor_terminal.get_ids() is True
    assert capsys.readouterr().out == f"{living.cluster_id}\n"


def test_the_memory_of_a_process_is_asked_by_its_pid() -> None:
    assert float(monitor_terminal.get_process_mb(os.getpid())) > 10
    assert monitor_terminal.get_process_mb(2**22 + 1) == "NO_PROCESS_FOUND"


def test_monitor_of_django_q_1_3_has_what_is_unambiguous() -> None:
    module = importlib.import_module("django_q.monitor")

    with pytest.deprecated_call():
        assert module.get_ids is monitor_terminal.get_ids
    with pytest.deprecated_call():
        assert module.info is monitor_terminal.info


# What is not installed


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "module", "message"),
    [
        ("qmonitor", "rich.table", INSTALL_RICH),
        ("qmemory", "rich.table", INSTALL_RICH),
        ("qmemory", "psutil", INSTALL_PSUTIL),
    ],
)
def test_what_draws_or_measures_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, command: str, module: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(CommandError) as caught:
        call_command(command, run_once=True)

    assert str(caught.value) == message
    assert 'pip install "django-q-core[' in message


def test_without_rich_the_functions_of_1_x_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.table", None)

    assert monitor_terminal.monitor(run_once=True) is None
    assert capsys.readouterr().out == f"{monitor_terminal.BLESSED_INSTALL_MESSAGE}\n"
