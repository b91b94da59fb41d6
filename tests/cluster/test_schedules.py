"""Clusters run what is scheduled, each occurrence once, and tell how they are."""

import pytest

from tests.harness import Project

MANY = """
from datetime import timedelta
from django.utils import timezone
from django_q.models import Schedule
start = timezone.now() + timedelta(seconds=2)
for index in range(60):
    at = start + timedelta(milliseconds=20 * index)
    Schedule.objects.create(func="tests.jobs.ok", args=repr(str(index)), next_run=at)
Schedule.objects.create(name="bad", func="tests.jobs.ok", args="(1,", next_run=start)
"""

STATS = """
from django_q.status import Stat
[(stat.name, str(stat.status), len(stat.workers), stat.uptime() < 60) for stat in Stat.get_all()]
"""


@pytest.mark.parametrize("database_name", ["postgresql", "mariadb"], indirect=True)
def test_two_clusters_run_each_schedule_once_and_a_malformed_one_harms_none(
    project: Project,
) -> None:
    project.configure({"workers": 1})
    project.run(MANY)

    clusters = [project.start_cluster(), project.start_cluster()]
    project.wait_for_tasks(60)
    for cluster in clusters:
        assert cluster.stop() == 0, cluster.log

    assert project.starts() == {str(index): 1 for index in range(60)}
    assert project.query("SELECT name, error IS NOT NULL FROM django_q_schedule") == [("bad", 1)]
    assert sum(cluster.log.count("Schedule [bad] is paused") for cluster in clusters) == 1


def test_schedules_that_were_missed_run_when_a_cluster_starts(project: Project) -> None:
    project.configure({"workers": 1})
    project.run(
        "from datetime import timedelta; from django.utils import timezone;"
        "from django_q.tasks import schedule;"
        "schedule('tests.jobs.ok', 'late', schedule_type='H', repeats=3,"
        " next_run=timezone.now() - timedelta(days=1)).pk"
    )

    cluster = project.start_cluster()
    project.wait_for_tasks(3)
    assert cluster.stop() == 0, cluster.log

    assert project.starts() == {"late": 3}


def test_a_running_cluster_is_seen_from_elsewhere_without_a_shared_cache(project: Project) -> None:
    project.configure({"workers": 2})
    cluster = project.start_cluster()

    stats = project.wait_until(
        lambda: [found for found in project.run(STATS) if found[1] == "Idle"], what="a status"
    )

    assert stats == [["project", "Idle", 2, True]]
    assert cluster.stop() == 0, cluster.log
