"""No defect of Django Q2 is here: defects.toml names the tests that show it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.compat.node_ids import missing

DEFECTS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("defects.toml").read_text())


@pytest.mark.parametrize("number", DEFECTS)
def test_every_defect_is_shown_absent_by_tests_that_exist(number: str) -> None:
    assert DEFECTS[number]["tests"]
    assert missing(DEFECTS[number]["tests"]) == []


def test_no_defect_is_left_out() -> None:
    seen = [f"V{number}" for number in range(1, 14)]
    read = [f"R{number}" for number in range(1, 16)]

    assert list(DEFECTS) == seen + read
