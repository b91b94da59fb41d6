"""A cluster that stood still longer than `retry`: what was taken over is its own no more."""

import os
import signal
import time

from tests.chaos import enqueue, is_done, members
from tests.faults.locking import halt, halt_one
from tests.harness import Project

RETRY = 1


def test_a_halted_cluster_starts_nothing_that_another_has_taken_over(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', f'early-{i}') for i in range(60)]\n"
        f"async_task('tests.jobs.gate', 'running', {gate.path!r})\n"
        "[async_task('tests.jobs.ok', f'late-{i}') for i in range(60)] and None"
    )
    halted = project.start_cluster()
    project.wait_until(lambda: "running" in project.starts(), what="the start of the long task")
    project.wait_for_tasks(60)

    halt(project, halted)
    gate.open()
    other = project.start_cluster()
    project.wait_for_tasks(121)
    halted.send(signal.SIGCONT, group=True)

    assert other.stop() == 0
    assert halted.stop() == 0
    starts = project.starts()
    assert starts.pop("running") == 2
    assert len(starts) == 120
    assert set(starts.values()) == {1}
    assert all(task["success"] for task in project.tasks())
    assert len(project.tasks()) == 121


def test_a_pusher_that_was_halted_hands_out_nothing_that_has_lapsed(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', f'early-{i}') for i in range(60)]\n"
        f"async_task('tests.jobs.gate', 'running', {gate.path!r})\n"
        "[async_task('tests.jobs.ok', f'late-{i}') for i in range(60)] and None"
    )
    first = project.start_cluster()
    pusher = first.pid_of("pushing tasks at")
    project.wait_until(lambda: "running" in project.starts(), what="the start of the long task")

    halt_one(project, pusher)
    other = project.start_cluster()
    project.wait_until(
        lambda: project.starts()["running"] == 2 or len(project.starts()) == 121,
        what="the other cluster's taking over",
    )
    gate.open()
    project.wait_for_tasks(121)
    os.kill(pusher, signal.SIGCONT)

    assert other.stop() == 0
    assert first.stop() == 0
    late = {label: n for label, n in project.starts().items() if label != "running"}
    assert len(late) == 120
    assert set(late.values()) == {1}


def test_members_that_stand_still_shorter_or_longer_than_retry_cost_nothing(
    project: Project,
) -> None:
    labels = [f"task-{number}" for number in range(1000)]
    project.configure({"retry": RETRY, "save_limit": 0})
    enqueue(project, labels, "tests.jobs.sleep", 0.005)
    cluster = project.start_cluster()

    for role in ("pusher", "monitor", "worker", "sentinel", "main", "scheduler"):
        project.wait_for_starts(10)
        for seconds in (RETRY * 0.2, RETRY * 1.4):
            [pid, *_] = project.wait_until(lambda role=role: members(project).get(role), what=role)
            os.kill(pid, signal.SIGSTOP)
            # No event tells of the end of a lease that nobody could renew.
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

    project.wait_until(lambda: is_done(project, labels), what="the success of all tasks")
    assert project.starts() == dict.fromkeys(labels, 1)
    assert cluster.stop() == 0


def test_a_zombies_late_result_overwrites_nothing_and_runs_no_hook(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": RETRY})
    (project.path / "zombies.py").write_text(
        "import os\n"
        "from tests.jobs import gate\n"
        "def work(label, path):\n"
        "    gate(label, path)\n"
        "    if os.path.exists('late'):\n"
        "        raise ValueError('the result of a zombie')\n"
        "    return 'the result of the living'\n"
    )
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('zombies.work', 'task', {gate.path!r}, hook='tests.jobs.note_hook')"
    )
    zombie = project.start_cluster()
    project.wait_for_starts(1)

    halt(project, zombie)
    living = project.start_cluster()
    project.wait_for_starts(2)
    gate.open()
    project.wait_until(lambda: project.queue.is_empty, what="its end")
    recorded = project.tasks()
    (project.path / "late").touch()
    zombie.send(signal.SIGCONT, group=True)
    zombie.wait_for_line("Failed .* the result of a zombie")

    assert zombie.stop() == living.stop() == 0
    assert project.tasks() == recorded
    assert [task["success"] for task in recorded] == [True]
    assert sum(note.event == "hook" for note in project.ledger()) == 1
