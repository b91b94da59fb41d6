"""Clusters, as Django Q2's own tests use them: every kind of call, timeouts, starts and stops."""

import multiprocessing
from typing import Any

import pytest

from django_q.cluster import get_mp_context
from tests.harness import Project

# Every kind of call

LETTERS = '''\
"""Task functions of a site, and its hooks."""

from django_q.humanhash import DEFAULT_WORDLIST
from tests.jobs import note

LETTERS = sum(len(word) for word in DEFAULT_WORDLIST)


class Words:
    def __init__(self):
        self.words = DEFAULT_WORDLIST


def count(words):
    return sum(len(word) for word in words)


def count_words(holder):
    return count(holder.words)


def product(a, b):
    return a * b


def repeat(times, word=""):
    return times * len(word)


def name_of(task):
    return task.name


def id_of(user):
    return user.id


def nothing(n):
    pass


def hook(task):
    note(f"{task.name}:{task.success}", "hook")
'''

CALLS = """
import letters
from django.contrib.auth.models import User
from django_q.brokers import get_broker
from django_q.models import Task
from django_q.tasks import async_task

user = User.objects.create(username="admin")
hooked = {"hook": "letters.hook"}
ids = [
    async_task("letters.count", letters.DEFAULT_WORDLIST, task_name="path", **hooked),
    async_task("letters.count_words", letters.Words(), task_name="instance", **hooked),
    async_task("letters.count", [], "one too many", task_name="arguments", **hooked),
    async_task("letters.does_not_exist", letters.Words(), task_name="unknown", **hooked),
    async_task("letters.nothing", 100, task_name="none"),
    async_task(letters.product, 753, 2, hook=letters.hook, task_name="callable"),
    async_task("letters.name_of", Task(name="John"), task_name="model"),
    async_task("letters.repeat", 2, word="django", hook="fail.me", task_name="keywords"),
    async_task("letters.id_of", user, group="users", task_name="user"),
    async_task(
        "letters.id_of", user, task_name="unsaved",
        q_options={"broker": get_broker(), "group": "unsaved", "save": False, "timeout": 90},
    ),
]
[ids, user.id, letters.LETTERS, get_broker().queue_size(), str(Task(name="Amalia"))]
"""

ANSWERS = """
import letters
from django_q.models import Task
from django_q.tasks import fetch, result
{task.name: [task.success, result(task.id) == result(task.name) == fetch(task.name).result,
             task.result if task.success else None] for task in Task.objects.all()}
"""

GROUP = """
from django_q.tasks import *
task = fetch("user")
before = [
    result_group("users"), list(task.group_result()), result_group("users", failures=True),
    [found.id == task.id for found in fetch_group("users", failures=False)],
    count_group("users"), task.group_count(),
    count_group("users", failures=True), task.group_count(failures=True),
]
[before, delete_group("users"), task.group_delete(), delete_group("users", tasks=True)[0],
 task.group_delete(tasks=True)[0], fetch("unsaved", 100), result("unsaved", 100)]
"""


def test_every_kind_of_call_ends_as_it_should(project: Project) -> None:
    (project.path / "letters.py").write_text(LETTERS)
    project.configure({"workers": 2, "ack_failures": True})
    ids, user, letters, queued, amalia = project.run(CALLS)
    assert (queued, amalia, len({*ids})) == (10, "Amalia", 10)
    assert {len(task_id) for task_id in ids} == {32}

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert project.run(ANSWERS) == {
        "path": [True, True, letters],
        "instance": [True, True, letters],
        "arguments": [False, True, None],
        "unknown": [False, True, None],
        "none": [True, True, None],
        "callable": [True, True, 1506],
        "model": [True, True, "John"],
        "keywords": [True, True, 12],
        "user": [True, True, user],
    }
    assert letters == 1506
    hooks = {note.label for note in project.ledger() if note.event == "hook"}
    assert hooks == {
        *("path:True", "instance:True", "callable:True"),
        *("arguments:False", "unknown:False"),
    }
    grouped = [[user], [user], [user], [True], 1, 1, 0, 0]
    assert project.run(GROUP) == [grouped, 1, 0, 0, 0, None, None]


# Attempts

GATED = """\
from tests.jobs import gate


def fail(label, paths):
    # Each attempt waits at the gate of its own.
    started = open(LEDGER).read().split().count("start")
    gate(label, paths[started])
    raise ValueError("on purpose")
"""


def test_each_failed_attempt_is_counted_and_dated_until_the_last(project: Project) -> None:
    gates = [project.gate(name) for name in ("first", "second", "third")]
    (project.path / "gated.py").write_text(f"LEDGER = {str(project.ledger_path)!r}\n{GATED}")
    project.configure({"workers": 1, "max_attempts": 3, "backoff": 0})
    paths = [gate.path for gate in gates]
    project.run(f"from django_q.tasks import async_task; async_task('gated.fail', 'x', {paths!r})")

    cluster = project.start_cluster()
    rows = []
    for attempt, gate in enumerate(gates, 1):
        gate.open()
        project.wait_until(lambda n=attempt: [t["attempt_count"] for t in project.tasks()] == [n])
        rows += project.tasks()
    project.wait_until(lambda: project.query("SELECT count(*) FROM django_q_ormq") == [(0,)])
    assert cluster.stop() == 0, cluster.log

    assert [row["success"] for row in rows] == [0, 0, 0]
    assert rows[0]["stopped"] < rows[1]["stopped"] < rows[2]["stopped"]
    assert project.starts() == {"x": 3}


# Timeouts


@pytest.mark.parametrize(
    ("cluster_timeout", "cut_short", "finished"),
    [
        (0.4, [{}], [{"timeout": 30}]),
        (30, [{"timeout": 0.4}], [{}, {"timeout": 20}]),
        (None, [{"timeout": 0.4}], [{"timeout": 30}]),
    ],
    ids=["short", "long", "none"],
)
def test_the_timeout_of_a_task_wins_over_that_of_its_cluster(
    project: Project,
    cluster_timeout: float | None,
    cut_short: list[dict[str, Any]],
    finished: list[dict[str, Any]],
) -> None:
    project.configure({"workers": 1, "timeout": cluster_timeout, "ack_failures": True})
    project.run(
        "from django_q.tasks import async_task\n"
        f"for options in {finished!r}:\n"
        "    async_task('tests.jobs.sleep', 'finished', 0.8, **options)\n"
        f"for options in {cut_short!r}:\n"
        "    async_task('tests.jobs.sleep', 'cut-short', 60, **options)\n"
        "async_task('tests.jobs.ok', 'after', timeout=30)"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    ended = [note.label for note in project.ledger() if note.event == "end"]
    assert ended == ["finished"] * len(finished)
    assert sum(not task["success"] for task in project.tasks()) == len(cut_short)
    # Who was cut short is replaced; who finished is not.
    pids = {
        label: {n.pid for n in project.ledger() if n.label == label} for label in project.starts()
    }
    assert pids["finished"] == pids["cut-short"] != pids["after"]


# Clusters in user code

LIFE = """\

import django

django.setup()

from django_q.brokers import get_broker
from django_q.cluster import Cluster
from django_q.conf import Conf
from django_q.tasks import async_task, result


def state():
    return {name for name in ("is_starting", "is_running", "is_stopping", "has_stopped")
            if getattr(cluster, name)}


cluster = Cluster(broker=get_broker("initial_test:q"))
assert cluster.sentinel is None
assert cluster.stat.status == Conf.STOPPED
assert cluster.start() > 0
assert cluster.sentinel.is_alive() is True
assert state() == {"is_running"}, state()
assert cluster.wait_until(lambda: cluster.stat.status == Conf.IDLE, 20)
for _ in range(3):
    task = async_task("tests.jobs.pid", "x", broker=cluster.broker)
    assert result(task, wait=20000)
assert cluster.wait_until(lambda: cluster.stat.reincarnations == 1, 20)
assert cluster.stop() is True
assert cluster.sentinel.is_alive() is False
assert state() == {"has_stopped"}, state()
assert cluster.stop() is False
print("ALL TRUE")
"""


def test_a_cluster_goes_through_its_states_and_counts_the_workers_it_replaced(
    project: Project,
) -> None:
    # A stop that waited for the end of a guard cycle would outlast the script's time.
    project.configure({"workers": 1, "recycle": 2, "guard_cycle": 59})
    (project.path / "life.py").write_text(LIFE)

    done = project.python("life.py", timeout=50)

    assert "ALL TRUE" in done.stdout
    pids = [note.pid for note in project.ledger()]
    assert pids[0] == pids[1] != pids[2]


SLOW = """\
import os

from django_q_broker_orm.broker import ORM


class Slow(ORM):
    \"\"\"Tells the main process that it is asked, and does not answer.\"\"\"

    def ping(self):
        os.write(int(os.environ["TELL"]), b"!")
        os.read(int(os.environ["GO_ON"]), 1)
        return True
"""

EARLY = """\
import os
import signal
import threading

heard, tell = os.pipe()
go_on, let_go = os.pipe()
os.environ["TELL"], os.environ["GO_ON"] = str(tell), str(go_on)

import django

django.setup()

from django_q.cluster import Cluster
from django_q.conf import Conf


def interrupt():
    os.read(heard, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    os.write(let_go, b"!" * 100)


cluster = Cluster()
threading.Thread(target=interrupt, daemon=True).start()
cluster.start()
cluster.join()
assert cluster.stat.status == Conf.STOPPED
assert cluster.sentinel.is_alive() is False
assert cluster.has_stopped
print("ALL TRUE")
"""


def test_a_signal_before_the_broker_has_answered_stops_the_cluster(project: Project) -> None:
    project.configure({"orm": "default", "broker_class": "slow.Slow"})
    (project.path / "slow.py").write_text(SLOW)
    (project.path / "early.py").write_text(EARLY)

    done = project.python("early.py", timeout=60)

    assert "ALL TRUE" in done.stdout


def test_the_command_may_be_called_from_code(project: Project) -> None:
    project.run(
        "from django.core.management import call_command\n"
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 'x')\n"
        "call_command('qcluster', run_once=True)"
    )

    assert project.starts() == {"x": 1}
    assert [task["success"] for task in project.tasks()] == [1]


# Status


STRANGER = """
from django_q.conf import Conf
from django_q.status import Stat
before = [stat.pid for stat in Stat.get_all()]
[stat] = Stat.get_all()
Conf.SECRET_KEY = "OOPS"
[before, Stat.get_all(), Stat.get(pid=stat.pid, cluster_id=stat.cluster_id)]
"""


def test_a_site_of_another_key_neither_sees_the_cluster_nor_gives_it_work(
    project: Project,
) -> None:
    cluster = project.start_cluster()
    project.wait_until(lambda: project.run("from django_q.status import Stat; len(Stat.get_all())"))

    assert project.run(STRANGER) == [[cluster.pid], [], None]
    project.run(
        "from django_q.conf import Conf; from django_q.tasks import async_task\n"
        "Conf.SECRET_KEY = 'OOPS'\n"
        "async_task('tests.jobs.ok', 'forged')"
    )
    cluster.wait_for_line("nobody here has signed")

    assert cluster.stop() == 0
    assert (project.starts(), project.tasks()) == ({}, [])


def test_a_cluster_that_nobody_knows_has_no_sentinel(project: Project) -> None:
    assert (
        project.run(
            "import uuid; from django_q.status import Stat\n"
            "Stat.get(pid=0, cluster_id=uuid.uuid4()).sentinel"
        )
        == 0
    )


# How processes are started


def test_processes_are_forked_where_that_is_possible() -> None:
    assert "fork" in multiprocessing.get_all_start_methods()

    assert get_mp_context().get_start_method() == "fork"


def test_without_fork_the_platform_says_how_processes_are_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])

    context = get_mp_context()

    assert context is multiprocessing.get_context(None)
