"""Bad input costs its own task and no other: all kinds of it, in one cluster, among good work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import SQLite
from tests.harness import DATABASE_FILE, ClusterProcess, Project, temporary_folder

GOOD = 40
DEADLY_ATTEMPTS = 2

HANDLERS = '''\
"""An app whose pre_execute handler refuses one task."""

from django.apps import AppConfig

from django_q.signals import pre_execute


def refuse(sender, func, task, **kwargs):
    if task["name"] == "refused by a handler":
        raise RuntimeError("the handler says no")


class Config(AppConfig):
    name = "handlers"

    def ready(self):
        pre_execute.connect(refuse)
'''

ENQUEUE = """\
import pickle
from django.conf import settings
from django.core import signing
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.humanhash import uuid
from django_q.tasks import async_task
import tests.jobs

broker = get_broker()


def sign(data, salt="project"):
    class AsIs:
        def dumps(self, obj):
            return obj
    return signing.dumps(data, key=settings.SECRET_KEY, salt=salt, serializer=AsIs)


def task(name, func="tests.jobs.ok", args=("x",), **more):
    return {"id": uuid()[1], "name": name, "func": func, "args": args, "kwargs": {},
            "started": timezone.now()} | more


def foreign(name, *args, **kwargs):
    broker.enqueue(sign(pickle.dumps(task(name, *args, **kwargs))))


def renamed(name):
    # The function is there while the task is queued, and gone when it is run.
    def vanished():
        pass
    vanished.__module__, vanished.__qualname__ = "tests.jobs", "vanished"
    tests.jobs.vanished = vanished
    foreign(name, vanished)


def good(count):
    for i in range(count):
        async_task("tests.jobs.ok", f"good-{next(numbers)}", task_name="good")


numbers = iter(range(1000))
whole = sign(pickle.dumps(task("unreadable", args=("unreadable",))))

good(10)
broker.enqueue("never signed by anybody")
broker.enqueue(whole[: len(whole) // 2])
broker.enqueue(sign(pickle.dumps(task("unreadable", args=("unreadable",))), salt="another site"))
good(10)
broker.enqueue(sign(b"\\x80\\x05this is no pickle"))
broker.enqueue(sign(pickle.dumps(["not", "a", "dict"])))
foreign("missing module", "no_such_module.function")
async_task("tests.jobs.no_such_function", task_name="missing function")
renamed("renamed function")
async_task("tests.jobs.generator", "generator", task_name="generator")
good(10)
async_task("tests.jobs.exit_process", "deadly", task_name="deadly")
async_task("tests.jobs.sleep", "slow", 60, task_name="slow", timeout=0.3)
async_task("tests.jobs.ok", "hook", task_name="hook", hook="no_such_module.hook")
async_task("tests.jobs.ok", "refused", task_name="refused by a handler")
foreign("long group", args=("long-group",), group="g" * 150)
foreign("nonsense", args=("nonsense",), started="yesterday", timeout=None)
good(10)
"""


class Aftermath:
    """What is left when the cluster has dealt with everything."""

    def __init__(self, project: Project, cluster: ClusterProcess) -> None:
        self.log = cluster.log
        self.starts = project.starts()
        self.rows = project.tasks()
        self.queued = project.query("SELECT count(*) FROM django_q_ormq")[0][0]
        results = project.run(
            "from django_q.models import Task\n"
            "{task.name: str(task.result) for task in Task.objects.all()}"
        )
        self.results: dict[str, str] = results

    def row(self, name: str) -> dict[str, Any]:
        """Return the only row of that name."""
        [row] = [row for row in self.rows if row["name"] == name]
        return row


@pytest.fixture(scope="module")
def aftermath(template_database: Path) -> Iterator[Aftermath]:
    with temporary_folder() as folder:
        project = Project(folder, SQLite(folder / DATABASE_FILE, template_database))
        (folder / "handlers.py").write_text(HANDLERS)
        project.configure(
            {"max_attempts": 1, "max_worker_deaths": 2, "backoff": 0, "retry": 600},
            INSTALLED_APPS=["django.contrib.contenttypes", "django_q", "handlers.Config"],
        )
        project.run(ENQUEUE)
        cluster = project.start_cluster("--run-once")
        assert cluster.wait(60) == 0, cluster.log
        yield Aftermath(project, cluster)
        project.close()


def test_every_good_task_runs_once(aftermath: Aftermath) -> None:
    good = {label: n for label, n in aftermath.starts.items() if label.startswith("good-")}
    assert good == {f"good-{i}": 1 for i in range(GOOD)}
    assert sum(row["success"] for row in aftermath.rows if row["name"] == "good") == GOOD


def test_nothing_stays_in_the_queue(aftermath: Aftermath) -> None:
    assert aftermath.queued == 0


def test_packages_that_nobody_signed_are_discarded_with_a_line_each(aftermath: Aftermath) -> None:
    assert aftermath.log.count("Discarded a package that nobody here has signed") == 3
    assert "unreadable" not in aftermath.starts


def test_signed_packages_that_hold_no_task_are_discarded_with_a_line_each(
    aftermath: Aftermath,
) -> None:
    assert aftermath.log.count("Discarded a package that holds no task") == 2


def test_only_packages_that_name_their_task_are_recorded(aftermath: Aftermath) -> None:
    names = {row["name"] for row in aftermath.rows} - {"good"}
    assert names == {
        "missing module",
        "missing function",
        "renamed function",
        "generator",
        "deadly",
        "slow",
        "hook",
        "refused by a handler",
        "long group",
        "nonsense",
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing module", "no_such_module.function is not defined"),
        ("missing function", "tests.jobs.no_such_function is not defined"),
        ("renamed function", "vanished"),
        ("generator", "cannot pickle 'generator' object"),
        ("deadly", "exited with status 3"),
        ("slow", "exceeded maximum timeout"),
        ("refused by a handler", "the handler says no"),
        ("long group", "group of a task has at most 100 characters, not 150"),
        ("nonsense", "started"),
    ],
)
def test_a_bad_task_is_recorded_once_with_its_reason(
    aftermath: Aftermath, name: str, reason: str
) -> None:
    assert not aftermath.row(name)["success"]
    assert reason in aftermath.results[name]
    assert aftermath.row(name)["attempt_count"] == 1


def test_a_task_that_kills_its_worker_is_run_at_most_max_attempts_times(
    aftermath: Aftermath,
) -> None:
    assert aftermath.starts["deadly"] == 1
    assert aftermath.row("deadly")["worker_deaths"] == 1


def test_a_task_that_a_handler_refuses_is_not_run(aftermath: Aftermath) -> None:
    assert "refused" not in aftermath.starts


@pytest.mark.parametrize("label", ["long-group", "nonsense"])
def test_a_task_that_could_not_be_recorded_is_not_run(aftermath: Aftermath, label: str) -> None:
    assert label not in aftermath.starts


def test_a_hook_that_does_not_exist_leaves_its_task_a_success(aftermath: Aftermath) -> None:
    assert aftermath.row("hook")["success"]
    assert "no_such_module.hook" in aftermath.log


def test_a_task_that_kills_its_workers_ends_with_the_second_death(project: Project) -> None:
    project.configure({"workers": 1, "max_attempts": 9, "backoff": 0})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.kill_process', 'deadly')\n"
        "async_task('tests.jobs.ok', 'good')"
    )

    cluster = project.start_cluster()
    project.wait_until(lambda: project.query("SELECT count(*) FROM django_q_ormq") == [(0,)])
    assert cluster.stop() == 0

    assert project.starts() == {"deadly": 2, "good": 1}
    [deadly] = [row for row in project.tasks() if row["func"] == "tests.jobs.kill_process"]
    assert (deadly["success"], deadly["attempt_count"], deadly["worker_deaths"]) == (0, 2, 2)
