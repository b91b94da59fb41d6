"""The stress test and the pruning test work and judge: the same code, small."""

from collections import Counter
from contextlib import closing
from pathlib import Path

from benchmarks.brokers import Carrier, RedisCarrier
from benchmarks.databases import Provider
from benchmarks.figures import Figures
from benchmarks.pruning import Phase, phase, prune_under_load
from benchmarks.schedules import Load, share
from benchmarks.stress import DURABLE
from benchmarks.under_load import Plan, stress


def ignore(text: str) -> None:
    """Nobody looks on."""


def test_kills_and_stops_lose_nothing(template_database: Path) -> None:
    plan = Plan(kills=2, stops=1, workers=2, retry=1, seed=5)

    figures = stress(Provider(), Carrier(), plan, ignore, template_database)

    assert figures.good, figures.line()
    assert figures.enqueued > 100
    assert (figures.kills.total(), figures.stops) == (2, 1)


def test_kills_of_redis_and_of_a_cluster_on_it_lose_nothing(template_database: Path) -> None:
    plan = Plan(kills=2, redis_kills=1, tasks=100, workers=2, retry=1, seed=5)

    with closing(RedisCarrier(**DURABLE)) as redis:
        figures = stress(Provider(), redis, plan, ignore, template_database)

    assert figures.good, figures.line()
    assert figures.enqueued >= 100
    assert (figures.kills.total(), figures.redis_kills) == (2, 1)


def test_a_filled_table_is_pruned_under_load() -> None:
    figures = prune_under_load(Provider(), 2_000, 0.2, ignore)

    assert figures.finished, figures.line()
    assert figures.kept <= 250
    assert figures.before.per_second > 0


def test_two_clusters_run_each_schedule_once_and_mark_the_malformed_one(
    template_database: Path,
) -> None:
    load = Load(60, each_second=30, lead_seconds=2)

    figures = share(Provider(), Carrier(), load, ignore, template_database)

    assert not any([figures.lost, figures.twice, figures.rows_left]), figures.line()
    assert (figures.ran, len(figures.late), sum(figures.shares)) == (60, 60, 60)
    assert (figures.marked, figures.logged) == (1, 1)


def figures(**found: object) -> Figures:
    return Figures("sqlite", 0, **found)  # type: ignore[arg-type]


def test_one_line_for_the_loss_and_one_for_the_return_of_a_database_are_right() -> None:
    assert figures(restarts=5, lost_lines=5, found_lines=5).good
    assert not figures(restarts=5, lost_lines=6, found_lines=5).good
    assert not figures(restarts=5, lost_lines=5, found_lines=4).good
    assert not figures(restarts=1, lost_lines=1, found_lines=1, other_lines=["ERROR"]).good


def test_a_task_that_a_death_hit_is_no_fault_and_any_other_repetition_is() -> None:
    assert figures(kills=Counter(worker=3), again=3).good
    assert not figures(twice=["task-1"]).good


def test_a_package_that_stays_at_the_broker_is_a_fault() -> None:
    assert figures(left=0).good
    assert not figures(left=1).good


def test_the_line_of_figures_has_what_was_promised() -> None:
    line = figures(kills=Counter(worker=2, main=1), lost=["task-1"], enqueued=7).line()

    assert "3 kills (worker 2, main 1)" in line
    assert "lost 1, orphan processes 0" in line
    assert "7 enqueued" in line


def test_a_gap_reaches_over_the_edges_of_its_phase() -> None:
    assert phase([1.0, 2.0, 2.5], 0.0, 6.0) == Phase(6.0, 0.5, 3.5)
