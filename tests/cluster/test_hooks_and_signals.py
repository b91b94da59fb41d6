"""Hooks and lifecycle signals: who is called, how often, with what, and what it can spoil."""

import json

import pytest

from tests.harness import Project

FILE_CACHE = {
    "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": ""}
}

LISTENERS = '''\
"""An app that writes down every lifecycle signal."""

import json
import os

from django.apps import AppConfig

from django_q import signals


def write(signal, **arguments):
    line = json.dumps({"signal": signal, "pid": os.getpid(), **arguments}) + "\\n"
    file = os.open("signals.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


def post_spawn(sender, proc_name, **kwargs):
    write("post_spawn", sender=sender, proc_name=proc_name)


def pre_execute(sender, func, task, **kwargs):
    write("pre_execute", sender=sender, func=func.__name__, keys=sorted(task), name=task["name"])


def post_execute_in_worker(sender, func, task, **kwargs):
    write("post_execute_in_worker", sender=sender, func=func.__name__, name=task["name"],
          success=task["success"], result=str(task["result"]).partition(" : ")[0])


def post_execute(sender, task, **kwargs):
    write("post_execute", sender=sender, name=task["name"], success=task["success"],
          result=str(task["result"]).partition(" : ")[0])


class Config(AppConfig):
    name = "listeners"

    def ready(self):
        for name in ("post_spawn", "pre_execute", "post_execute_in_worker", "post_execute"):
            getattr(signals, name).connect(globals()[name])
'''


def hooked(project: Project) -> list[str]:
    """Return the ids of tasks whose hook was called."""
    return [note.label for note in project.ledger() if note.event == "hook"]


@pytest.mark.parametrize("save_limit", [250, -1])
def test_a_hook_is_called_once_whether_or_not_the_result_is_saved(
    project: Project, save_limit: int
) -> None:
    caches = {"default": FILE_CACHE["default"] | {"LOCATION": str(project.path / "cache")}}
    project.configure({"save_limit": save_limit, "ack_failures": True}, CACHES=caches)
    ids = project.run(
        "from django_q.tasks import async_task\n"
        "hook = 'tests.jobs.note_hook'\n"
        "[async_task('tests.jobs.ok', 'plain', hook=hook),\n"
        " async_task('tests.jobs.ok', 'unsaved', hook=hook, save=False),\n"
        " async_task('tests.jobs.ok', 'cached', hook=hook, cached=True),\n"
        " async_task('tests.jobs.fail', 'failing', hook=hook),\n"
        " async_task('tests.jobs.ok', 'without')][:4]"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert sorted(hooked(project)) == sorted(ids)
    saved = {task["func"] for task in project.tasks()}
    assert saved == (
        {"tests.jobs.ok", "tests.jobs.fail"} if save_limit > 0 else {"tests.jobs.fail"}
    )


def test_a_hook_that_raises_harms_nothing(project: Project) -> None:
    ids = project.run(
        "from django_q.tasks import async_task\n"
        "first = async_task('tests.jobs.ok', 1, hook='tests.jobs.failing_hook')\n"
        "second = async_task('tests.jobs.ok', 2, hook='tests.jobs.note_hook')\n"
        "[first, second]"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert sorted(hooked(project)) == sorted(ids)
    assert [task["success"] for task in project.tasks()] == [1, 1]
    assert project.query("SELECT count(*) FROM django_q_ormq") == [(0,)]
    cluster.wait_for_line("hook on purpose")


def test_a_slow_hook_does_not_delay_the_results_of_others(project: Project) -> None:
    gate = project.gate()
    (project.path / "slow.py").write_text(
        f"from tests.jobs import gate\ndef hook(task):\n    gate('hook', {gate.path!r})\n"
    )
    cluster = project.start_cluster()

    project.run(
        "from django_q.tasks import async_task\nasync_task('math.fabs', 1, hook='slow.hook')"
    )
    project.wait_for_starts(1)
    project.run(
        "from django_q.tasks import async_task\n[async_task('math.fabs', i) for i in range(9)]"
    )
    project.wait_for_tasks(10)
    assert project.query("SELECT count(*) FROM django_q_ormq") == [(1,)]
    gate.open()

    assert cluster.stop() == 0
    assert project.query("SELECT count(*) FROM django_q_ormq") == [(0,)]


def test_each_signal_is_sent_once_with_its_arguments(project: Project) -> None:
    (project.path / "listeners.py").write_text(LISTENERS)
    project.configure(
        {"workers": 1, "ack_failures": True},
        INSTALLED_APPS=["django.contrib.contenttypes", "django_q", "listeners.Config"],
    )
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 1, task_name='good')\n"
        "async_task('tests.jobs.fail', 2, 'went wrong', task_name='bad')"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    lines = [json.loads(line) for line in (project.path / "signals.log").open()]
    assert {line["sender"] for line in lines} == {"django_q"}
    spawned = [line for line in lines if line["signal"] == "post_spawn"]
    worker = cluster.pid_of("ready for work at")
    assert [line["pid"] for line in spawned] == [worker]
    assert f"{spawned[0]['proc_name']} ready for work at {worker}" in cluster.log

    told = [(line["signal"], line["name"]) for line in lines if "name" in line]
    in_order = ["pre_execute", "post_execute_in_worker", "post_execute"]
    for name in ("good", "bad"):
        assert [signal for signal, whose in told if whose == name] == in_order
    before = next(line for line in lines if line["signal"] == "pre_execute")
    assert {"id", "name", "func", "args", "kwargs", "started", "cluster"} <= set(before["keys"])
    after = {(line["signal"], line["name"]): line for line in lines if "result" in line}
    for signal in in_order[1:]:
        assert (after[signal, "good"]["success"], after[signal, "good"]["result"]) == (True, "1")
        assert after[signal, "bad"]["success"] is False
        assert after[signal, "bad"]["result"] == "went wrong"
    monitor = cluster.pid_of("monitoring at")
    assert {line["pid"] for line in lines if line["signal"] == "post_execute"} == {monitor}
