"""What `manage.py qcluster` makes of its options, of the environment, and of a site not ready."""

import pytest

from tests.databases import SQLite
from tests.harness import Project

QUEUES = {
    "workers": 2,
    "ALT_CLUSTERS": {"long": {"workers": 1}, "short": {"workers": 3}},
}
READY = "ready for work at"


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


def test_a_cluster_without_a_name_leaves_the_other_queues_alone(project: Project) -> None:
    project.configure(QUEUES)
    enqueue_for_each_queue(project)

    cluster = project.start_cluster("--run-once")

    assert cluster.wait() == 0, cluster.log
    assert project.starts() == {"default": 1}
    assert cluster.log.count(READY) == 2


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
