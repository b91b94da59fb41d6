"""The Redis broker keeps the contract: alone, behind Sentinels, in a Cluster, without receipts."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from django_q.brokers.base import Broker
from django_q_broker_redis.broker import Redis
from django_q_broker_redis.keys import keys_of
from django_q_testkit import BrokerConformance
from tests import redis_servers


class OnRedis(BrokerConformance):
    """The broker on a server that a fixture names."""

    def make_broker(self, list_key: str) -> Broker:
        return Redis(list_key)

    @pytest.fixture(autouse=True)
    def _time_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a broker look each time: nothing rings where times are moved behind its back."""
        monkeypatch.setattr("django_q_broker_redis.broker.QUIET_SECONDS", 0)

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


class TestValkey(OnRedis):
    """The same on Valkey."""

    @pytest.fixture(autouse=True)
    def _queue(self, valkey: redis_servers.Valkey, settings: Settings) -> None:
        q_cluster(settings, valkey.settings())


class TestRedisOfACache(OnRedis):
    """By the connection of a cache of django-redis."""

    @pytest.fixture(autouse=True)
    def _queue(self, redis_server: redis_servers.Redis, settings: Settings) -> None:
        pytest.importorskip("django_redis", reason="pip install django-redis")
        url = f"redis://127.0.0.1:{redis_server.port}/5"
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url},
        }
        settings.Q_CLUSTER = {"name": "tests", "django_redis": "redis"}


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
