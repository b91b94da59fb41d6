"""The Redis broker keeps the contract: alone, behind Sentinels, in a Cluster, without receipts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from django_q.brokers.base import Broker
from django_q_broker_redis.broker import Redis
from django_q_broker_redis.keys import keys_of
from django_q_testkit import BrokerConformance
from tests import redis_servers


@pytest.fixture(scope="module")
def watched() -> Iterator[redis_servers.WatchedRedis]:
    """Yield a master, its replica and their Sentinels."""
    servers = redis_servers.WatchedRedis()
    servers.start()
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[redis_servers.RedisCluster]:
    """Yield three masters that share the slots."""
    servers = redis_servers.RedisCluster()
    servers.start()
    yield servers
    servers.close()


class OnRedis(BrokerConformance):
    """The broker on a server that a fixture names."""

    def make_broker(self, list_key: str) -> Broker:
        return Redis(list_key)

    def elapse(self, broker: Broker, seconds: float) -> None:
        """Move all times of the queue into the past instead of waiting."""
        _list, _ready, delayed, leases, *_rest = keys_of(broker.list_key)
        for key in (delayed, leases):
            for number in broker.connection.zrange(key, 0, -1):
                broker.connection.zincrby(key, -round(seconds * 1000), number)

    def expire_stats(self, broker: Broker, keys: list[str]) -> None:
        for key in keys:
            broker.connection.pexpire(key, 0)


def q_cluster(settings: Settings, redis: Any, **options: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "redis": redis} | options


class TestRedis(OnRedis):
    """By a dict."""

    @pytest.fixture(autouse=True)
    def _queue(self, redis_server: redis_servers.Redis, settings: Settings) -> None:
        q_cluster(settings, redis_server.settings())


class TestRedisThatGivesText(OnRedis):
    """By a URL, and with a client that decodes what comes."""

    @pytest.fixture(autouse=True)
    def _queue(self, redis_server: redis_servers.Redis, settings: Settings) -> None:
        q_cluster(settings, f"redis://127.0.0.1:{redis_server.port}/1?decode_responses=True")


class TestRedisWithoutReceipts(OnRedis):
    """As Django Q2 had it."""

    @pytest.fixture(autouse=True)
    def _queue(self, redis_server: redis_servers.Redis, settings: Settings) -> None:
        q_cluster(settings, redis_server.settings(db=2), redis_receipts=False)


class TestRedisSentinel(OnRedis):
    """The master that Sentinels name."""

    @pytest.fixture(autouse=True)
    def _queue(self, watched: redis_servers.WatchedRedis, settings: Settings) -> None:
        q_cluster(settings, watched.settings())


class TestRedisCluster(OnRedis):
    """Three masters."""

    @pytest.fixture(autouse=True)
    def _queue(self, cluster: redis_servers.RedisCluster, settings: Settings) -> None:
        q_cluster(settings, cluster.settings())
