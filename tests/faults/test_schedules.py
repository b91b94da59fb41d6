"""What a death while a schedule is being queued costs: nothing. The stress test's code, small."""

import pytest

from benchmarks.schedule_kills import Figures, Killings, make_deadly
from tests.harness import Project


def ignore(text: str) -> None:
    """Nobody looks on."""


@pytest.mark.parametrize("database_name", ["sqlite", "redis"], indirect=True)
def test_a_cluster_killed_while_it_queues_an_occurrence_loses_and_repeats_none(
    project: Project, database_name: str
) -> None:
    make_deadly(project)
    figures = Figures(database_name, planned=2)

    Killings(project, figures).run(ignore)

    assert figures.good, figures.line()
    assert figures.expected == 16
    assert bool(figures.stored) == (database_name == "redis")
