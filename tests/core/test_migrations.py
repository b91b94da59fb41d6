"""Databases of every earlier release upgrade in place, and Django Q2 goes on writing to them."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections, models
from django.db.migrations import AddField, Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from django.utils import timezone

from django_q import readiness
from django_q.models import ClusterStatus, Failure, IterItem, OrmQ, Schedule, Success, Task

ALIAS = "old"
OLD_NAMES = [
    "0001_initial",
    "0002_auto_20150630_1624",
    "0003_auto_20150708_1326",
    "0004_auto_20150710_1043",
    "0005_auto_20150718_1506",
    "0006_auto_20150805_1817",
    "0007_ormq",
    "0008_auto_20160224_1026",
    "0009_auto_20171009_0915",
    "0010_auto_20200610_0856",
    "0011_auto_20200628_1055",
    "0012_auto_20200702_1608",
    "0013_task_attempt_count",
    "0014_schedule_cluster",
    "0015_alter_schedule_schedule_type",
    "0016_schedule_intended_date_kwarg",
    "0017_task_cluster_alter",
    "0018_task_success_index",
    "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more",
]
SQUASH = "0001_squashed_0014_schedule_cluster"


@pytest.fixture
def old(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty SQLite database beside that of the tests."""
    settings = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
    }
    connections.settings[ALIAS] = settings
    blocker = request.getfixturevalue("django_db_blocker")
    with blocker.unblock():
        yield connections[ALIAS]
        connections[ALIAS].close()
    del connections.settings[ALIAS]
    del connections[ALIAS]


def migrate_as_it_was(connection: Any, name: str) -> None:
    """Bring an empty database where an earlier release left it: one old name after the other."""
    executor = MigrationExecutor(connection)
    executor.loader.replace_migrations = False
    executor.loader.build_graph()
    executor.migrate([("django_q", name)])
    MigrationRecorder(connection).migration_qs.filter(app="django_q", name=SQUASH).delete()


def upgrade(connection: Any) -> None:
    call_command("migrate", "django_q", database=connection.alias, verbosity=0)


def columns(connection: Any, table: str) -> set[tuple[str, bool]]:
    with connection.cursor() as cursor:
        return {
            (column.name, column.null_ok)
            for column in connection.introspection.get_table_description(cursor, table)
        }


def indexes(connection: Any, table: str) -> set[str]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table)
    return {name for name, told in found.items() if told["index"] and not told["primary_key"]}


def is_usable(connection: Any) -> bool:
    """Can every table be written and read through its model?"""
    now = timezone.now()
    alias = connection.alias
    Task.objects.using(alias).create(id="1", name="n", func="f", started=now, stopped=now)
    Schedule.objects.using(alias).create(func="f")
    OrmQ.objects.using(alias).create(key="k", payload="p", lock=now)
    IterItem.objects.using(alias).create(task_id="1", group="g", index=0, success=True, created=now)
    ClusterStatus.objects.using(alias).create(key="k", value="v", expires=now)
    return all(
        model._default_manager.using(alias).exists()
        for model in (Task, Success, Schedule, OrmQ, IterItem, ClusterStatus)
    )


def test_a_fresh_database_is_migrated(old):
    upgrade(old)

    assert is_usable(old)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 9, 10, 13, 14, 15, 17, 18, 19])
def test_a_database_of_an_earlier_release_upgrades_in_place(old, number):
    migrate_as_it_was(old, OLD_NAMES[number - 1])

    upgrade(old)

    assert is_usable(old)


@pytest.mark.parametrize("number", [9, 14, 19])
def test_an_upgraded_database_equals_a_fresh_one(old, number):
    migrate_as_it_was(old, OLD_NAMES[number - 1])
    upgrade(old)

    for model in (Task, Schedule, OrmQ, IterItem, ClusterStatus):
        table = model._meta.db_table
        expected = {(field.column, field.null) for field in model._meta.concrete_fields}
        assert columns(old, table) == expected
        assert indexes(old, table) == {index.name for index in model._meta.indexes}


def test_rows_of_an_earlier_release_survive_the_upgrade(old):
    migrate_as_it_was(old, OLD_NAMES[13])
    with old.cursor() as cursor:
        insert_as_django_q_did(cursor)

    upgrade(old)

    task = Task.objects.using(ALIAS).get()
    assert (task.name, task.result, task.worker_deaths) == ("old", 42, 0)
    assert OrmQ.objects.using(ALIAS).get().priority == 0
    assert Schedule.objects.using(ALIAS).get().error is None


def test_django_q2_goes_on_inserting_into_the_migrated_tables(old):
    upgrade(old)

    with old.cursor() as cursor:
        insert_as_django_q_did(cursor)

    assert Task.objects.using(ALIAS).get().worker_deaths == 0
    queued = OrmQ.objects.using(ALIAS).get()
    assert (queued.priority, queued.lapses, queued.attempts, queued.claim) == (0, 0, 0, None)
    assert Schedule.objects.using(ALIAS).get().catch_up is None


def insert_as_django_q_did(cursor: Any) -> None:
    """The columns that the models of Django Q and Django Q2 share; none of ours."""
    cursor.execute(
        'INSERT INTO django_q_task (id, name, func, hook, args, kwargs, result, "group", started, '
        "stopped, success, attempt_count) VALUES ('1', 'old', 'f', NULL, NULL, NULL, 'gARLKi4=', "
        "NULL, '2024-05-01 12:00:00', '2024-05-01 12:00:01', 1, 1)"
    )
    cursor.execute(
        "INSERT INTO django_q_ormq (key, payload, lock) VALUES ('k', 'p', '2024-05-01 12:00:00')"
    )
    cursor.execute(
        "INSERT INTO django_q_schedule (name, func, hook, args, kwargs, schedule_type, minutes, "
        "repeats, next_run, cron, task, cluster) VALUES (NULL, 'f', NULL, NULL, NULL, 'O', NULL, "
        "-1, '2024-05-01 12:00:00', NULL, NULL, NULL)"
    )


def test_all_migrations_can_be_taken_back(old):
    upgrade(old)

    call_command("migrate", "django_q", OLD_NAMES[18], database=ALIAS, verbosity=0)
    assert "success_index" in indexes(old, "django_q_task")

    call_command("migrate", "django_q", "zero", database=ALIAS, verbosity=0)
    assert not [name for name in old.introspection.table_names() if name.startswith("django_q")]


@pytest.mark.django_db
def test_the_models_need_no_further_migration():
    call_command("makemigrations", "django_q", check=True, dry_run=True, stdout=StringIO())


def test_every_old_name_is_there():
    loader = MigrationLoader(None)

    names = {name for app, name in loader.disk_migrations if app == "django_q"}

    assert set(OLD_NAMES) < names
    assert loader.disk_migrations["django_q", SQUASH].replaces == [
        ("django_q", name) for name in OLD_NAMES[:14]
    ]


def test_the_squash_leads_to_the_same_models_as_what_it_replaces():
    loader = MigrationLoader(None)
    squash = loader.disk_migrations["django_q", SQUASH]
    originals = [loader.disk_migrations["django_q", name] for name in OLD_NAMES[:14]]

    assert described(squash) == described(*originals)


def described(*migrations: Migration) -> dict[str, Any]:
    """Every column of every model, and what each model is called and ordered by."""
    state = ProjectState()
    for migration in migrations:
        migration.mutate_state(state, preserve=False)
    return {
        name: (
            {column: field.deconstruct()[1:] for column, field in model.fields.items()},
            model.options,
        )
        for (_, name), model in state.models.items()
    }


def test_other_apps_may_depend_on_any_old_name(monkeypatch):
    class Dependent(Migration):
        dependencies = [("django_q", "0010_auto_20200610_0856")]

    def load(self: MigrationLoader) -> None:
        load_disk(self)
        self.disk_migrations["dependent", "0001_initial"] = Dependent("0001_initial", "dependent")
        self.migrated_apps.add("dependent")

    load_disk = MigrationLoader.load_disk
    monkeypatch.setattr(MigrationLoader, "load_disk", load)

    plan = MigrationLoader(None).graph.forwards_plan(("dependent", "0001_initial"))

    assert plan == [("django_q", SQUASH), ("dependent", "0001_initial")]


def test_our_columns_cost_an_old_producer_nothing():
    ours = {
        Task: {"worker_deaths"},
        Schedule: {"catch_up", "error", "occurrence", "occurrence_task", "paused_repeats"},
        OrmQ: {"priority", "claim", "lapses", "attempts"},
    }

    for model, names in ours.items():
        for name in names:
            field: Any = model._meta.get_field(name)
            assert field.null or field.db_default is not models.NOT_PROVIDED


def test_a_missing_column_of_ours_is_known_by_its_name():
    loader = MigrationLoader(None)
    added: dict[str, tuple[str, ...]] = {}
    for (app, name), migration in sorted(loader.disk_migrations.items()):
        if app == "django_q" and name >= "0020":
            for operation in migration.operations:
                if isinstance(operation, AddField):
                    columns = added.get(operation.model_name, ())
                    added[operation.model_name] = tuple(sorted({*columns, operation.name}))

    assert added == readiness.COLUMNS


@pytest.mark.parametrize(
    "message",
    [
        "no such column: priority",
        "no such column: queued.occurrence_task",
        'column "claim" does not exist',
        "(1054, \"Unknown column 'lapses' in 'field list'\")",
    ],
)
def test_a_missing_column_names_the_command_also_where_no_table_is_named(message):
    explained = readiness.explanation(OperationalError(message))

    assert str(explained).endswith("in the database 'default': run `manage.py migrate`.")


def test_a_missing_column_of_somebody_else_is_not_ours_to_explain():
    assert readiness.explanation(OperationalError("no such column: priority_of_order")) is None


def test_a_database_without_partial_indexes_gets_no_success_index(old, monkeypatch):
    monkeypatch.setattr(old.features, "supports_partial_indexes", False)

    migrate_as_it_was(old, OLD_NAMES[18])
    assert "success_index" not in indexes(old, "django_q_task")

    upgrade(old)
    assert is_usable(old)


def test_keys_stay_as_narrow_as_they_were():
    for model in (Schedule, OrmQ):
        assert type(model._meta.pk) is models.AutoField
    assert isinstance(Task._meta.pk, models.CharField)
    assert Failure._meta.proxy
