"""The admin's lists of a large table on PostgreSQL: no query reads it from one end to the other."""

from __future__ import annotations

import pytest

from tests.admin_lists import SITE, nodes
from tests.harness import Project

ROWS = 200_000

SHOWN = {
    "successes": 100,
    "a middling group": 10,
    "no such group": 0,
    "no group": 100,
    "a small cluster": 1,
    "the last day": 100,
    "day and cluster": 1,
    "failures": 20,
    "failures of a cluster": 13,
    "reason in failures": True,
    "reason in a failure": True,
}
"""What some of the lists show of a thousand tasks."""


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_every_query_of_a_list_of_tasks_goes_by_an_index(project: Project) -> None:
    project.configure({}, **SITE)
    project.run(f"from tests.admin_lists import fill; fill({ROWS})")

    plans = project.run("from tests.admin_lists import explained; explained()")

    assert len(plans) >= 20
    for title, queries in plans.items():
        assert len(queries) >= 4, f"{title}: the rows, their count and two filters were expected"
        for sql, plan in queries:
            scans = [node for node in nodes(plan) if node.get("Relation Name") == "django_q_task"]
            assert "Seq Scan" not in {scan["Node Type"] for scan in scans}, (
                f"{title}: {sql}\n{plan}"
            )


@pytest.mark.parametrize("database_name", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_lists_of_tasks_are_the_same_on_every_database(project: Project) -> None:
    project.configure({}, **SITE)
    project.run("from tests.admin_lists import fill; fill(1000)")

    seen = project.run("from tests.admin_lists import seen; seen()")

    assert seen | SHOWN == seen
