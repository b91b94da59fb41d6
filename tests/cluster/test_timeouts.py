"""Timeouts: what a task that takes too long costs, and whom."""

from tests.harness import Project


def test_a_task_past_its_timeout_costs_itself_and_its_worker_alone(project: Project) -> None:
    project.configure({"workers": 1, "timeout": 0.4, "ack_failures": True})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 'before')\n"
        "async_task('tests.jobs.sleep', 'slow', 60)\n"
        "[async_task('tests.jobs.ok', i) for i in range(10)]"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert len(project.starts()) == 12
    assert set(project.starts().values()) == {1}
    pids = {note.label: note.pid for note in project.ledger()}
    assert pids["before"] == pids["slow"]
    assert pids["slow"] not in {pids[str(i)] for i in range(10)}
    failed = [task for task in project.tasks() if not task["success"]]
    assert [task["func"] for task in failed] == ["tests.jobs.sleep"]
    assert failed[0]["worker_deaths"] == 0


def test_a_task_may_take_longer_or_shorter_than_the_cluster_says(project: Project) -> None:
    project.configure({"workers": 2, "timeout": 1, "ack_failures": True})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.sleep', 'longer', 1.5, timeout=30)\n"
        "async_task('tests.jobs.sleep', 'shorter', 0.8, timeout=0.25)"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    ended = {note.label for note in project.ledger() if note.event == "end"}
    assert ended == {"longer"}
    assert sorted(task["success"] for task in project.tasks()) == [0, 1]


def test_the_task_sees_a_timeout_exception(project: Project) -> None:
    (project.path / "patient.py").write_text(
        "from django_q.exceptions import TimeoutException\n"
        "from tests.jobs import sleep\n"
        "def tidy(label):\n"
        "    try:\n"
        "        sleep(label, 60)\n"
        "    except TimeoutException as error:\n"
        "        return type(error).__name__\n"
    )
    project.run(
        "from django_q.tasks import async_task; async_task('patient.tidy', 'x', timeout=0.25)"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    results = project.run(
        "from django_q.models import Task; [[t.success, t.result] for t in Task.objects.all()]"
    )
    assert results == [[True, "TimeoutException"]]


def test_a_task_that_ignores_its_timeout_is_killed_and_recorded(project: Project) -> None:
    project.configure({"workers": 2, "ack_failures": True, "retry": 600})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.stubborn', 'stubborn', 60, timeout=0.25)\n"
        "[async_task('tests.jobs.sleep', i, 0.2) for i in range(20)]"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    cluster.wait_for_line("exceeded its timeout and is killed")
    assert len(project.starts()) == 21
    assert set(project.starts().values()) == {1}
    stubborn = [task for task in project.tasks() if task["func"] == "tests.jobs.stubborn"]
    assert [(task["success"], task["worker_deaths"]) for task in stubborn] == [(0, 0)]
    cluster.wait_for_line("Failed 'tests.jobs.stubborn' .* did not yield")
