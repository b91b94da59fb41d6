"""Every deliberate difference has a reason, tests that exist, and its line in the docs."""

from typing import Any

import pytest

from tests.compat.deviations import PAGE, differences, page
from tests.compat.node_ids import missing


@pytest.mark.parametrize("difference", differences(), ids=lambda each: each["what"][:60])
def test_every_difference_has_a_reason_and_names_tests_that_exist(
    difference: dict[str, Any],
) -> None:
    assert difference["what"].strip().endswith(".")
    assert difference["reason"].strip().endswith(".")
    assert missing(difference.get("tests", [])) == []


def test_the_page_is_that_of_the_list() -> None:
    assert PAGE.read_text() == page(), "python -m tests.compat.deviations writes the page anew"
