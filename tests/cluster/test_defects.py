"""Defects of Django Q2 that take a real cluster to show that they are not here, and no other test
shows."""

from tests.harness import Project

QUEUED = "SELECT count(*) FROM django_q_ormq"

RAISING = '''\
"""An app whose handlers raise after each task."""

from django.apps import AppConfig

from django_q.signals import post_execute, post_execute_in_worker


def refuse(sender, task, **kwargs):
    raise RuntimeError("the handler says no")


class Config(AppConfig):
    name = "raising"

    def ready(self):
        post_execute.connect(refuse)
        post_execute_in_worker.connect(refuse)
'''


def test_a_task_that_two_workers_run_at_once_has_one_result_one_hook_and_one_successor(
    project: Project,
) -> None:
    gate = project.gate()
    project.run(
        "from django_q.tasks import async_chain\n"
        f"first = ('tests.jobs.gate', ('twice', {gate.path!r}), "
        "{'hook': 'tests.jobs.note_hook'})\n"
        "async_chain([first, ('tests.jobs.ok', ('next',))])"
    )
    project.query(
        "INSERT INTO django_q_ormq (key, payload, lock, priority, lapses, attempts)"
        " SELECT key, payload, lock, priority, lapses, attempts FROM django_q_ormq"
    )

    cluster = project.start_cluster()
    project.wait_for_starts(2)
    gate.open()
    project.wait_until(lambda: project.query(QUEUED) == [(0,)], what="an empty queue")
    assert cluster.stop() == 0, cluster.log

    assert project.starts() == {"twice": 2, "next": 1}
    assert sum(note.event == "hook" for note in project.ledger()) == 1
    assert sorted(task["func"] for task in project.tasks()) == ["tests.jobs.gate", "tests.jobs.ok"]


def test_a_row_that_the_database_refuses_costs_itself_alone_and_says_so(project: Project) -> None:
    project.query(
        "CREATE TRIGGER narrow BEFORE INSERT ON django_q_task WHEN NEW.name = 'bad' AND NEW.success"
        " BEGIN SELECT RAISE(ABORT, 'value too long'); END"
    )
    project.run(
        "from django_q.tasks import async_task\n"
        "for i in range(30):\n"
        "    async_task('tests.jobs.ok', i, task_name='bad' if i == 17 else 'good')"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert set(project.starts().values()) == {1}
    assert [task["name"] for task in project.tasks() if not task["success"]] == ["bad"]
    assert len(project.tasks()) == 30
    assert project.query(QUEUED) == [(0,)]
    reason = project.run("from django_q.models import Failure; Failure.objects.get().result")
    assert "value too long" in reason


def test_handlers_that_raise_after_a_task_cost_neither_result_nor_process(project: Project) -> None:
    (project.path / "raising.py").write_text(RAISING)
    project.configure(
        {"workers": 1},
        INSTALLED_APPS=["django.contrib.contenttypes", "django_q", "raising.Config"],
    )
    project.run(
        "from django_q.tasks import async_task\n[async_task('tests.jobs.ok', i) for i in range(9)]"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert [task["success"] for task in project.tasks()] == [1] * 9
    assert len({note.pid for note in project.ledger()}) == 1
    assert cluster.log.count("monitoring at") == 1
    assert cluster.log.count("of post_execute raised") == 9
    assert cluster.log.count("of post_execute_in_worker raised") == 9


def test_a_cluster_is_idle_again_after_a_result_that_no_pickle_holds(project: Project) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.generator', 'x', ack_failure=True)"
    )
    stats = (
        "from django_q.status import Stat\n"
        "[[str(stat.status), stat.task_q_size, stat.done_q_size] for stat in Stat.get_all()]"
    )

    cluster = project.start_cluster()
    [task] = project.wait_for_tasks(1)
    found = project.wait_until(
        lambda: [stat for stat in project.run(stats) if stat[0] == "Idle"], what="an idle cluster"
    )
    assert cluster.stop() == 0, cluster.log

    assert not task["success"]
    assert found == [["Idle", 0, 0]]


def test_a_package_that_ended_its_cluster_max_lapses_times_is_recorded_as_failed(
    project: Project,
) -> None:
    project.configure({"max_lapses": 3})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 'fatal')\n"
        "async_task('tests.jobs.ok', 'last-chance')"
    )
    project.query("UPDATE django_q_ormq SET lapses = 4 - id")

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert [note.label for note in project.ledger()] == ["last-chance"]
    reason = project.run("from django_q.models import Failure; Failure.objects.get().result")
    assert "Claimed 3 times without an end" in reason
    assert project.query(QUEUED) == [(0,)]


def test_a_package_whose_success_was_recorded_before_its_cluster_died_is_not_run_again(
    project: Project,
) -> None:
    project.run("from django_q.tasks import async_task; async_task('tests.jobs.ok', 'once')")
    columns = "key, payload, lock, priority, attempts"
    project.query("CREATE TABLE kept AS SELECT * FROM django_q_ormq")
    first = project.start_cluster("--run-once")
    assert first.wait() == 0, first.log
    project.query(f"INSERT INTO django_q_ormq ({columns}, lapses) SELECT {columns}, 1 FROM kept")

    second = project.start_cluster("--run-once")
    assert second.wait() == 0, second.log

    assert project.starts() == {"once": 1}
    assert project.query(QUEUED) == [(0,)]
    [task] = project.tasks()
    assert (task["success"], task["attempt_count"]) == (1, 1)
