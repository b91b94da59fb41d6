"""Workers that are replaced for their age or size, pinned to processors, or have children."""

import os

import pytest

from tests.harness import Project


def test_recycle_replaces_a_worker_after_exactly_so_many_tasks(project: Project) -> None:
    project.configure({"workers": 1, "recycle": 3})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', i) for i in range(9)] and None"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    pids = [note.pid for note in project.ledger()]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3]
    assert set(project.starts().values()) == {1}
    assert "died" not in cluster.log


def test_a_cluster_that_replaces_every_worker_after_each_task_still_runs_them_all_once(
    project: Project,
) -> None:
    project.configure({"workers": 2, "recycle": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', i) for i in range(60)] and None"
    )

    cluster = project.start_cluster("--run-once")

    assert cluster.wait(60) == 0
    starts = project.starts()
    assert len(starts) == starts.total() == 60


def test_max_rss_replaces_a_worker_that_has_grown(project: Project) -> None:
    project.configure({"workers": 1, "max_rss": 200_000})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 'before')\n"
        "async_task('tests.jobs.allocate', 'large', 200)\n"
        "async_task('tests.jobs.ok', 'after')"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    pids = {note.label: note.pid for note in project.ledger()}
    assert pids["before"] == pids["large"] != pids["after"]
    assert [task["success"] for task in project.tasks()] == [1, 1, 1]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_each_worker_is_pinned_to_a_processor_of_its_own(project: Project) -> None:
    gate = project.gate()
    (project.path / "pinned.py").write_text(
        "from tests.jobs import affinity, gate\n"
        f"def where(label):\n    gate(label, {gate.path!r})\n    return affinity(label)\n"
    )
    project.configure({"workers": 2, "cpu_affinity": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('pinned.where', i) for i in range(2)] and None"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(2)
    gate.open()
    project.wait_for_tasks(2)

    found = project.run("from django_q.models import Task; [t.result for t in Task.objects.all()]")
    assert sorted(found) == [[cpu] for cpu in sorted(os.sched_getaffinity(0))[:2]]
    cluster.wait_for_line(r"will use cpu \[\d+\]", count=2)
    assert cluster.stop() == 0


CHILDREN = """\
import multiprocessing
import signal

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def handlers():
    return [signal.getsignal(number) == signal.SIG_DFL for number in NUMBERS]


def tell(connection):
    connection.send(handlers())


def spawn_child():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=tell, args=(theirs,))
    child.start()
    answer = ours.recv()
    child.join()
    return answer
"""


@pytest.mark.parametrize("daemonize", [True, False])
def test_a_task_may_start_processes_unless_its_worker_is_daemonic(
    project: Project, daemonize: bool
) -> None:
    (project.path / "children.py").write_text(CHILDREN)
    project.configure({"workers": 1, "daemonize_workers": daemonize, "ack_failures": True})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('children.spawn_child')\n"
        "async_task('tests.jobs.child_process', 'program')"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    results = project.run(
        "from django_q.models import Task; {t.func: t.result for t in Task.objects.all()}"
    )
    assert results["tests.jobs.child_process"] == "child"
    if daemonize:
        assert "daemonic processes are not allowed to have children" in str(
            results["children.spawn_child"]
        )
    else:
        # The cluster's own deafness to signals is not passed on.
        assert results["children.spawn_child"] == [True, True, True]
