"""Sites of Django Q and Django Q2: the real releases, each in an environment of its own.

The environments are made at the first use and kept for later runs.
"""

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import environment
from tests.harness import RUN, ClusterProcess, Project
from tests.servers import missing

SETTINGS_MODULE = "old_settings"
DRIVERS = ("croniter", "psycopg[binary]", "PyMySQL")


@dataclass(frozen=True)
class Release:
    """A release as it is on PyPI, beside a Django that it knows."""

    requirement: str
    django: str
    last_migration: str
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.requirement

    def python(self) -> Path:
        """Return the interpreter of its environment, made if it is not there yet."""
        requirements = [self.requirement, self.django, *DRIVERS, *self.others]
        try:
            return environment(f"old-{self.requirement}", requirements)
        except subprocess.CalledProcessError as error:
            missing(f"{self.requirement} could not be installed from the package index: {error}")


# They look for error reporters with pkg_resources, which newer setuptools no longer bring.
DJANGO_Q = Release("django-q==1.3.9", "Django~=4.2.0", "0014_schedule_cluster", ("setuptools<81",))
Q2_AT_0014 = Release(
    "django-q2==1.4.3", "Django~=4.2.0", "0014_schedule_cluster", ("setuptools<81",)
)
Q2_AT_0017 = Release("django-q2==1.6.2", "Django~=5.2.0", "0017_task_cluster_alter")
Q2 = Release(
    "django-q2==1.11.1",
    "Django~=5.2.0",
    "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more",
)


class OldSite:
    """A project as an old release runs it: the same folder, database, name and SECRET_KEY."""

    def __init__(self, project: Project, release: Release, **Q_CLUSTER: Any) -> None:  # noqa: N803
        self.project = project
        self.release = release
        self.python = str(release.python())
        settings = "from project_settings import *\n" + f"Q_CLUSTER = Q_CLUSTER | {Q_CLUSTER!r}\n"
        if release.django < "Django~=5" and project.database.name == "sqlite":
            # Options of SQLite that are younger.
            settings += 'DATABASES["default"]["OPTIONS"] = {"timeout": 20}\n'
            project.query("PRAGMA journal_mode=WAL")
        (project.path / f"{SETTINGS_MODULE}.py").write_text(settings)

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of everything that the old release runs."""
        return self.project.env | {"DJANGO_SETTINGS_MODULE": SETTINGS_MODULE}

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end and return what it printed."""
        return self._python("manage.py", *arguments)

    def migrate(self, *arguments: str) -> None:
        """Migrate as far as this release goes, or to the named migration."""
        self.manage("migrate", "--verbosity", "0", *arguments)

    def run(self, code: str) -> Any:
        """Run code with Django set up; return the value of its last expression, through JSON."""
        answer = self.project.path / f"answer-{uuid.uuid4().hex}.json"
        self._python("-c", RUN, str(answer), code)
        return json.loads(answer.read_text())

    def queue_what_is_due(self) -> None:
        """Run the old scheduler, which a cluster of theirs calls half a minute after its start."""
        self.run("from django_q.cluster import scheduler; scheduler()")

    @contextlib.contextmanager
    def cluster(self) -> Iterator[ClusterProcess]:
        """Run `qcluster`, and kill it in the end: not every stop of theirs comes to an end."""
        command = [self.python, "manage.py", "qcluster"]
        cluster = ClusterProcess(command, self.project, self.env)
        try:
            yield cluster
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.release} said:\n{cluster.log}") from error
        finally:
            cluster.kill(group=True)
            cluster.wait()

    def _python(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.project.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{self.release}: {done.stdout}{done.stderr}"
        return done.stdout


def queue_length(project: Project) -> int:
    """Return how many packages are in the queue, waiting or claimed."""
    return int(project.query("SELECT count(*) FROM django_q_ormq")[0][0])


def wait_for_empty_queue(project: Project, timeout: float = 30) -> None:
    """Wait until all that was queued is acknowledged."""
    project.wait_until(lambda: not queue_length(project), timeout, "an empty queue")
