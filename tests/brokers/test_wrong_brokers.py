"""The conformance suite finds what is wrong with a broker."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAILED = re.compile(r"^FAILED .*::Test(\w+)::(\w+)", re.MULTILINE)

ANY_SEQUENCE = "test_any_sequence_of_steps_keeps_the_contract"

EXPECTED = {
    "Losing": {
        "test_every_package_comes_once",
        "test_two_claimers_never_share_a_package",
        "test_queue_size_counts_what_waits",
    },
    "Duplicating": {
        "test_every_package_comes_once",
        "test_two_claimers_never_share_a_package",
        "test_acknowledged_work_never_comes_back",
    },
    "Reordering": {
        "test_packages_come_in_the_order_of_their_enqueues",
        "test_enqueue_many_keeps_the_order",
        "test_higher_priorities_come_first",
        "test_equal_priorities_keep_their_order",
    },
    "ForgettingLeases": {
        "test_unacknowledged_work_comes_back_when_its_lease_ends",
        "test_each_lapse_is_counted",
    },
    "ForgettingExtensions": {
        "test_extended_work_stays_claimed",
        "test_a_late_extension_counts_while_nobody_else_has_claimed",
    },
    "HonouringStaleReceipts": {
        "test_a_superseded_receipt_does_not_acknowledge",
        "test_a_superseded_receipt_does_not_acknowledge_in_the_1x_way",
        "test_a_superseded_receipt_does_not_extend",
        "test_a_superseded_receipt_does_not_release",
        "test_a_superseded_receipt_does_not_spoil_its_neighbours",
    },
    "LosingNeighbours": set(),
    "ForgivingLapses": {"test_lapses_survive_a_release"},
    "ForgettingPriorities": set(),
    "Misdeclaring": {
        "test_one_claim_brings_several_where_bulk_is_supported",
        "test_without_receipts_nothing_comes_back",
        "test_without_lease_renewal_extend_says_so",
        "test_without_release_it_says_so",
        "test_without_delays_asking_for_one_says_so",
        "test_without_priorities_asking_for_one_says_so",
        "test_a_rollback_takes_back_what_a_transactional_broker_enqueued",
    },
}


WHOLE = ("TestRight", "TestLosingNeighbours", "TestForgettingPriorities")


@pytest.fixture(scope="module")
def failures() -> dict[str, set[str]]:
    """Run the suite against every wrong broker, as its author would, and sort what failed.

    All of it where something must not fail, and else what is asked about.
    """
    asked = {ANY_SEQUENCE, *WHOLE, *(test for tests in EXPECTED.values() for test in tests)}
    command = [sys.executable, "-m", "pytest", "tests/brokers/wrong_brokers.py", "-qrf"]
    run = subprocess.run(
        [*command, "--tb=no", "-p", "no:cacheprovider", "-k", " or ".join(sorted(asked))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found = defaultdict(set)
    for broker, test in FAILED.findall(run.stdout):
        found[broker].add(test)
    return found


@pytest.mark.parametrize("broker", EXPECTED)
def test_random_sequences_find_every_wrong_broker(
    broker: str, failures: dict[str, set[str]]
) -> None:
    assert ANY_SEQUENCE in failures[broker]


@pytest.mark.parametrize("broker", ["LosingNeighbours", "ForgettingPriorities"])
def test_random_sequences_find_what_no_other_test_does(
    broker: str, failures: dict[str, set[str]]
) -> None:
    assert failures[broker] == {ANY_SEQUENCE}


@pytest.mark.parametrize("broker", EXPECTED)
def test_a_wrong_broker_fails_the_suite(broker: str, failures: dict[str, set[str]]) -> None:
    assert EXPECTED[broker] <= failures[broker]


def test_a_right_broker_passes_beside_them(failures: dict[str, set[str]]) -> None:
    assert failures["Right"] == set()
