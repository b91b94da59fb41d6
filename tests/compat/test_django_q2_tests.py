"""Each test of Django Q2 has its counterpart here, or one reason: django_q2_tests.toml."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.compat.deviations import differences
from tests.compat.node_ids import missing

KINDS = {"counterpart", "deviation", "later", "private"}

# Reading it refuses a test that is listed twice.
TESTS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("django_q2_tests.toml").read_text()
)


@pytest.mark.parametrize("theirs", TESTS)
def test_every_test_of_django_q2_has_its_counterpart_or_one_reason(theirs: str) -> None:
    entry = TESTS[theirs]

    [kind] = KINDS & set(entry)
    assert entry[kind]
    assert set(entry) - {kind} <= ({"rest"} if kind in ("deviation", "later") else set())


@pytest.mark.parametrize("theirs", TESTS)
def test_every_counterpart_exists(theirs: str) -> None:
    entry = TESTS[theirs]

    assert missing([*entry.get("counterpart", ()), *entry.get("rest", ())]) == []


@pytest.mark.parametrize("theirs", [name for name in TESTS if "deviation" in TESTS[name]])
def test_every_deviation_is_on_the_list_of_differences(theirs: str) -> None:
    assert TESTS[theirs]["deviation"] in [each["what"] for each in differences()]
