"""A cluster stops in time also when the database takes nothing, and loses nothing by it."""

from tests.faults.locking import locked
from tests.harness import Project


def test_a_stop_while_the_database_is_locked_is_in_time_and_loses_nothing(
    project: Project,
) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 2, "stop_timeout": 1})
    project.run(
        f"from django_q.tasks import async_task\nasync_task('tests.jobs.gate', 1, {gate.path!r})"
    )
    first = project.start_cluster()
    project.wait_for_starts(1)
    with locked(project):
        gate.open()
        project.wait_until(lambda: [note for note in project.ledger() if note.event == "end"])

        assert first.stop(10) == 0
    assert "and is killed" in first.log
    assert "The sentinel did not stop" not in first.log

    project.start_cluster()
    [task] = project.wait_for_tasks(1)
    assert task["success"]
