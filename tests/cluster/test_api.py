"""The public API against a real cluster: groups, iterables, chains, hooks and their results."""

from tests.harness import Project

QUEUE_ALL = """
from django_q.tasks import *
ids = {
    "iter": async_iter("math.floor", [n / 2 for n in range(40)]),
    "chain": async_chain([("math.copysign", (1, -1)), ("math.floor", (1,)), ("math.ceil", (2.5,))]),
    "stopped": async_chain([("math.floor", (1,)), ("math.sqrt", (-1,)), ("math.floor", (2,))]),
}
for n in range(4):
    async_task("math.modf", n, group="modf")
"""

READ_ALL = """
{
    "iter": result(ids["iter"], wait=20000),
    "chain": sorted(result_group(ids["chain"], count=3, wait=20000)),
    "stopped": len(fetch_group(ids["stopped"], count=2, wait=20000)),
    "modf": sorted(result_group("modf", count=4, wait=20000)),
}
"""


def test_groups_iterables_and_chains_complete(project: Project) -> None:
    project.configure({"workers": 2, "max_attempts": 1})
    cluster = project.start_cluster()

    found = project.run(QUEUE_ALL + READ_ALL)

    assert found["iter"] == [n // 2 for n in range(40)]
    assert found["chain"] == [-1.0, 1, 3]
    assert found["stopped"] == 2
    assert found["modf"] == [[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]
    assert cluster.stop() == 0, cluster.log
