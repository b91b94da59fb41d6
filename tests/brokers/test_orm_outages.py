"""The ORM broker knows when its server is away, whichever driver says so, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error, connections

from django_q import databases
from django_q_broker_orm.broker import ORM
from tests.brokers.conftest import NAME, on_servers
from tests.brokers.orm_database import BlockedClaim
from tests.servers import MariaDB, PostgreSQL

Call = Callable[[ORM, Any], Any]

CALLS: dict[str, Call] = {
    "claim": lambda broker, receipt: broker.claim(1, 60),
    "enqueue": lambda broker, receipt: broker.enqueue("new"),
    "enqueue_many": lambda broker, receipt: broker.enqueue_many(["new", "too"]),
    "extend": lambda broker, receipt: broker.extend([receipt], 60),
    "release": lambda broker, receipt: broker.release([receipt]),
    "acknowledge_many": lambda broker, receipt: broker.acknowledge_many([receipt]),
    "ping": lambda broker, receipt: broker.ping(),
}


@pytest.fixture
def receipt(broker: ORM) -> Any:
    """Return a receipt; another package waits."""
    broker.enqueue_many(["claimed", "waiting"])
    (delivery,) = broker.claim(1, 60)
    return delivery.receipt


@on_servers
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_cut_connection_costs_one_call(
    server: PostgreSQL | MariaDB, broker: ORM, receipt: Any, call: Call
) -> None:
    server.cut_connections(NAME)

    with pytest.raises(Error) as caught:
        call(broker, receipt)

    assert databases.is_connection_error(caught.value)
    assert not databases.is_busy(caught.value)
    call(broker, receipt)


@on_servers
def test_a_waiting_claim_notices_that_its_connection_is_cut(
    server: PostgreSQL | MariaDB, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_q_broker_orm.broker.LONGEST_WAIT_SECONDS", 60)
    claim = BlockedClaim()

    server.cut_connections(NAME)

    with pytest.raises(Error) as caught:
        claim.outcome()
    claim.close()
    assert databases.is_connection_error(caught.value)


@on_servers
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_is_away_is_known_as_such_and_served_again(
    server: PostgreSQL | MariaDB, broker: ORM, receipt: Any, end: str
) -> None:
    getattr(server, end)()
    errors = [error_of(broker, receipt, call) for call in CALLS.values() for _ in range(2)]
    server.start()

    assert [error for error in errors if not databases.is_connection_error(error)] == []
    # Not the receipt's own fate: the private MariaDB flushes once a second, and was killed.
    assert set(broker.extend([receipt], 60)) == {receipt}


@on_servers
def test_a_killed_transaction_is_an_outage_and_leaves_nothing(
    server: PostgreSQL | MariaDB, broker: ORM, receipt: Any, queue: str
) -> None:
    def acknowledge_late() -> None:
        broker.acknowledge_many([receipt])
        server.cut_connections(NAME)
        broker.enqueue("next link")

    with pytest.raises(Error) as caught:
        databases.transact(queue, acknowledge_late)
    databases.close(queue)

    assert databases.is_connection_error(caught.value)
    assert connections[queue].connection is None
    assert broker.extend([receipt], 60) == {receipt: receipt}


def error_of(broker: ORM, receipt: Any, call: Call) -> Error:
    with pytest.raises(Error) as caught:
        call(broker, receipt)
    return caught.value
