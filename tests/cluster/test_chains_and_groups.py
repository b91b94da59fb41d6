"""Chains, iterables, groups and cached results in real clusters."""

from typing import Any

from tests.harness import Project


def file_cache(project: Project) -> dict[str, Any]:
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    return {"default": {"BACKEND": backend, "LOCATION": str(project.path / "cache")}}


def test_a_chain_runs_its_links_in_order_also_when_nothing_is_saved(project: Project) -> None:
    project.run(
        "from django_q.tasks import async_chain\n"
        "async_chain([('tests.jobs.ok', (f'saved-{i}',)) for i in range(4)])\n"
        "async_chain([('tests.jobs.ok', (f'unsaved-{i}',), {'save': False}) for i in range(4)])"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    order = [note.label for note in project.ledger() if note.event == "start"]
    for kind in ("saved", "unsaved"):
        links = [f"{kind}-{i}" for i in range(4)]
        assert [label for label in order if label in links] == links
    assert len(order) == 8
    assert len(project.tasks()) == 4


def test_a_chain_stops_at_a_failed_link_and_goes_on_once_after_its_success(
    project: Project,
) -> None:
    project.configure({"max_attempts": 3, "backoff": 0.05})
    group = project.run(
        "from django_q.tasks import async_chain\n"
        "async_chain([('tests.jobs.ok', ('one',)), ('tests.jobs.fail', ('wrong',)),\n"
        "             ('tests.jobs.ok', ('never',))])\n"
        "async_chain([('tests.jobs.fail_times', ('late', 2)), ('tests.jobs.ok', ('then',)),\n"
        "             ('tests.jobs.ok', ('last',))])"
    )

    cluster = project.start_cluster()
    project.wait_until(lambda: project.query("SELECT count(*) FROM django_q_ormq") == [(0,)])
    assert cluster.stop() == 0

    assert project.starts() == {"one": 1, "wrong": 3, "late": 3, "then": 1, "last": 1}
    assert len([task for task in project.tasks() if task["group"] == group]) == 3


def test_an_iterable_is_collated_once_by_two_clusters_without_a_shared_cache(
    project: Project,
) -> None:
    gate = project.gate()
    project.configure({"workers": 1})
    group = project.run(
        "from django_q.tasks import async_iter\n"
        f"async_iter('tests.jobs.gate', [(i, {gate.path!r}) for i in range(60)])"
    )

    clusters = [project.start_cluster() for _ in range(2)]
    project.wait_for_starts(2)
    gate.open()
    project.wait_for_tasks(1)
    assert [cluster.stop() for cluster in clusters] == [0, 0]

    result = project.run(f"from django_q.tasks import result; result({group!r})")
    assert result == list(range(60))
    assert set(project.starts().values()) == {1}
    assert len(project.starts()) == 60
    assert len({note.pid for note in project.ledger()}) == 2
    assert len(project.tasks()) == 1


def test_a_group_is_waited_for_by_its_count(project: Project) -> None:
    cluster = project.start_cluster()

    answers = project.run(
        "from django_q.tasks import async_task, count_group, result_group\n"
        "for i in range(8):\n"
        "    async_task('math.fabs', i, group='some')\n"
        "async_task('tests.jobs.fail', 'x', group='some', ack_failure=True)\n"
        "[sorted(result_group('some', count=9, wait=20000)),\n"
        " count_group('some'), count_group('some', failures=True)]"
    )

    assert answers == [[float(i) for i in range(8)], 9, 1]
    assert cluster.stop() == 0


def test_cached_results_groups_and_iterables_are_read_from_a_shared_cache(
    project: Project,
) -> None:
    project.configure({"cached": True}, CACHES=file_cache(project))
    cluster = project.start_cluster()

    answers = project.run(
        "from django_q.tasks import async_chain, async_iter, async_task, result, result_group\n"
        "one = async_task('math.fabs', -1)\n"
        "for i in range(5):\n"
        "    async_task('math.fabs', i, group='some')\n"
        "many = async_iter('math.fabs', range(5))\n"
        "chain = async_chain([('math.fabs', (i,)) for i in range(3)])\n"
        "[result(one, wait=20000), sorted(result_group('some', count=5, wait=20000)),\n"
        " sorted(result(many, wait=20000)), sorted(result_group(chain, count=3, wait=20000))]"
    )

    assert answers == [1.0, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2]]
    assert cluster.stop() == 0
    assert project.tasks() == []
