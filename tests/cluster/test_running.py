"""A cluster runs what is queued, and stops."""

from tests.harness import Project


def test_a_queued_task_runs_and_its_result_is_recorded(project: Project) -> None:
    project.configure({"workers": 2})
    project.run('from django_q.tasks import async_task; async_task("math.copysign", 2, -2)')

    cluster = project.start_cluster("--run-once")

    assert cluster.wait() == 0, cluster.log
    [task] = project.tasks()
    assert task["success"] == 1
