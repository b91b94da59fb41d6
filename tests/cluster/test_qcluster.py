"""What `manage.py qcluster` makes of its options, of the environment, and of a site not ready."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from django_q import conf
from django_q.conf import Settings
from tests.databases import SQLite
from tests.harness import Project

QUEUES = {
    "workers": 2,
    "ALT_CLUSTERS": {"long": {"workers": 1}, "short": {"workers": 3}},
}
READY = "ready for work at"


@pytest.fixture
def qcluster(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., list[Settings]]]:
    """Yield the command, which returns what its clusters are given and starts none."""
    started: list[Settings] = []

    def run(*arguments: str) -> list[Settings]:
        call_command("qcluster", *arguments)
        return started

    monkeypatch.setattr(
        "django_q.cluster.cluster.Cluster", lambda settings, fleet: started.append(settings)
    )
    monkeypatch.setattr("django_q.cluster.fleet.Fleet.start", lambda self: None)
    monkeypatch.setattr("django_q.management.commands.qcluster.require_tables", lambda: None)
    monkeypatch.setattr(logging.getLogger("django-q"), "propagate", True)
    monkeypatch.setenv("Q_CLUSTER_NAME", "")
    settings.Q_CLUSTER = {
        "name": "site",
        "cluster_name": "main",
        "ALT_CLUSTERS": {"long": {}, "short": {}},
    }
    caplog.set_level(logging.INFO, "django-q")
    yield run
    monkeypatch.undo()
    conf.reset_settings()


def enqueue_for_each_queue(project: Project) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 'default')\n"
        "async_task('tests.jobs.ok', 'long', cluster='long')\n"
        "async_task('tests.jobs.ok', 'short', cluster='short')"
    )


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["-n", "long"], {}),
        (["--name", "long"], {}),
        (["--cluster-name", "long"], {}),
        ([], {"Q_CLUSTER_NAME": "long"}),
        (["-n", "long"], {"Q_CLUSTER_NAME": "short"}),
    ],
    ids=["-n", "--name", "--cluster-name", "Q_CLUSTER_NAME", "option-wins"],
)
def test_a_named_cluster_works_on_its_queue_with_its_own_settings(
    project: Project, arguments: list[str], environment: dict[str, str]
) -> None:
    project.configure(QUEUES)
    enqueue_for_each_queue(project)

    cluster = project.start_cluster("--run-once", *arguments, **environment)

    assert cluster.wait() == 0, cluster.log
    assert project.starts() == {"long": 1}
    assert cluster.log.count(READY) == 1
    assert [task["cluster"] for task in project.tasks()] == ["long"]


@pytest.mark.starts_anew
def test_a_cluster_without_a_name_leaves_the_other_queues_alone(project: Project) -> None:
    project.configure(QUEUES)
    enqueue_for_each_queue(project)

    cluster = project.start_cluster("--run-once")

    assert cluster.wait() == 0, cluster.log
    assert project.starts() == {"default": 1}
    assert cluster.log.count(READY) == 2


PAGE: dict[str, object] = {"name": "default", "workers": 4}
"""`Q_CLUSTER` of django-prodserver's page on Django Q2."""


def test_a_cluster_that_no_setting_lists_is_a_queue_of_its_own(project: Project) -> None:
    project.configure(PAGE)
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 'default')\n"
        "async_task('tests.jobs.ok', 'priority', cluster='priority')"
    )

    clusters = {
        name: project.start_cluster("--verbosity=1", f"--cluster-name={name}")
        for name in ("priority", "default")
    }
    tasks = project.wait_for_tasks(2)

    for cluster in clusters.values():
        assert cluster.stop() == 0, cluster.log
        assert cluster.log.count(READY) == 4
    assert project.starts() == {"default": 1, "priority": 1}
    assert {task["cluster"] for task in tasks} == {"default", "priority"}
    clusters["priority"].wait_for_line("'priority' is not in ALT_CLUSTERS .* Known: 'default'\\.$")
    assert "ALT_CLUSTERS" not in clusters["default"].log


@pytest.mark.parametrize(
    ("name", "level", "known"),
    [
        ("lnog", "WARNING", "Known: 'main', 'site', 'long', 'short'. Did you mean 'long'?"),
        ("SHORT", "WARNING", "Known: 'main', 'site', 'long', 'short'. Did you mean 'short'?"),
        ("priority", "INFO", "Known: 'main', 'site', 'long', 'short'."),
    ],
)
@pytest.mark.parametrize("by_variable", [True, False])
def test_a_name_that_is_not_listed_is_said_with_the_known_ones(
    qcluster: Callable[..., list[Settings]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    level: str,
    known: str,
    by_variable: bool,
) -> None:
    if by_variable:
        monkeypatch.setenv("Q_CLUSTER_NAME", name)

    [started] = qcluster(*([] if by_variable else [f"--name={name}"]))

    assert started.cluster_name == name
    said = f"The queue {name!r} is not in ALT_CLUSTERS and has the settings of Q_CLUSTER. {known}"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [(level, said)]


@pytest.mark.parametrize("names", [(), ("site",), ("main",), ("long",), ("long", "site")])
def test_nothing_is_said_of_names_that_are_known(
    qcluster: Callable[..., list[Settings]], caplog: pytest.LogCaptureFixture, names: tuple[str]
) -> None:
    started = qcluster(*(f"-n{name}" for name in names))

    chosen = ["main" if name == "site" else name for name in names or ["main"]]
    assert [each.cluster_name for each in started] == chosen
    assert caplog.records == []


def test_run_once_does_not_wait_for_failed_attempts_to_come_back(project: Project) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', i) for i in range(20)]\n"
        "async_task('tests.jobs.fail', 'failing')"
    )

    cluster = project.start_cluster("--run-once")

    assert cluster.wait() == 0, cluster.log
    assert len(project.starts()) == 21
    assert project.query("SELECT attempts FROM django_q_ormq") == [(1,)]


@pytest.mark.parametrize(
    ("verbosity", "log_level", "shown"),
    [
        ("0", "INFO", {"ERROR"}),
        ("1", "INFO", {"INFO", "ERROR"}),
        ("1", "ERROR", {"ERROR"}),
        ("2", "ERROR", {"INFO", "ERROR"}),
    ],
)
def test_verbosity_says_how_much_is_logged(
    project: Project, verbosity: str, log_level: str, shown: set[str]
) -> None:
    project.configure({"log_level": log_level, "workers": 1})
    project.run("from django_q.tasks import async_task; async_task('tests.jobs.fail', 'x')")

    cluster = project.start_cluster("--run-once", "--verbosity", verbosity)

    assert cluster.wait() == 0, cluster.log
    levels = {line.split()[2] for line in cluster.lines if "[Q]" in line}
    assert levels - {"DEBUG"} == shown


@pytest.mark.starts_anew
@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        ("broker", "Memory lives inside one process and cannot feed a cluster"),
        ("tables", "run `manage.py migrate`"),
        ("key", "SECRET_KEY is missing"),
        ("app", "Unknown command: 'qcluster'"),
    ],
)
def test_what_a_site_lacks_is_said_in_one_sentence(
    project: Project, lacking: str, sentence: str
) -> None:
    if lacking == "broker":
        project.configure({"orm": None, "broker_class": "django_q.brokers.memory.Memory"})
    elif lacking == "tables":
        empty = SQLite(project.path / "empty.sqlite3").settings
        project.configure({}, DATABASES={"default": empty})
    elif lacking == "key":
        project.configure({}, SECRET_KEY="")
    else:
        project.configure({}, INSTALLED_APPS=["django.contrib.contenttypes"])

    done = project.manage("qcluster", check=False)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "[Q]" not in done.stdout + done.stderr


UNREACHABLE = """\
from django_q.brokers import Broker

class Unreachable(Broker):
    def ping(self):
        return False
"""


def test_a_cluster_whose_broker_is_never_reached_gives_up_after_connect_timeout(
    project: Project,
) -> None:
    (project.path / "unreachable.py").write_text(UNREACHABLE)
    project.configure(
        {"orm": None, "broker_class": "unreachable.Unreachable", "connect_timeout": 0.5}
    )

    cluster = project.start_cluster()

    assert cluster.wait() == 1
    cluster.wait_for_line(r"CRITICAL .* was not reached within 0\.5 seconds \(connect_timeout\)")
    cluster.wait_for_line("has stopped")
