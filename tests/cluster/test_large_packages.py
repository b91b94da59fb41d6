"""Packages and results that are larger than the memory between the processes."""

from tests.harness import Project

MEGABYTE = 1024 * 1024

ENQUEUE = f"""\
from django_q.tasks import async_task
large = "x" * (3 * {MEGABYTE})
for i in range(6):
    async_task("builtins.len", large, task_name=f"package-{{i}}")
    async_task("tests.jobs.big", i, 3 * {MEGABYTE}, task_name=f"result-{{i}}")
for i in range(40):
    async_task("tests.jobs.ok", f"small-{{i}}", task_name=f"small-{{i}}")
"""

READ = """\
from django_q.models import Task
{t.name: t.result if isinstance(t.result, (int, str)) else len(t.result)
 for t in Task.objects.all()}
"""


def test_large_packages_and_results_go_through_and_leave_nothing_behind(project: Project) -> None:
    folder = project.path / "tmp"
    folder.mkdir()
    project.run(ENQUEUE)

    cluster = project.start_cluster("--run-once", TMPDIR=str(folder))
    assert cluster.wait() == 0, cluster.log

    results = project.run(READ)
    for i in range(6):
        assert results[f"package-{i}"] == 3 * MEGABYTE
        assert results[f"result-{i}"] == 3 * MEGABYTE
    assert [results[f"small-{i}"] for i in range(40)] == [f"small-{i}" for i in range(40)]
    assert set(project.starts().values()) == {1}
    assert list(folder.iterdir()) == []
