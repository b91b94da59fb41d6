"""The MongoDB broker keeps the contract: on a replica set, and on a server that stands alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from django_q.brokers.base import Broker
from django_q_broker_mongo.broker import Mongo
from django_q_testkit import BrokerConformance
from tests import mongo_server


@pytest.fixture(scope="module")
def alone() -> Iterator[mongo_server.Mongo]:
    """Yield a server that says that it is no replica set, and so has no change streams."""
    with contextlib.closing(mongo_server.Mongo("--standalone")) as server:
        server.start()
        yield server


class OnMongo(BrokerConformance):
    """The broker on a server that a fixture names."""

    sequences = 10

    def make_broker(self, list_key: str) -> Broker:
        return Mongo(list_key)

    def elapse(self, broker: Broker, seconds: float) -> None:
        """Move all times of the queue into the past instead of waiting."""
        assert isinstance(broker, Mongo)
        earlier = {"$subtract": ["$lock", round(seconds * 1000)]}
        broker.collection.update_many({}, [{"$set": {"lock": earlier}}])


class TestMongo(OnMongo):
    """Woken by change streams; a real server where the environment names one."""

    @pytest.fixture(autouse=True)
    def _queue(self, mongo: mongo_server.AnyMongo, settings: Settings) -> None:
        settings.Q_CLUSTER = {"name": "tests", "mongo": mongo.settings()}


class TestMongoAlone(OnMongo):
    """Asked again and again."""

    sequences = 4

    @pytest.fixture(autouse=True)
    def _queue(self, alone: mongo_server.Mongo, settings: Settings) -> None:
        settings.Q_CLUSTER = {"name": "tests", "mongo": alone.settings(), "poll": 0.05}
