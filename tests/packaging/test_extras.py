"""Each extra of core is installed from the wheels where nothing else is, and is put to use."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.disque_server import DisqueStub
from tests.harness import ROOT, command_line
from tests.ironmq_server import IronMQ
from tests.mongo_server import Mongo
from tests.packaging.conftest import Wheel
from tests.packaging.environments import InstalledSite, installed
from tests.redis_servers import Redis
from tests.sqs_server import Sqs

PYPROJECT = tomllib.loads((ROOT / "packages" / "core" / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]

CONFORMANCE = """\
from django_q.brokers.memory import Memory
from django_q_testkit import BrokerConformance


class TestMemory(BrokerConformance):
    def make_broker(self, list_key):
        return Memory(list_key)
"""

YEARLY = """\
from django_q.tasks import schedule
schedule("math.copysign", 3, -3, schedule_type="C", cron="0 0 1 1 *")
"""

DUE_NOW = """\
from django.utils import timezone
from django_q.models import Schedule
Schedule.objects.update(next_run=timezone.now())
"""

WITHOUT_THE_PLATFORM = """\
import os, sys
import psutil  # which itself needs what is taken away here
processors = sorted(os.sched_getaffinity(0))
sys.modules["resource"] = None
del os.sched_getaffinity
from django_q.cluster.processors import available
from django_q.cluster.worker import Worker
[Worker.rss() > 1024, available() == processors]
"""


# What shows that an extra is in use


def shows_nothing_more(site: InstalledSite) -> None:
    """The broker has taken the task to its worker, which is all that it is for."""


def runs_a_cron_schedule(site: InstalledSite) -> None:
    before = len(site.tasks())
    site.run(YEARLY + DUE_NOW)

    cluster = site.start_cluster()
    site.wait_for_tasks(before + 1)

    [[next_run]] = site.query("SELECT next_run FROM django_q_schedule")
    assert "-01-01 00:00:00" in next_run
    assert cluster.stop() == 0


def titles_its_processes(site: InstalledSite) -> None:
    cluster = site.start_cluster()
    cluster.wait_for_line("running")

    site.wait_until(
        lambda: (
            {"idle", "monitor", "pusher"}
            <= {command_line(pid).rpartition(" ")[2] for pid in cluster.descendants()}
        ),
        what="processes that are called what they do",
    )

    assert cluster.stop() == 0


def stands_in_for_the_platform(site: InstalledSite) -> None:
    assert site.run(WITHOUT_THE_PLATFORM) == [True, True]


def draws_the_clusters(site: InstalledSite) -> None:
    cluster = site.start_cluster()

    def drawn() -> list[list[str]]:
        return [line.split() for line in site.manage("qmonitor", check=False).stdout.splitlines()]

    # Those that ended a moment ago may be shown as well.
    site.wait_until(lambda: any(str(cluster.pid) in row for row in drawn()), what="the cluster")
    assert drawn()[0] == ["Host", "Id", "State", "Pool", "TQ", "RQ", "RC", "Up"]
    assert cluster.stop() == 0


def parses_what_redis_answers(site: InstalledSite) -> None:
    parser = "from redis.connection import DefaultParser; DefaultParser.__module__"

    assert site.run(parser) == "redis._parsers.hiredis"


def runs_the_conformance_suite(site: InstalledSite) -> None:
    (site.path / "test_memory.py").write_text(CONFORMANCE)

    done = site.python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_memory.py", timeout=300
    )

    assert " passed" in done.stdout


@dataclass(frozen=True)
class Use:
    """With which broker an extra is shown, what has to be installed for that, and how."""

    show: Callable[[InstalledSite], None]
    broker: str = "orm"
    beside: tuple[str, ...] = ("orm",)


LIBRARIES = {
    "cron": Use(runs_a_cron_schedule),
    "hiredis": Use(parses_what_redis_answers, "redis", ("redis",)),
    "monitor": Use(draws_the_clusters),
    "psutil": Use(stands_in_for_the_platform),
    "setproctitle": Use(titles_its_processes),
}

USES = LIBRARIES | {
    "disque": Use(shows_nothing_more, "disque", ()),
    "ironmq": Use(shows_nothing_more, "ironmq", ()),
    "mongo": Use(shows_nothing_more, "mongo", ()),
    "orm": Use(shows_nothing_more, "orm", ()),
    "redis": Use(shows_nothing_more, "redis", ()),
    "sqs": Use(shows_nothing_more, "sqs", ()),
    "testkit": Use(runs_the_conformance_suite),
}

CLASSES = {
    "disque": "django_q_broker_disque.broker",
    "ironmq": "django_q_broker_ironmq.broker",
    "mongo": "django_q_broker_mongo.broker",
    "orm": "django_q_broker_orm.broker",
    "redis": "django_q_broker_redis.broker",
    "sqs": "django_q_broker_sqs.broker",
}
"""Where the class of each broker is."""

KEYS = {"ironmq": "iron_mq", "mongo": "mongo", "redis": "redis", "sqs": "sqs"}
"""The key of `Q_CLUSTER` that names each broker's server, the fixture `BROKER_server`."""


# The tests


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    """Yield a Redis of this module's own."""
    server = Redis()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def disque_server() -> Iterator[DisqueStub]:
    """Yield a stub of Disque of this module's own."""
    server = DisqueStub()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def ironmq_server() -> Iterator[IronMQ]:
    """Yield a stub of IronMQ of this module's own."""
    server = IronMQ()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def mongo_server() -> Iterator[Mongo]:
    """Yield a stand-in for MongoDB of this module's own."""
    server = Mongo()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def sqs_server() -> Iterator[Sqs]:
    """Yield an SQS of this module's own."""
    server = Sqs()
    server.start()
    yield server
    server.close()


@pytest.fixture
def q_cluster(request: pytest.FixtureRequest) -> Callable[[str], dict[str, Any]]:
    """Return what the settings say of a broker; its server is started if it has one."""

    def options(broker: str) -> dict[str, Any]:
        if broker == "orm":
            return {"orm": "default"}
        server = request.getfixturevalue(f"{broker}_server")
        if broker == "disque":
            return {"orm": None} | server.settings()
        return {"orm": None, KEYS[broker]: server.settings()}

    return options


def assert_a_task_goes_through(site: InstalledSite, broker: str, options: dict[str, Any]) -> None:
    site.configure(options)
    site.migrate()

    result, core, module = site.run_a_task()

    assert result == -2
    assert module == CLASSES[broker]
    assert Path(core).is_relative_to(site.path.parent / "venv")


def test_every_extra_is_shown_in_use() -> None:
    assert USES.keys() == EXTRAS.keys() - {"all"}


@pytest.mark.parametrize("extra", sorted(USES))
def test_an_extra_is_installed_from_its_wheel_and_used(
    extra: str, wheels: list[Wheel], q_cluster: Callable[[str], dict[str, Any]]
) -> None:
    use = USES[extra]

    with installed(wheels, extra, *use.beside) as site:
        assert_a_task_goes_through(site, use.broker, q_cluster(use.broker))
        use.show(site)


def test_all_extras_are_installed_and_the_libraries_among_them_used(
    wheels: list[Wheel], q_cluster: Callable[[str], dict[str, Any]]
) -> None:
    with installed(wheels, "all") as site:
        for broker in CLASSES:
            assert_a_task_goes_through(site, broker, q_cluster(broker))
        for use in LIBRARIES.values():
            use.show(site)


# What is not installed says what to install


@pytest.fixture(scope="module")
def bare(wheels: list[Wheel]) -> Iterator[InstalledSite]:
    """Yield a site with core alone."""
    with installed(wheels) as site:
        site.configure({"orm": None})
        site.migrate()
        yield site


@pytest.mark.parametrize(
    ("asked", "extra"),
    [({}, "orm"), ({"redis": {"host": "localhost"}}, "redis"), ({"orm": "default"}, "orm")],
)
def test_core_alone_says_which_extra_the_settings_need(
    bare: InstalledSite, asked: dict[str, Any], extra: str
) -> None:
    bare.configure({"orm": None} | asked)
    cure = f'pip install "django-q-core[{extra}]"'

    cluster = bare.manage("qcluster", check=False)
    info = bare.manage("qinfo", "--plugins", check=False)
    enqueue = bare.python(
        "import django; django.setup(); from django_q.tasks import async_task; async_task('f.g')",
        check=False,
    )

    assert (cluster.returncode, info.returncode, enqueue.returncode) == (1, 1, 1)
    assert cure in cluster.stderr
    assert cure in info.stdout
    assert cure in enqueue.stderr


def test_the_old_path_of_a_broker_says_which_extra_it_needs(bare: InstalledSite) -> None:
    done = bare.python("import django_q.brokers.redis_broker", check=False)

    assert done.returncode == 1
    assert 'pip install "django-q-core[redis]"' in done.stderr


def test_a_cron_schedule_says_which_extra_it_needs(bare: InstalledSite) -> None:
    done = bare.python("import django; django.setup()\n" + YEARLY, check=False)

    assert done.returncode == 1
    assert 'pip install "django-q-core[cron]"' in done.stderr
