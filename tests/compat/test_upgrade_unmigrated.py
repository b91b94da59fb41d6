"""On a database that lacks our migrations, what fails names the command that helps."""

import pytest

from tests.databases import SQLite
from tests.harness import Project

on_each_database = pytest.mark.parametrize("database_name", ["sqlite", "postgresql"], indirect=True)

FROM_DJANGO_Q2 = "0019"
SENTENCE = "is missing or not up to date in the database 'default': run `manage.py migrate`."

ASK = """
from django_q.errors import ConfigurationError
from django_q.tasks import async_task, fetch, schedule
calls = [
    lambda: async_task("tests.jobs.ok", "a"),
    lambda: fetch("a" * 32),
    lambda: schedule("tests.jobs.ok", "a", name="a"),
]
said = []
for call in calls:
    try:
        call()
    except ConfigurationError as error:
        said.append(str(error))
said
"""


@pytest.fixture(params=["zero", FROM_DJANGO_Q2])
def migrated_to(request: pytest.FixtureRequest, project: Project) -> str:
    """Take the project's database back to where it has none of our tables, or Django Q2's."""
    project.manage("migrate", "--verbosity", "0", "django_q", request.param)
    return str(request.param)


@on_each_database
@pytest.mark.usefixtures("migrated_to")
def test_the_api_says_so_in_one_sentence(project: Project) -> None:
    assert project.run(ASK) == [
        f"The table django_q_ormq {SENTENCE}",
        f"The table django_q_task {SENTENCE}",
        f"The table django_q_schedule {SENTENCE}",
    ]


@on_each_database
@pytest.mark.usefixtures("migrated_to")
def test_a_cluster_says_so_in_one_sentence_and_does_not_start(project: Project) -> None:
    done = project.manage("qcluster", check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(SENTENCE)
    assert "Traceback" not in done.stderr
    assert "[Q]" not in done.stdout + done.stderr


@pytest.mark.parametrize("left_at", ["zero", FROM_DJANGO_Q2])
def test_a_queue_in_another_database_is_named(project: Project, left_at: str) -> None:
    queue = SQLite(project.path / "queue.sqlite3")
    databases = {"default": project.database.settings, "queue": queue.settings}
    project.configure({"orm": "queue"}, DATABASES=databases)
    project.manage("migrate", "--database", "queue", "django_q", left_at)

    done = project.manage("qcluster", check=False)

    cure = "in the database 'queue': run `manage.py migrate --database queue`."
    assert done.returncode == 1
    assert cure in done.stderr
    assert "Traceback" not in done.stderr
    assert cure in project.run(ASK)[0]
