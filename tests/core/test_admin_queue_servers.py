"""What the admin does to queued tasks, finished tasks and schedules, on database servers."""

from __future__ import annotations

import pytest

from tests.admin_lists import SITE, nodes
from tests.harness import Project

ROWS = 200_000
READ_AT_MOST = 10_500
"""Rows that one query of a list may read: what is counted at most, and a page."""


@pytest.mark.parametrize("database_name", ["postgresql", "mariadb"], indirect=True)
def test_the_actions_are_the_same_on_every_server(project: Project) -> None:
    project.configure({"name": "tests"}, ALLOWED_HOSTS=["testserver"], **SITE)
    project.python("manage.py", "migrate", "admin", "--verbosity", "0")

    assert project.run("from tests.admin_queue import operated; operated()") == {
        "a long payload": True,
        "changed under a cluster": False,
        "the old claim acknowledges": False,
        "changed once released": True,
        "row": ["long", None, 1, "2030-01-31"],
        "queues": [True],
        "left": 0,
    }
    assert project.run("from tests.admin_queue import paused; paused()") == [
        [7, None],
        [0, 7],
        [7, None],
        True,
    ]
    project.run("from django_q.models import OrmQ; OrmQ.objects.all().delete()[0]")
    assert project.run("from tests.admin_queue import resubmitted; resubmitted()") == [0, 9]


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_no_list_of_a_long_queue_reads_all_of_it(project: Project) -> None:
    project.configure({"name": "tests"}, **SITE)
    project.run(f"from tests.admin_queue import fill; fill({ROWS})")

    plans = project.run("from tests.admin_queue import explained; explained()")

    assert len(plans) >= 15
    for sql, plan in plans:
        for node in nodes(plan):
            read = node["Actual Rows"] * node["Actual Loops"]
            read += node.get("Rows Removed by Filter", 0)
            assert read <= READ_AT_MOST, f"{sql}\n{plan}"
