"""`@schedule(...)` declares schedules in code, and `sync` makes the table agree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.db import connection, router
from django.db.models.signals import post_migrate
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_q import scheduling
from django_q.apps import save_declared_schedules
from django_q.errors import TaskRefused
from django_q.models import ClusterStatus, Schedule
from django_q.tasks import declarations, schedule
from django_q.tasks.declared_rows import sync
from tests.harness import Project

PAST, FUTURE = datetime(2020, 1, 31, 4, 30, tzinfo=UTC), datetime(2040, 1, 1, 12, tzinfo=UTC)

HEADER = "from django_q.tasks import schedule\n"


class Site:
    """A site whose only app with tasks is `shop`; each `write` is a deployment."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        (path / "shop").mkdir()
        (path / "shop" / "__init__.py").touch()
        monkeypatch.syspath_prepend(path)
        monkeypatch.setattr(declarations, "_declared", {})
        package = __import__("shop")
        config = SimpleNamespace(name="shop", module=package)
        monkeypatch.setattr(apps, "get_app_configs", lambda: [config])

    def write(self, *functions: str) -> None:
        """Let `shop.tasks` declare these, and nothing else."""
        self.forget()
        declarations._declared.clear()
        (self.path / "shop" / "tasks.py").write_text(HEADER + "\n".join(functions))

    def forget(self) -> None:
        """Take the module from memory, as the next process finds it."""
        sys.modules.pop("shop.tasks", None)
        for left in (self.path / "shop").glob("__pycache__/tasks*"):
            left.unlink()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Yield a site that has declared nothing yet."""
    made = Site(tmp_path, monkeypatch)
    yield made
    made.forget()
    sys.modules.pop("shop", None)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return an empty registry."""
    empty: dict[str, Any] = {}
    monkeypatch.setattr(declarations, "_declared", empty)
    return empty


def function(options: str, name: str = "send") -> str:
    return f"@schedule({options})\ndef {name}(): ...\n"


def only_row() -> Schedule:
    return Schedule.objects.get()


def job() -> None:
    """Stand at the top of a module, where a worker finds it."""


def other_job() -> None:
    """Stand there as well."""


# Declaring


def test_the_decorated_function_is_returned_as_it_is(registry: dict[str, Any]) -> None:
    assert schedule(minutes=5)(job) is job


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cron": "0 8 * * *"}, ("C", None, None, "0 8 * * *")),
        ({"cron": "0 8 * * *", "schedule_type": "D"}, ("C", None, None, "0 8 * * *")),
        ({"minutes": 5}, ("I", 5, None, None)),
        ({"seconds": 90}, ("I", 2, 90, None)),
        ({"schedule_type": "W"}, ("W", None, None, None)),
    ],
)
def test_the_type_follows_from_what_is_said(
    registry: dict[str, Any], options: Any, expected: tuple[Any, ...]
) -> None:
    schedule(**options)(job)

    [made] = registry.values()
    assert tuple(made.columns[name] for name in declarations.TIMING) == expected


def test_a_function_decorated_twice_under_two_names_has_two_schedules(
    registry: dict[str, Any],
) -> None:
    schedule(minutes=5, name="often")(schedule(schedule_type="D", name="daily")(job))

    assert sorted(registry) == ["daily", "often"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "say when it runs: cron="),
        ({"schedule_type": "O"}, "what runs once cannot be declared"),
        ({"schedule_type": "X"}, "'X' is no type of schedule; expected one of 'O', 'I'"),
        ({"schedule_type": "H", "minutes": 5}, "needs minutes= or seconds="),
        ({"schedule_type": "I"}, "needs minutes= or seconds="),
        ({"minutes": 5, "seconds": 5}, "are both given; give one of them"),
        ({"seconds": 0}, "seconds must be a whole number, 1 or more, not 0"),
        ({"schedule_type": "C"}, "needs cron="),
        ({"cron": "nonsense"}, "'nonsense' is no cron expression"),
        ({"cron": "0 8 31 2 *"}, "never due"),
        ({"schedule_type": "Y", "cron": "0 8 * * *"}, "this one is 'Y'"),
        ({"schedule_type": "D", "cron": "* * * * *"}, "'D' needs a cron expression"),
        ({"minutes": 5, "next_run": "soon"}, "next_run must be a datetime, or a text"),
        ({"minutes": 5, "repeats": "x"}, "repeats must be a whole number, not 'x'"),
        ({"minutes": 5, "args": "one"}, "args must be a list or a tuple"),
        ({"minutes": 5, "args": [object()]}, "args of the schedule cannot be read"),
        ({"minutes": 5, "intended_date_kwarg": "a b"}, "not the name of a keyword argument"),
        ({"minutes": 5, "name": "n" * 101}, "its name has 101 characters, and 100 are possible"),
    ],
)
def test_a_mistake_is_said_where_it_is_declared(
    registry: dict[str, Any], options: Any, reason: str
) -> None:
    with pytest.raises(TaskRefused, match=reason) as refusal:
        schedule(**options)(job)

    assert str(refusal.value).startswith(f"@schedule on {__name__}.job: ")
    assert not registry


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"no option 'minuets'. Did you mean 'minutes'\?.* kwargs;"):
        schedule(minuets=5)  # type: ignore[call-overload]


def test_two_declarations_of_one_name_are_both_named(registry: dict[str, Any]) -> None:
    schedule(minutes=5, name="nightly")(job)

    with pytest.raises(TaskRefused, match=r"on \S+\.job, one on \S+\.other_job"):
        schedule(minutes=5, name="nightly")(other_job)


def test_a_function_that_no_worker_could_find_is_refused(registry: dict[str, Any]) -> None:
    def inner() -> None: ...

    for hidden in (inner, lambda: None, Site.write):
        with pytest.raises(TaskRefused, match="at the top of a module"):
            schedule(minutes=5)(hidden)


def test_the_bare_decorator_is_told_to_use_parentheses(site: Site) -> None:
    site.write("@schedule\ndef send(): ...")

    with pytest.raises(TaskRefused, match=r"on shop\.tasks\.send needs parentheses"):
        __import__("shop.tasks")


# Bringing it to the table


@pytest.mark.django_db
def test_what_is_declared_is_saved_once(site: Site) -> None:
    site.write(
        function(
            "cron='0 8 * * *', name='nightly', repeats=3, cluster='short', hook='shop.hooks.done',"
            "catch_up=False, intended_date_kwarg='day', q_options={'timeout': 30},"
            "args=[1, 'two'], kwargs={'x': {'b', 'a'}}"
        )
    )

    first, second = sync(), sync()

    assert (first.created, first.failures) == (["nightly"], [])
    assert second.is_idle
    row = only_row()
    assert (row.func, row.schedule_type, row.cron) == ("shop.tasks.send", "C", "0 8 * * *")
    assert (row.repeats, row.cluster, row.hook) == (3, "short", "shop.hooks.done")
    assert (row.catch_up, row.intended_date_kwarg) == (False, "day")
    assert scheduling.arguments(row) == ((1, "two"), {"x": {"a", "b"}}, {"timeout": 30})
    assert row.next_run is not None
    assert (row.next_run > timezone.now(), row.next_run.hour) == (True, 8)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("timed", "first", "expected"),
    [
        ("schedule_type='D'", FUTURE, FUTURE),
        ("cron='0 12 * * *'", FUTURE, FUTURE),
        ("cron='0 13 * * *'", FUTURE, FUTURE + timedelta(hours=1)),
    ],
)
def test_the_first_run_is_not_before_the_declared_time(
    site: Site, timed: str, first: datetime, expected: datetime
) -> None:
    site.write(function(f"{timed}, next_run='{first}'"))

    sync()

    assert only_row().next_run == expected


@pytest.mark.django_db
def test_a_first_time_that_has_passed_goes_on_from_the_next_one_after_now(site: Site) -> None:
    site.write(function(f"schedule_type='D', next_run='{PAST}'"))

    sync()

    due = only_row().next_run
    assert due is not None
    assert timedelta() < due - timezone.now() <= timedelta(days=1)
    assert (due.hour, due.minute) == (4, 30)


@pytest.mark.django_db
def test_a_change_of_anything_else_keeps_the_next_run_and_the_repeats_left(site: Site) -> None:
    site.write(function("schedule_type='D', repeats=9"))
    sync()
    Schedule.objects.update(next_run=FUTURE, repeats=4, error="broken")

    site.write(function("schedule_type='D', repeats=9, args=[1]"))
    report = sync()

    assert report.changed == ["shop.tasks.send"]
    row = only_row()
    assert (row.next_run, row.repeats, row.error, row.args) == (FUTURE, 4, None, "(1,)")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "timed", ["schedule_type='W'", "minutes=5", f"schedule_type='D', next_run='{PAST}'"]
)
def test_another_timing_has_another_next_run(site: Site, timed: str) -> None:
    site.write(function("schedule_type='D'"))
    sync()
    Schedule.objects.update(next_run=FUTURE, repeats=-7)

    site.write(function(timed))
    sync()

    row = only_row()
    assert row.next_run is not None
    assert (row.next_run < FUTURE, row.repeats) == (True, -7)


@pytest.mark.django_db
def test_other_repeats_start_anew(site: Site) -> None:
    site.write(function("schedule_type='D', repeats=9"))
    sync()
    Schedule.objects.update(next_run=FUTURE, repeats=4)

    site.write(function("schedule_type='D', repeats=8"))
    sync()

    assert (only_row().repeats, only_row().next_run) == (8, FUTURE)


@pytest.mark.django_db
def test_other_repeats_end_no_pause(site: Site) -> None:
    site.write(function("schedule_type='D', repeats=9"))
    sync()
    Schedule.objects.update(repeats=0, paused_repeats=4)

    site.write(function("schedule_type='D', repeats=8"))
    sync()

    assert (only_row().repeats, only_row().paused_repeats) == (0, 8)


@pytest.mark.django_db
def test_a_row_that_somebody_changed_is_mended(site: Site) -> None:
    site.write(function("schedule_type='D'"))
    sync()
    Schedule.objects.update(schedule_type="H", cluster="elsewhere")

    sync()

    assert (only_row().schedule_type, only_row().cluster) == ("D", None)


@pytest.mark.django_db
def test_a_declared_schedule_that_goes_is_deleted_and_others_stay(site: Site) -> None:
    by_hand = Schedule.objects.create(func="shop.tasks.send", name="by hand")
    site.write(function("minutes=5"), function("minutes=5", "fetch"))
    sync()

    site.write(function("minutes=5", "fetch"))
    report = sync()

    assert report.deleted == ["shop.tasks.send"]
    names = {row.name for row in Schedule.objects.all()}
    assert names == {by_hand.name, "shop.tasks.fetch"}


@pytest.mark.django_db
def test_a_schedule_made_by_hand_becomes_the_declared_one(site: Site) -> None:
    by_hand = Schedule.objects.create(
        func="shop.tasks.send", name="nightly", schedule_type="D", next_run=FUTURE
    )
    site.write(function("schedule_type='D', name='nightly'"))

    report = sync()

    assert report.adopted == ["nightly"]
    row = only_row()
    assert (row.pk, row.next_run, row.declaration is None) == (by_hand.pk, FUTURE, False)


@pytest.mark.django_db
def test_the_name_of_another_functions_schedule_is_not_taken_over(site: Site) -> None:
    by_hand = Schedule.objects.create(func="shop.tasks.fetch", name="nightly")
    site.write(function("minutes=5, name='nightly'"), function("minutes=5", "rest"))

    report = sync()

    assert report.created == ["shop.tasks.rest"]
    assert f"the schedule {by_hand.pk} (shop.tasks.fetch)" in report.failures[0]
    by_hand.refresh_from_db()
    assert by_hand.declaration is None


@pytest.mark.django_db
def test_a_module_that_fails_to_import_is_named_and_nothing_is_deleted(
    site: Site, registry: dict[str, Any]
) -> None:
    site.write(function("minutes=5"))
    sync()
    site.write(function("minutes=5", "half"), "import nowhere")
    schedule(minutes=5)(job)

    report = sync()

    [failure] = report.failures
    assert failure.startswith("shop.tasks cannot be imported: ModuleNotFoundError: No module named")
    assert (report.created, report.deleted) == ([job.__module__ + ".job"], [])
    assert Schedule.objects.filter(name="shop.tasks.send").exists()


@pytest.mark.django_db
def test_without_croniter_the_module_is_imported_and_the_schedule_is_a_failure(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "croniter", None)
    site.write(function("cron='0 8 * * *'"), function("minutes=5", "fetch"))

    report = sync()

    assert report.created == ["shop.tasks.fetch"]
    assert "on shop.tasks.send: Cron schedules need croniter" in report.failures[0]


@pytest.mark.django_db
def test_a_site_that_declares_nothing_pays_one_query(site: Site) -> None:
    site.write()
    declarations.discover()

    with CaptureQueriesContext(connection) as queries:
        sync()

    assert len(queries) == 1
    assert not ClusterStatus.objects.exists()


def test_the_check_says_what_can_never_run_here(
    registry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule(cron="0 8 * * *")(job)
    monkeypatch.setitem(sys.modules, "croniter", None)

    found = [error.msg for error in run_checks() if error.id == "django_q.E008"]

    assert len(found) == 1
    assert "job: Cron schedules need croniter" in found[0]


# After `migrate`


@pytest.mark.django_db
def test_migrate_saves_what_is_declared(site: Site) -> None:
    site.write(function("minutes=5"))
    config = apps.get_app_config("django_q")

    post_migrate.send(sender=config, app_config=config, using="default", apps=apps)

    assert only_row().name == "shop.tasks.send"


@pytest.mark.django_db
def test_a_migration_to_before_the_column_is_left_alone(site: Site) -> None:
    site.write(function("minutes=5"))
    before = SimpleNamespace(_meta=SimpleNamespace(fields=[]))

    save_declared_schedules("default", SimpleNamespace(get_model=lambda *names: before))

    assert not Schedule.objects.exists()


@pytest.mark.django_db
def test_another_database_is_left_alone(site: Site) -> None:
    site.write(function("minutes=5"))

    save_declared_schedules("archive", apps)

    assert not Schedule.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "break_it",
    [
        lambda site, patch: site.write("import nowhere"),
        lambda site, patch: patch.setattr(router, "db_for_write", _raising_once()),
    ],
    ids=["module", "database"],
)
def test_what_fails_is_a_warning_and_never_breaks_migrate(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    break_it: Callable[[Site, pytest.MonkeyPatch], None],
) -> None:
    break_it(site, monkeypatch)

    save_declared_schedules("default", apps)

    [record] = [each for each in caplog.records if each.name == "django-q"]
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("The schedules that code declares are not")


def _raising_once() -> Callable[[Any], str]:
    """Answer who asks whether this is the database, and fail who wants to use it."""
    answers = iter(["default"])

    def db_for_write(model: Any) -> str:
        for answer in answers:
            return answer
        raise RuntimeError("no database")

    return db_for_write


# Two at once

AT_ONCE = """
import threading
from django.db import connection
from django_q.models import Schedule
from django_q.tasks import declarations
from django_q.tasks.declared_rows import sync

declarations.discover()
start = threading.Barrier(THREADS)
reports = []

def deploy():
    connection.ensure_connection()
    start.wait()
    reports.append(sync())
    connection.close()

def together():
    reports.clear()
    threads = [threading.Thread(target=deploy) for _ in range(THREADS)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return [sum(len(getattr(report, deed)) for report in reports) for deed in
            ("created", "changed", "deleted", "failures")], Schedule.objects.count(), len(reports)

first = together()
Schedule.objects.update(cluster="elsewhere")
second = together()
declarations._declared.clear()
[first, second, together()]
"""


@pytest.mark.parametrize("database_name", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_deployments_at_once_do_everything_once(project: Project) -> None:
    (project.path / "shop").mkdir()
    (project.path / "shop" / "__init__.py").touch()
    tasks = "".join(function("minutes=5", f"send_{number}") for number in range(20))
    (project.path / "shop" / "tasks.py").write_text(HEADER + tasks)
    project.configure({}, INSTALLED_APPS=["django.contrib.contenttypes", "django_q", "shop"])

    answers = project.run(AT_ONCE.replace("THREADS", "6"))

    assert answers == [
        [[20, 0, 0, 0], 20, 6],
        [[0, 20, 0, 0], 20, 6],
        [[0, 0, 20, 0], 0, 6],
    ]
