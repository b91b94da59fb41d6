"""django-prodserver, by the settings of its page on Django Q2: ours is started in its place."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import ClusterProcess, Project, temporary_folder
from tests.managers import STOPPING, Outcome, RecordOutcome, assert_stopped, begin, type_in
from tests.packaging.environments import install

MINIMAL = {
    "name": "myproject",
    "workers": 4,
    "timeout": 90,
    "retry": 120,
    "queue_limit": 50,
    "bulk": 10,
    "orm": "default",
}
"""`Q_CLUSTER` of "Minimal Setup"."""

BACKEND = "django_prodserver.backends.django_q2.DjangoQ2Worker"

COMMANDS = {"2.4.0": "prodserver", "3.0.0": "worker"}
"""What starts a worker in each release."""

Start = Callable[..., ClusterProcess]


@pytest.fixture(scope="module", params=COMMANDS)
def release(request: pytest.FixtureRequest) -> str:
    """Return the number of a release."""
    return str(request.param)


@pytest.fixture(scope="module")
def package(release: str) -> Iterator[Path]:
    """Install a release, and yield the folder of its package."""
    with temporary_folder() as folder:
        # Without its dependencies: the only one is Django, which is here.
        install(folder / "venv", "--no-deps", f"django-prodserver=={release}")
        (found,) = (folder / "venv").glob("lib/python*/site-packages/django_prodserver")
        yield found


@pytest.fixture
def prodserver(project: Project, package: Path) -> Start:
    """Return what types in a command of a site with these ARGS."""

    def start(command: str, args: dict[str, str]) -> ClusterProcess:
        project.configure(
            MINIMAL,
            INSTALLED_APPS=[
                "django.contrib.contenttypes",
                "django.contrib.auth",
                "django_q",
                "django_prodserver",
            ],
            PRODUCTION_PROCESSES={"worker": {"BACKEND": BACKEND, "ARGS": args}},
        )
        return type_in(project, command)

    # The project's folder is where Python looks first.
    (project.path / package.name).symlink_to(package)
    return start


@pytest.mark.parametrize(
    ("args", "queue"),
    [
        ({"verbosity": "1"}, "myproject"),
        ({"verbosity": "2", "cluster-name": "myworker"}, "myworker"),
    ],
    ids=["verbosity", "cluster-name"],
)
def test_prodserver_runs_a_cluster(
    project: Project,
    prodserver: Start,
    release: str,
    record_outcome: RecordOutcome,
    args: dict[str, str],
    queue: str,
) -> None:
    command = f"manage.py {COMMANDS[release]} worker"
    cluster = prodserver(f"$ python {command}", args)
    # Configured by now: what enqueues has the same settings.
    gate = begin(project, "busy", cluster=queue)

    cluster.terminate()
    cluster.wait_for_line(STOPPING)
    gate.open()

    code = cluster.wait()
    assert code == 0, cluster.log
    assert_stopped(project, "busy")
    assert cluster.log.count("ready for work") == MINIMAL["workers"]
    manager = f"prodserver {release}"
    record_outcome(Outcome(manager, f"{command} ({', '.join(args)})", "SIGTERM", "-", str(code)))


@pytest.mark.parametrize("release", ["3.0.0"], indirect=True)
def test_the_old_command_starts_no_worker_since_3(prodserver: Start) -> None:
    cluster = prodserver("$ python manage.py prodserver worker", {"verbosity": "1"})

    assert cluster.wait() == 1
    cluster.wait_for_line("run `python manage.py worker worker` instead")
