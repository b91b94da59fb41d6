"""The conformance suite finds what is wrong with a reporter."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAILED = re.compile(r"^FAILED .*::Test(\w+)::(\w+)", re.MULTILINE)

EXPECTED = {
    "Silent": {"test_a_report_names_the_exceptions_type_and_message"},
    "Terse": {"test_a_report_names_the_exceptions_type_and_message"},
    "Forgetting": {"test_two_exceptions_are_two_reports_in_their_order"},
    "Picky": {"test_what_is_no_exception_is_reported_too"},
    "Presuming": {"test_without_a_task_it_reports_all_the_same"},
    "Gullible": {"test_a_local_variable_task_that_is_none_of_ours_does_no_harm"},
    "Remembering": {"test_each_report_names_its_own_task"},
    "Blind": {"test_a_report_names_the_task"},
    "Asserting": {"test_without_an_exception_it_raises_nothing"},
    "Threaded": {"test_it_reports_from_a_forked_worker"},
}


@pytest.fixture(scope="module")
def failures() -> dict[str, set[str]]:
    """Run the suite against every wrong reporter, as its author would, and sort what failed."""
    command = [sys.executable, "-m", "pytest", "tests/reporters/wrong_reporters.py", "-qrf"]
    run = subprocess.run(
        [*command, "--tb=no", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found = defaultdict(set)
    for reporter, test in FAILED.findall(run.stdout):
        found[reporter].add(test)
    return found


@pytest.mark.parametrize("reporter", EXPECTED)
def test_a_wrong_reporter_fails_the_suite(reporter: str, failures: dict[str, set[str]]) -> None:
    assert EXPECTED[reporter] <= failures[reporter]


def test_a_right_reporter_passes_beside_them(failures: dict[str, set[str]]) -> None:
    assert failures["Right"] == set()
