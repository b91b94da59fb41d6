"""What the monitor does while the database is away."""

import sqlite3
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from django_q import records
from django_q.cluster.clerk import Clerk, Entry
from django_q.cluster.lane import Action, Report, Verdict
from django_q.cluster.patience import Patience
from django_q.models import Task

AWAY = 3


def entries(count: int) -> list[Entry]:
    """Reports of successful tasks that came out of a lane."""
    now = timezone.now()
    lane: Any = SimpleNamespace(receipt=lambda number: None)
    made = []
    for number in range(count):
        task = {
            "id": f"{number:032x}",
            "name": "n",
            "func": "math.fabs",
            "args": (),
            "kwargs": {},
            "started": now,
            "stopped": now,
            "success": True,
            "result": number,
        }
        row = records.row_of(task, attempt_count=1)
        outcome = records.Outcome(row=row, saved=True, first=True)
        made.append(Entry(lane, number, Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, outcome)))
    return made


def clerk_with(pauses: list[float], **methods: Any) -> Clerk:
    """A clerk that notes its pauses instead of making them, and settles nothing itself;
    `methods` are its broker's."""
    patience = Patience("it", wait=pauses.append, give_up=lambda: False)
    broker: Any = SimpleNamespace(commits_with=lambda using: False, **methods)
    crew: Any = SimpleNamespace(list_key="queue")
    return Clerk(crew, broker, "default", patience=patience)


@pytest.mark.django_db
def test_results_are_kept_until_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    clerk = clerk_with(pauses)
    write = records.write

    def write_if_it_is_back(outcomes: Sequence[records.Outcome], using: str) -> Any:
        if len(pauses) < AWAY:
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error
        return write(outcomes, using)

    monkeypatch.setattr(records, "write", write_if_it_is_back)

    [written] = clerk.write(entries(5))

    assert len(pauses) == AWAY
    assert [entry.recorded for entry in written] == [records.Recorded.NEW] * 5
    assert Task.objects.filter(success=True).count() == 5
