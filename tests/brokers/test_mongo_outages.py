"""The MongoDB broker says when its server is away, and loses nothing that was accepted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.errors import AutoReconnect
from pytest_django import Settings

from django_q.errors import BrokerUnavailable
from django_q_broker_mongo.broker import Mongo
from tests import mongo_server

Call = Callable[[Mongo, Any], Any]

CALLS: dict[str, Call] = {
    "claim": lambda broker, receipt: broker.claim(1, 60),
    "extend": lambda broker, receipt: broker.extend([receipt], 60),
    "release": lambda broker, receipt: broker.release([receipt]),
    "acknowledge_many": lambda broker, receipt: broker.acknowledge_many([receipt]),
    "queue_size": lambda broker, receipt: broker.queue_size(),
    "ping": lambda broker, receipt: broker.ping(),
    "enqueue": lambda broker, receipt: broker.enqueue("new"),
    "enqueue_many": lambda broker, receipt: broker.enqueue_many(["new", "too"]),
}


@pytest.fixture(scope="module")
def server() -> Iterator[mongo_server.Mongo]:
    """Yield a server of this module's own, which has on disk what it says yes to."""
    server = mongo_server.Mongo("--sync-on-commit", "--enable-test-commands")
    with contextlib.closing(server):
        server.start()
        yield server


@pytest.fixture
def broker(server: mongo_server.Mongo, settings: Settings) -> Iterator[Mongo]:
    settings.Q_CLUSTER = {
        "name": "tests",
        "mongo": server.settings(serverSelectionTimeoutMS=100),
    }
    broker = Mongo()
    yield broker
    if server.process is None:
        server.start()
    broker.delete_queue()
    broker.close()


def test_a_server_that_is_away_is_named_and_what_was_held_is_held_again(
    server: mongo_server.Mongo, broker: Mongo
) -> None:
    broker.enqueue_many(["claimed", "lapsed", "waiting"])
    delivery, lapsed = broker.claim(2, 60)
    broker.extend([lapsed.receipt], -1)
    server.kill()
    complaints = set()
    for call in CALLS.values():
        with pytest.raises(BrokerUnavailable) as caught:
            call(broker, delivery.receipt)
        assert isinstance(caught.value, AutoReconnect)
        complaints.add(str(caught.value).partition(": ")[0])
    server.start()

    assert complaints == {f"MongoDB at 127.0.0.1:{server.port} cannot be reached"}
    assert broker.extend([delivery.receipt], 60) == {delivery.receipt: delivery.receipt}
    assert [one.package for one in broker.claim(9, 60)] == ["waiting"]
    # What lapsed meanwhile is left to its holder for a while; who was not away may take it.
    assert [one.key for one in Mongo().claim(1, 60)] == [lapsed.key]


def fail(server: mongo_server.Mongo, times: int, **how: Any) -> None:
    """Let the next commands fail."""
    commands = ["update", "find", "findAndModify", "delete", "getMore", "aggregate"]
    with contextlib.closing(server.connect()) as client:
        client.admin.command(
            "configureFailPoint",
            "failCommand",
            mode={"times": times},
            data={"failCommands": commands} | how,
        )


@pytest.mark.parametrize("how", [{"closeConnection": True}, {"errorCode": 10107}])
def test_a_cut_connection_and_an_election_cost_nothing(
    server: mongo_server.Mongo, settings: Settings, how: dict[str, Any]
) -> None:
    mongo = server.settings(heartbeatFrequencyMS=500)
    settings.Q_CLUSTER = {"name": "tests", "mongo": mongo}
    broker = Mongo()
    broker.ping()
    fail(server, 1, **how)

    broker.enqueue("once")

    assert [one.package for one in broker.claim(9, 60)] == ["once"]


def test_a_write_that_too_few_have_confirmed_is_an_outage(
    server: mongo_server.Mongo, broker: Mongo
) -> None:
    broker.ping()
    fail(server, 1, writeConcernError={"code": 64, "errmsg": "waiting timed out"})

    with pytest.raises(BrokerUnavailable, match="as many members as the write concern asks"):
        broker.enqueue("in doubt")
