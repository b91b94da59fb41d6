"""What a cluster cannot run any more goes back to its broker as it came."""

from __future__ import annotations

from typing import Any

import pytest

from django_q.brokers.base import Broker, Delivery, Package
from django_q.cluster.keeper import give_back


class Counter(Broker):
    """A broker without receipts, as for Django Q2, that notes what it is given."""

    def __init__(self) -> None:
        self.packages: list[Package] = []

    def enqueue(self, task: Package, **options: Any) -> None:
        self.packages.append(task)


@pytest.mark.parametrize(
    ("carried", "enqueued"),
    [(b"a:signed:package", "a:signed:package"), ("text", "text"), (b"\xff\xfe", b"\xff\xfe")],
    ids=["bytes of a lane", "text", "what is no text"],
)
def test_without_receipts_a_package_is_enqueued_again_as_the_text_that_it_was(
    carried: Package, enqueued: Package
) -> None:
    broker = Counter()

    give_back(broker, [Delivery("key", None, carried)])

    assert broker.packages == [enqueued]
