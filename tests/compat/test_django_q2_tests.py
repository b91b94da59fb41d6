"""What the tests of Django Q2 show is shown by tests of ours too: django_q2_tests.toml."""

import tomllib
from pathlib import Path

import pytest

from tests.compat.deviations import DESELECTED
from tests.compat.node_ids import missing

# Reading it refuses a test that is listed twice.
TESTS: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("django_q2_tests.toml").read_text()
)


@pytest.mark.parametrize("theirs", TESTS)
def test_every_counterpart_exists(theirs: str) -> None:
    counterparts = TESTS[theirs]["counterpart"]

    assert counterparts
    assert missing(counterparts) == []


def test_every_test_of_internals_has_its_counterpart() -> None:
    assert set(DESELECTED["internal"]) - set(TESTS) == set()
