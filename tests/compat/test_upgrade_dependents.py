"""Migrations of other apps that depend on an old name of ours keep their place."""

from collections.abc import Iterator

import pytest

from tests.compat.old_sites import DJANGO_Q, Q2, OldSite, Release
from tests.databases import SQLite
from tests.harness import DATABASE_FILE, Project, temporary_folder

DEPENDENCIES = {"early": "0010_auto_20200610_0856", "late": "0014_schedule_cluster"}

MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("django_q", {dependency!r})]
    operations = [
        migrations.CreateModel("Order", [
            ("id", models.AutoField(primary_key=True)),
            ("task", models.ForeignKey("django_q.Task", models.CASCADE)),
        ]),
    ]
"""

LEFT = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
executor.loader.check_consistent_history(connection)
executor.migration_plan(executor.loader.graph.leaf_nodes())
"""


@pytest.fixture
def shop() -> Iterator[Project]:
    """Yield a project with two apps of its own, on a database that nobody has migrated."""
    with temporary_folder() as folder:
        project = Project(folder, SQLite(folder / DATABASE_FILE))
        apps = ["django.contrib.contenttypes", "django.contrib.auth", "django_q", *DEPENDENCIES]
        project.configure({}, INSTALLED_APPS=apps)
        for app, dependency in DEPENDENCIES.items():
            migrations = folder / app / "migrations"
            migrations.mkdir(parents=True)
            (folder / app / "__init__.py").touch()
            (migrations / "__init__.py").touch()
            (migrations / "0001_initial.py").write_text(MIGRATION.format(dependency=dependency))
        yield project
        project.close()


def test_on_a_fresh_database(shop: Project) -> None:
    shop.migrate()

    assert shop.run(LEFT) == []


@pytest.mark.parametrize("release", [DJANGO_Q, Q2], ids=str)
def test_on_a_database_where_both_are_applied(shop: Project, release: Release) -> None:
    OldSite(shop, release).migrate()

    shop.migrate()

    assert shop.run(LEFT) == []


@pytest.mark.parametrize("left_at", ["0009_auto_20171009_0915", "0013_task_attempt_count"])
def test_on_a_database_of_django_q_between_the_two(shop: Project, left_at: str) -> None:
    old = OldSite(shop, DJANGO_Q)
    old.migrate("django_q", left_at)
    if left_at > DEPENDENCIES["early"]:
        old.migrate("early")

    shop.migrate()

    assert shop.run(LEFT) == []
