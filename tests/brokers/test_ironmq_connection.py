"""How IronMQ is reached: every keyword of the library, its files, a time limit, and outages."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from django_q.conf import get_settings
from django_q.errors import BrokerUnavailable, ConfigurationError, UnsupportedByBroker
from django_q_broker_ironmq.broker import IronMQBroker
from tests.ironmq_server import IronMQ
from tests.ironmq_stub import PROJECT, TOKEN
from tests.servers import free_port


@pytest.fixture(autouse=True)
def _nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the library from files and variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("IRON")]:
        monkeypatch.delenv(name)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Yield a port where connections are accepted and nobody ever answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def configure(settings: Settings, **options: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "iron_mq": options}


def problems(settings: Settings, **options: Any) -> list[str]:
    configure(settings, **options)
    return list(IronMQBroker.problems(get_settings()))


# Settings


def test_the_manuals_example_is_no_mistake(settings: Settings) -> None:
    assert not problems(
        settings,
        host="mq-aws-us-east-1.iron.io",
        token="Et1En7....0LuW39Q",
        project_id="500f7b....b0f302e9",
    )
    client = IronMQBroker().connection.client
    assert client.base_url == "https://mq-aws-us-east-1.iron.io/3/projects/500f7b....b0f302e9/"


def test_every_keyword_of_the_library_is_taken(settings: Settings) -> None:
    options = {
        "host": "mq.example.org",
        "port": 8443,
        "protocol": "https",
        "path_prefix": "/mq",
        "api_version": 3,
        "project_id": "p",
        "token": "t",
        "config_file": "absent.json",
        "cloud": None,
        "keystone": None,
    }

    assert not problems(settings, **options, request_timeout=5)
    client = IronMQBroker().connection.client
    assert client.base_url == "https://mq.example.org:8443/mq/3/projects/p/"


def test_a_cloud_is_a_url(settings: Settings, ironmq: IronMQ) -> None:
    cloud = f"http://127.0.0.1:{ironmq.port}"
    configure(settings, cloud=cloud, project_id=PROJECT, token=TOKEN)

    assert IronMQBroker().ping()


def test_the_librarys_files_and_variables_are_read(
    settings: Settings, ironmq: IronMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".iron.json").write_text(json.dumps({"project_id": PROJECT, "token": "wrong"}))
    (tmp_path / "mine.json").write_text(json.dumps({"token": TOKEN, "protocol": "http"}))
    monkeypatch.setenv("IRON_MQ_HOST", "127.0.0.1")
    configure(settings, config_file=str(tmp_path / "mine.json"), port=ironmq.port, token="")

    assert IronMQBroker().ping()


def test_an_unknown_key_is_a_mistake_with_the_nearest_name(settings: Settings) -> None:
    [problem] = problems(settings, project_id="p", token="t", projectid="p")

    assert "has a key 'projectid'" in problem
    assert "Did you mean 'project_id'?" in problem


@pytest.mark.parametrize("given", [{"token": "s3cret"}, {"project_id": "p"}, {}])
def test_what_is_missing_is_a_mistake(settings: Settings, given: dict[str, Any]) -> None:
    [problem] = problems(settings, **given)

    assert "IRON_MQ_TOKEN and IRON_MQ_PROJECT_ID" in problem
    assert "s3cret" not in problem
    with pytest.raises(ConfigurationError, match="iron-mq cannot be set up"):
        IronMQBroker()


@pytest.mark.parametrize("seconds", [0, 1, -5, "10", True])
def test_a_time_limit_must_be_longer_than_a_claim_waits(settings: Settings, seconds: Any) -> None:
    [problem] = problems(settings, project_id="p", token="t", request_timeout=seconds)

    assert '"request_timeout"] must be a number of seconds from 2' in problem
    assert repr(seconds) in problem


# Keystone


def test_a_keystone_is_asked_once_for_a_token(settings: Settings, ironmq: IronMQ) -> None:
    server = f"http://127.0.0.1:{ironmq.port}"
    keystone = {"server": server, "tenant": "us", "username": "me", "password": "secret"}
    configure(settings, **ironmq.settings(token=None, keystone=keystone))
    broker = IronMQBroker()
    asked = broker.connection.client.token_provider

    assert broker.ping()
    until = asked._good_until
    assert broker.ping()

    assert asked._good_until == until
    assert until > time.monotonic() + 3000


def test_a_keystone_that_refuses_is_a_mistake_of_the_settings(
    settings: Settings, ironmq: IronMQ
) -> None:
    server = f"http://127.0.0.1:{ironmq.port}"
    keystone = {"server": server, "tenant": "us", "username": "me", "password": "gue55"}
    configure(settings, **ironmq.settings(token=None, keystone=keystone))

    with pytest.raises(ConfigurationError, match='"keystone"') as caught:
        IronMQBroker().ping()

    assert "gue55" not in str(caught.value)


# Outages


def test_a_server_that_never_answers_is_given_up(settings: Settings, silent_port: int) -> None:
    options = {"host": "127.0.0.1", "port": silent_port, "protocol": "http"}
    configure(settings, **options, project_id="p", token="t", request_timeout=2)
    broker = IronMQBroker()
    began = time.monotonic()

    with pytest.raises(BrokerUnavailable, match="does not answer"):
        broker.enqueue("work")

    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there_is_named(settings: Settings) -> None:
    port = free_port()
    configure(settings, host="127.0.0.1", port=port, protocol="http", project_id="p", token="t0ken")

    with pytest.raises(BrokerUnavailable) as caught:
        IronMQBroker().enqueue("work")

    assert f"IronMQ at 127.0.0.1:{port} cannot be reached: Connection refused." in str(caught.value)
    assert "t0ken" not in str(caught.value)


def test_a_wrong_protocol_is_a_mistake_of_the_settings(settings: Settings) -> None:
    configure(settings, protocol="gopher", project_id="p", token="t")

    with pytest.raises(ConfigurationError, match="Look at protocol"):
        IronMQBroker().ping()


@pytest.mark.parametrize("status", [503, 504])
def test_the_library_does_not_send_again_by_itself(
    settings: Settings, ironmq: IronMQ, status: int
) -> None:
    configure(settings, **ironmq.settings())
    broker = IronMQBroker("sent-once")
    ironmq.refuse(status)

    with pytest.raises(BrokerUnavailable, match=f"takes nothing for the moment: {status}"):
        broker.enqueue("work")

    assert broker.queue_size() == 0


def test_a_package_that_is_too_large_says_so(settings: Settings, ironmq: IronMQ) -> None:
    configure(settings, **ironmq.settings())
    ironmq.refuse(413)

    with pytest.raises(UnsupportedByBroker, match=r"refuses a request of \d+ bytes as too large"):
        IronMQBroker().enqueue("x" * 1000)


def test_a_restarted_server_is_found_again(settings: Settings) -> None:
    server = IronMQ()
    server.start()
    configure(settings, **server.settings())
    broker = IronMQBroker()
    broker.enqueue("before")

    server.kill()
    with pytest.raises(BrokerUnavailable):
        broker.claim(1, 60)
    server.start()

    broker.enqueue("after")
    assert [one.package for one in broker.claim(1, 60)] == ["after"]
    server.close()
