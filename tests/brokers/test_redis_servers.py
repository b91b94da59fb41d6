"""The Redis broker says which server it works with, and what at that server would hurt."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from django_q.brokers import get_broker
from django_q.checks import check_server
from tests.redis_servers import Redis, Valkey


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Redis]:
    """Yield a server that keeps nothing on disk, whose settings tests may change."""
    server = Redis()
    server.start()
    yield server
    server.close()


def use(settings: Settings, server: Redis) -> None:
    settings.Q_CLUSTER = {"name": "tests", "redis": server.settings()}


def warnings() -> list[str]:
    return [str(warning.msg) for warning in check_server()]


def connected(server: Redis) -> int:
    return int(server.run_command("INFO", "clients")["connected_clients"])


@pytest.fixture
def policy(forgetful: Redis, settings: Settings, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the eviction policy that the server has during the test, with a limit of memory."""
    use(settings, forgetful)
    forgetful.run_command("CONFIG", "SET", "maxmemory", "100mb")
    forgetful.run_command("CONFIG", "SET", "maxmemory-policy", request.param)
    yield request.param
    forgetful.run_command("CONFIG", "SET", "maxmemory", "0")
    forgetful.run_command("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_info_says_how_soon_a_task_is_on_the_disk(redis_server: Redis, settings: Settings) -> None:
    use(settings, redis_server)

    assert re.fullmatch(r"Redis \d+\.\d+\.\d+, appendfsync always", get_broker().info())


def test_info_says_that_nothing_is_kept_on_the_disk(forgetful: Redis, settings: Settings) -> None:
    use(settings, forgetful)

    assert re.fullmatch(r"Redis \d+\.\d+\.\d+, no append-only file", get_broker().info())


def test_info_of_a_server_that_tells_no_settings(redis_server: Redis, settings: Settings) -> None:
    redis_server.run_command(
        "ACL", "SETUSER", "managed", "on", ">secret", "~*", "&*", "+@all", "-config"
    )
    address = redis_server.settings(username="managed", password="secret")
    settings.Q_CLUSTER = {"name": "tests", "redis": address}

    info = get_broker().info()

    redis_server.run_command("ACL", "DELUSER", "managed")
    assert info.endswith(", append-only file")


def test_info_calls_valkey_by_its_name(valkey: Valkey, settings: Settings) -> None:
    use(settings, valkey)

    assert re.fullmatch(r"Valkey \d+\.\d+\.\d+, no append-only file", get_broker().info())


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"], indirect=True)
def test_a_server_that_would_evict_queues_is_warned_of(policy: str) -> None:
    (warning,) = warnings()

    assert policy in warning
    assert "noeviction" in warning


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"], indirect=True)
def test_a_server_that_evicts_no_queue_is_fine(policy: str) -> None:
    assert warnings() == []


@pytest.mark.parametrize("policy", ["allkeys-lru"], indirect=True)
def test_a_policy_means_nothing_without_a_limit(forgetful: Redis, policy: str) -> None:
    forgetful.run_command("CONFIG", "SET", "maxmemory", "0")

    assert warnings() == []


def test_a_server_that_is_away_is_no_mistake_of_the_site(settings: Settings) -> None:
    absent = Redis()
    absent.close()
    use(settings, absent)

    assert warnings() == []


def test_the_check_gives_up_long_before_a_task_would(forgetful: Redis, settings: Settings) -> None:
    patient = forgetful.settings(socket_timeout=3600)
    settings.Q_CLUSTER = {"name": "tests", "redis": patient}
    forgetful.run_command("CLIENT", "PAUSE", "60000", "ALL")

    found = warnings()  # would hang for an hour

    forgetful.restart()
    assert found == []


def test_a_check_leaves_no_connection_behind(forgetful: Redis, settings: Settings) -> None:
    use(settings, forgetful)
    warnings()
    before = connected(forgetful)

    for _ in range(5):
        warnings()

    assert connected(forgetful) <= before
