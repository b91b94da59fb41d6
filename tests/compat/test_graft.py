"""Django Q2's own tests pass on ours, but for those that are left out by name and with a reason."""

from collections.abc import Iterator

import pytest

from tests.compat.deviations import DESELECTED
from tests.compat.graft import GraftedTests, Outcomes
from tests.compat.test_django_q2_tests import TESTS
from tests.redis_servers import Redis

LISTED = sorted(test for tests in DESELECTED.values() for test in tests)


@pytest.fixture(scope="module")
def grafted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraftedTests]:
    """Yield their tests beside our modules, with a Redis that they may empty."""
    redis = Redis()
    redis.start()
    try:
        yield GraftedTests(tmp_path_factory.mktemp("graft"), redis)
    finally:
        redis.close()


@pytest.fixture(scope="module")
def others(grafted: GraftedTests) -> Outcomes:
    """Return what came out of all that are not left out."""
    return grafted.run("others", LISTED)


def test_every_test_of_django_q2_that_is_not_left_out_passes(others: Outcomes) -> None:
    assert others.found - set(LISTED) - others.passed == set(), others.reports


def test_every_test_that_is_left_out_or_has_a_counterpart_exists(others: Outcomes) -> None:
    assert {*LISTED, *TESTS} - others.found == set()


def test_no_test_is_left_out_that_would_pass(grafted: GraftedTests) -> None:
    listed = grafted.run("listed", LISTED)

    assert listed.passed == set()


def test_nothing_of_django_q2_is_there_but_its_tests(grafted: GraftedTests) -> None:
    assert [path.name for path in grafted.folder.iterdir()] == ["tests"]
