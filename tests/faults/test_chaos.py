"""Whoever of a cluster is killed, at any time: nothing is lost, and nobody is left behind."""

from tests.chaos import (
    ROLES,
    SETTINGS,
    Chaos,
    Death,
    Verdict,
    enqueue,
    is_done,
    is_excused,
    verdict,
)
from tests.harness import Note, Project

LABELS = [f"task-{number}" for number in range(300)]


def test_no_death_loses_a_task_or_repeats_one_that_it_did_not_hit(project: Project) -> None:
    project.configure(SETTINGS | {"workers": 2})
    enqueue(project, LABELS)
    chaos = Chaos(project, seed=0)
    chaos.start()

    for killed, role in enumerate(chaos.random.sample(ROLES, len(ROLES)), start=1):
        project.wait_for_starts(killed * 10)
        chaos.kill_one(role)
    project.wait_until(lambda: is_done(project, LABELS), 40, "the success of all tasks")
    chaos.stop()

    found = verdict(project, LABELS, chaos.deaths)
    assert found == Verdict([], [], found.excused, []), chaos.deaths


NOTES = [
    Note("a", "start", 1),
    Note("a", "end", 1),
    Note("b", "start", 1),
    Note("a", "start", 2),
    Note("b", "start", 2),
]


def dead(role: str, *workers: int, recorded: str = "") -> Death:
    return Death(role, 0, frozenset(workers), frozenset(recorded))


def test_a_repetition_needs_a_death_that_hit_the_earlier_attempt() -> None:
    assert not is_excused("b", NOTES, [])
    assert not is_excused("b", NOTES, [dead("worker", 2)])
    assert is_excused("b", NOTES, [dead("worker", 1)])


def test_a_workers_death_excuses_nothing_that_it_had_finished_before() -> None:
    assert not is_excused("a", NOTES, [dead("worker", 1)])


def test_a_clusters_death_excuses_only_what_was_not_recorded() -> None:
    assert is_excused("a", NOTES, [dead("cluster", 1, 3)])
    assert not is_excused("a", NOTES, [dead("cluster", 1, 3, recorded="a")])
