"""Databases of Django Q and Django Q2, made by the real releases, are migrated and finished."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compat.old_sites import (
    DJANGO_Q,
    Q2,
    Q2_AT_0014,
    Q2_AT_0017,
    OldSite,
    Release,
    queue_length,
    wait_for_empty_queue,
)
from tests.databases import Database, OnMariaDB, OnPostgreSQL, SQLite
from tests.harness import DATABASE_FILE, Project, temporary_folder

SITES = [
    (DJANGO_Q, "sqlite"),
    (Q2_AT_0014, "sqlite"),
    (Q2_AT_0017, "sqlite"),
    (Q2, "sqlite"),
    (DJANGO_Q, "postgresql"),
    (Q2, "mariadb"),
]

FINISHED = """
from datetime import date
from decimal import Decimal
from django_q.tasks import async_task
{{
    "sum": async_task(
        "tests.jobs.add", 40, right=2,
        task_name="sum", group="finished", hook="tests.jobs.note_hook",
    ),
    "failure": async_task("tests.jobs.fail", "failure", group="finished"),
    "values": async_task(
        "builtins.dict", day=date(2020, 2, 29), price=Decimal("1.5"), tags={{1, 2}}
    ),
    "held": async_task("tests.jobs.gate", "held", {gate!r}),
}}
"""

LEFT_BEHIND = """
from datetime import timedelta
from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_chain, async_iter, async_task, schedule
from tests.jobs import ok
due, later = timezone.now() - timedelta(seconds=30), timezone.now() + timedelta(days=1)
for kind, _ in Schedule.TYPE:
    cron = {"cron": "0 0 1 1 *"} if kind == "C" else {}
    schedule("tests.jobs.ok", kind, name=kind, schedule_type=kind, next_run=due, minutes=5, **cron)
schedule("tests.jobs.ok", "counted", name="counted", schedule_type="H", next_run=due, repeats=3)
schedule("tests.jobs.ok", "paused", name="paused", schedule_type="H", next_run=due, repeats=0)
schedule("tests.jobs.ok", "later", name="later", schedule_type="H", next_run=later)
Schedule.objects.create(
    func="tests.jobs.ok", args="'typed'", kwargs="answer='by hand'",
    name="typed", schedule_type="D", next_run=due,
)
Schedule.objects.filter(name="C").update(next_run=due)
{
    "queued": async_task(
        "tests.jobs.add", 3, right=4,
        task_name="queued", group="queued", hook="tests.jobs.note_hook",
    ),
    "function": async_task(ok, "function", answer=[1]),
    "queued failure": async_task("tests.jobs.fail", "queued-failure"),
    "chain": async_chain([("tests.jobs.ok", ("first",)), ("tests.jobs.ok", ("second",))]),
    "iter": async_iter("tests.jobs.ok", [("item-1",), ("item-2",)]),
}
"""

READ = """
from datetime import date
from decimal import Decimal
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django_q.models import Failure, Schedule, Success
from django_q.tasks import count_group, fetch, fetch_group, result, result_group
ids = {ids!r}
now = timezone.now()
executor = MigrationExecutor(connection)
old_sum, held, queued = fetch(ids["sum"]), fetch(ids["held"]), fetch(ids["queued"])
{{
    "left to migrate": executor.migration_plan(executor.loader.graph.leaf_nodes()),
    "sum": result(ids["sum"]),
    "sum by name": result("sum"),
    "sum told": [old_sum.args, old_sum.kwargs, old_sum.hook, old_sum.success],
    "values": result(ids["values"])
    == {{"day": date(2020, 2, 29), "price": Decimal("1.5"), "tags": {{1, 2}}}},
    "failure": result(ids["failure"]),
    "group": list(result_group("finished")),
    "group counts": [count_group("finished"), count_group("finished", failures=True)],
    "group sizes": [len(fetch_group("finished")), len(fetch_group("finished", failures=False))],
    "successes": list(Success.objects.filter(id__in=ids.values()).values_list("id", flat=True)),
    "failures": list(Failure.objects.filter(id__in=ids.values()).values_list("id", flat=True)),
    "held": [held.result, held.success],
    "queued": [queued.name, queued.group, queued.args, queued.kwargs, queued.result],
    "function": result(ids["function"]),
    "chain": sorted(result_group(ids["chain"])),
    "iter": sorted(result(ids["iter"]) or ()),
    "schedules": {{
        row.name: [row.repeats, row.next_run > now, row.task and result(row.task), row.error]
        for row in Schedule.objects.all()
    }},
}}
"""


@dataclass
class Upgraded:
    """A site after the upgrade, when ours has finished what the old release had left."""

    project: Project
    ids: dict[str, str]
    kinds: list[str]
    told: dict[str, Any]


@pytest.fixture(scope="session")
def upgrade(request: pytest.FixtureRequest) -> Iterator[Callable[[Release, str], Upgraded]]:
    """Upgrade a site; what came of it is shared by all tests, which only look at it."""
    sites: dict[tuple[Release, str], Upgraded] = {}
    with contextlib.ExitStack() as stack:

        def upgraded(release: Release, database_name: str) -> Upgraded:
            if (release, database_name) not in sites:
                folder = stack.enter_context(temporary_folder())
                project = Project(folder, empty_database(database_name, folder, request))
                stack.callback(project.close)  # Its server forgets the database by itself.
                sites[release, database_name] = upgrade_site(project, release)
            return sites[release, database_name]

        yield upgraded


@pytest.fixture(params=SITES, ids=lambda site: f"{site[0]}-{site[1]}")
def site(request: pytest.FixtureRequest, upgrade: Callable[[Release, str], Upgraded]) -> Upgraded:
    """Return one of the upgraded sites."""
    return upgrade(*request.param)


def empty_database(name: str, folder: Path, request: pytest.FixtureRequest) -> Database:
    if name == "postgresql":
        return OnPostgreSQL(request.getfixturevalue("postgresql"))
    if name == "mariadb":
        return OnMariaDB(request.getfixturevalue("mariadb"))
    return SQLite(folder / DATABASE_FILE)


def upgrade_site(project: Project, release: Release) -> Upgraded:
    gate = project.gate()
    project.configure({"ack_failures": True, "retry": 4})
    # One worker: nobody else could start what it holds once more.
    old = OldSite(project, release, workers=1, scheduler=False)
    ids = live_with(old, gate.path)
    gate.open()

    project.migrate()
    kinds = old_kinds(project)
    finish(project, [*kinds, "counted", "typed"])
    return Upgraded(project, ids, kinds, project.run(READ.format(ids=ids)))


def live_with(old: OldSite, gate: str) -> dict[str, str]:
    """Finish some tasks, hold one when the cluster is killed, leave others and schedules behind."""
    project = old.project
    old.migrate()
    ids: dict[str, str] = old.run(FINISHED.format(gate=gate))
    with old.cluster():
        project.wait_until(
            lambda: len(project.tasks()) == 3 and queue_length(project) == 1, what="finished tasks"
        )
        project.wait_until(lambda: project.starts()["held"], what="the held task")
    return ids | old.run(LEFT_BEHIND)


def old_kinds(project: Project) -> list[str]:
    """Return the types of schedules that the old release had: each is the name of one."""
    return [
        name for (name,) in project.query("SELECT name FROM django_q_schedule") if len(name) < 3
    ]


def finish(project: Project, due: list[str]) -> None:
    """Run a cluster of ours until nothing is queued or due."""
    cluster = project.start_cluster()
    project.wait_until(lambda: set(due) <= project.starts().keys(), what="the schedules")
    wait_for_empty_queue(project)
    assert cluster.stop() == 0, cluster.log


def test_nothing_is_left_to_migrate(site: Upgraded) -> None:
    assert site.told["left to migrate"] == []


def test_old_results_are_read(site: Upgraded) -> None:
    told = site.told

    assert (told["sum"], told["sum by name"]) == (42, 42)
    assert told["sum told"] == [[40], {"right": 2}, "tests.jobs.note_hook", True]
    assert told["values"] is True
    assert told["failure"].startswith(("on purpose :", "Could not process"))


def test_old_groups_are_read(site: Upgraded) -> None:
    assert site.told["group"] == [42]
    assert site.told["group counts"] == [2, 1]
    assert site.told["group sizes"] == [2, 1]


def test_successes_and_failures_are_told_apart(site: Upgraded) -> None:
    ids, told = site.ids, site.told

    succeeded = ("sum", "values", "held", "queued", "function", "iter")
    assert set(told["successes"]) == {ids[name] for name in succeeded}
    assert set(told["failures"]) == {ids["failure"], ids["queued failure"]}


def test_what_was_queued_runs_once(site: Upgraded) -> None:
    labels = ("function", "queued-failure", "first", "second", "item-1", "item-2")
    starts = site.project.starts()

    assert {label: starts[label] for label in labels} == dict.fromkeys(labels, 1)
    assert site.told["queued"] == ["queued", "queued", [3], {"right": 4}, 7]
    assert site.told["function"] == [1]
    assert site.told["chain"] == ["first", "second"]
    assert site.told["iter"] == ["item-1", "item-2"]


def test_the_hook_of_a_queued_task_is_called(site: Upgraded) -> None:
    hooked = [note.label for note in site.project.ledger() if note.event == "hook"]

    assert sorted(hooked) == sorted([site.ids["sum"], site.ids["queued"]])


def test_what_a_killed_cluster_held_runs_again(site: Upgraded) -> None:
    assert site.project.starts()["held"] == 2
    assert site.told["held"] == ["held", True]


def test_each_due_schedule_ran_once_and_is_planned_anew(site: Upgraded) -> None:
    starts, schedules = site.project.starts(), site.told["schedules"]

    assert {kind: starts[kind] for kind in site.kinds} == dict.fromkeys(site.kinds, 1)
    for kind in set(site.kinds) - {"O"}:
        repeats, is_ahead, answer, error = schedules[kind]
        assert (repeats < 0, is_ahead, answer, error) == (True, True, kind, None), kind


def test_schedules_count_down_and_end(site: Upgraded) -> None:
    schedules = site.told["schedules"]

    assert "O" not in schedules
    assert schedules["counted"] == [2, True, "counted", None]
    assert schedules["typed"][1:] == [True, "by hand", None]


def test_schedules_that_are_paused_or_ahead_do_not_run(site: Upgraded) -> None:
    assert not {"paused", "later"} & site.project.starts().keys()
    assert site.told["schedules"]["paused"] == [0, False, None, None]
    assert site.told["schedules"]["later"] == [-1, True, None, None]
