"""A database that nobody can write to for a while: the cluster waits, and loses nothing."""

from tests.faults.locking import locked
from tests.harness import Project


def ended(project: Project) -> int:
    return sum(note.event == "end" for note in project.ledger())


def test_work_that_ends_while_the_database_is_away_longer_than_retry_is_not_repeated(
    project: Project,
) -> None:
    project.configure({"retry": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.sleep', f'long-{i}', 2) for i in range(2)]\n"
        "[async_task('tests.jobs.ok', i) for i in range(20)] and None"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(2)

    with locked(project):
        project.wait_until(lambda: ended(project) == 2, what="the end of the long tasks")

    project.wait_for_tasks(22)
    assert set(project.starts().values()) == {1}
    assert len(project.starts()) == 22
    assert cluster.stop() == 0


def test_a_stop_while_the_database_is_away_waits_for_it(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 600})
    project.run(
        "from django_q.tasks import async_task\n"
        f"[async_task('tests.jobs.gate', i, {gate.path!r}) for i in range(2)] and None"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(1)

    with locked(project):
        cluster.terminate(group=True)
        cluster.wait_for_line("stopped pushing tasks")
        gate.open()
        cluster.wait_for_line("stopped doing work")

    assert cluster.wait(10) == 0, cluster.log
    assert [task["success"] for task in project.tasks()] == [1]
    assert project.queue.counts() == [(0, 0)]
