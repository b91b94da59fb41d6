"""Every failure that the design names is made to happen: failures.toml names the tests."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.compat.node_ids import missing

FAILURES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("failures.toml").read_text())


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_is_made_by_tests_that_exist(failure: str) -> None:
    assert FAILURES[failure]["tests"]
    assert missing(FAILURES[failure]["tests"]) == []
