"""The Disque broker uses one of its nodes, leaves it when it fails, and says what is wrong."""

from __future__ import annotations

import ast
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from django_q.conf import get_settings
from django_q.errors import BrokerUnavailable, ConfigurationError, DjangoQError, EnqueueError
from django_q_broker_disque import connection, jobs
from django_q_broker_disque.broker import Disque
from tests.disque_server import DisqueStub
from tests.redis_servers import Redis
from tests.servers import free_port

PASSWORD = "let me in"

Call = Callable[[Disque, Any], Any]

REPEATABLE: dict[str, Call] = {
    "claim": lambda broker, receipt: broker.claim(1, 60),
    "extend": lambda broker, receipt: broker.extend([receipt], 60),
    "acknowledge_many": lambda broker, receipt: broker.acknowledge_many([receipt]),
    "release": lambda broker, receipt: broker.release([receipt]),
    "queue_size": lambda broker, receipt: broker.queue_size(),
    "ping": lambda broker, receipt: broker.ping(),
}

CALLS = REPEATABLE | {
    "enqueue": lambda broker, receipt: broker.enqueue("new"),
    "enqueue_many": lambda broker, receipt: broker.enqueue_many(["new", "too"]),
}


@pytest.fixture(scope="module")
def nodes() -> Iterator[DisqueStub]:
    """Yield three nodes that want a password."""
    nodes = DisqueStub(nodes=3, password=PASSWORD)
    nodes.start()
    yield nodes
    nodes.close()


@pytest.fixture
def control(nodes: DisqueStub) -> Iterator[Callable[..., Any]]:
    """Return what takes nodes away; the first, which is asked for it, is not among those used."""

    def control(what: str, port: int) -> None:
        nodes.run_command("DEBUG", what, port)

    yield control
    for port in nodes.ports[1:]:
        control("UP", port)


@pytest.fixture
def broker(nodes: DisqueStub, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Disque:
    """Return a broker of the second and the third node."""
    monkeypatch.setattr(connection, "SERVER_SECONDS", 0.4)
    settings.Q_CLUSTER = nodes.settings(name="tests", disque_nodes=nodes.addresses[1:])
    return Disque(uuid4().hex)


@pytest.fixture
def receipt(broker: Disque) -> Any:
    """Return a receipt; another package waits."""
    broker.enqueue_many(["claimed", "waiting"])
    (delivery,) = broker.claim(1, 60)
    return delivery.receipt


def port_of(broker: Disque) -> int:
    """Return the port of the node in use."""
    broker.ping()
    assert broker.connection._node is not None
    return broker.connection._node.address.port


def test_any_of_the_nodes_is_used(nodes: DisqueStub, settings: Settings) -> None:
    used = set()
    for number in range(60):
        settings.Q_CLUSTER = nodes.settings(name=f"tests {number}")
        used.add(port_of(Disque()))

    assert used == set(nodes.ports)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("how", ["CUT", "DOWN"])
def test_a_node_that_is_gone_costs_nothing(
    broker: Disque, receipt: Any, control: Callable[..., Any], call: Call, how: str
) -> None:
    control(how, port_of(broker))

    call(broker, receipt)


@pytest.mark.parametrize("call", REPEATABLE.values(), ids=REPEATABLE)
def test_a_node_that_does_not_answer_is_left(
    broker: Disque, receipt: Any, control: Callable[..., Any], call: Call
) -> None:
    left = port_of(broker)
    control("DEAF", left)

    call(broker, receipt)

    assert port_of(broker) != left


def test_nothing_is_enqueued_twice_because_a_node_does_not_answer(
    broker: Disque, control: Callable[..., Any]
) -> None:
    left = port_of(broker)
    control("DEAF", left)

    with pytest.raises(BrokerUnavailable, match=f"Disque at 127.0.0.1:{left} does not answer"):
        broker.enqueue("in doubt")

    broker.enqueue("next time")
    assert port_of(broker) != left


def test_what_was_claimed_at_one_node_is_acknowledged_at_another(
    nodes: DisqueStub, broker: Disque, receipt: Any, control: Callable[..., Any]
) -> None:
    control("DOWN", port_of(broker))

    assert broker.extend([receipt], 60) == {receipt: receipt}
    assert broker.acknowledge_many([receipt]) == []
    assert broker.lock_size() == 0


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_when_no_node_answers_all_are_named(
    nodes: DisqueStub, broker: Disque, receipt: Any, control: Callable[..., Any], call: Call
) -> None:
    for port in nodes.ports[1:]:
        control("DOWN", port)

    with pytest.raises(BrokerUnavailable) as caught:
        call(broker, receipt)

    assert isinstance(caught.value, redis.ConnectionError)
    assert re.findall(r"127\.0\.0\.1:(\d+) cannot be reached", str(caught.value)) != []
    assert all(address in str(caught.value) for address in nodes.addresses[1:])
    assert PASSWORD not in str(caught.value)


def test_a_refused_password_is_said_at_once(nodes: DisqueStub, settings: Settings) -> None:
    settings.Q_CLUSTER = nodes.settings(disque_auth="wrong")
    with pytest.raises(ConfigurationError, match="refuses the password") as caught:
        Disque().ping()

    assert "disque_auth" in str(caught.value)
    assert len(re.findall(r"127\.0\.0\.1", str(caught.value))) == 1
    assert "wrong" not in str(caught.value)


def test_a_missing_password_is_said_too(nodes: DisqueStub, settings: Settings) -> None:
    settings.Q_CLUSTER = nodes.settings(disque_auth=None)

    with pytest.raises(ConfigurationError, match="Authentication required"):
        Disque().ping()


def test_a_redis_is_no_disque(redis_server: Redis, settings: Settings) -> None:
    settings.Q_CLUSTER = {"disque_nodes": [f"127.0.0.1:{redis_server.port}"]}

    with pytest.raises(ConfigurationError, match=f"{redis_server.port} is no Disque"):
        Disque().ping()


def test_a_refused_command_names_its_node(broker: Disque) -> None:
    with pytest.raises(DjangoQError, match=r"Disque at 127.0.0.1:\d+ refuses a command: BADID"):
        broker.acknowledge("no-job 0 0 node ")


def test_the_password_is_nowhere_to_be_read(broker: Disque) -> None:
    shown = f"{broker.info()} {broker!r} {broker.connection!r} {pickle.dumps(broker)!r}"

    assert PASSWORD not in shown
    assert "Disque 1.0-rc1" in shown


def test_packages_of_a_batch_that_were_taken_are_told(
    broker: Disque, monkeypatch: pytest.MonkeyPatch, control: Callable[..., Any]
) -> None:
    monkeypatch.setattr(jobs, "AT_ONCE", 2)
    add, sent = jobs.add, list[str]()

    def add_and_fail(node: Any, queue: str, bodies: Any, *arguments: Any) -> Any:
        if sent:
            control("DEAF", node.address.port)
        sent.extend(bodies)
        return add(node, queue, bodies, *arguments)

    monkeypatch.setattr(jobs, "add", add_and_fail)

    with pytest.raises(EnqueueError) as caught:
        broker.enqueue_many(["a", "b", "c"])

    assert len(caught.value.accepted) == 2
    assert isinstance(caught.value.__cause__, BrokerUnavailable)


# The settings


def example(title: str) -> dict[str, Any]:
    """An example of the old manual, as printed there."""
    text = (Path(__file__).parents[2] / "docs" / "brokers.md").read_text()
    code = text.partition(f"# {title}\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(ast.parse(code), title, "exec"), names)
    found: dict[str, Any] = names["Q_CLUSTER"]
    return found


def test_the_first_example_of_the_manual_names_two_nodes(settings: Settings) -> None:
    settings.Q_CLUSTER = example("example disque connection")

    assert repr(Disque().connection) == "<Nodes 127.0.0.1:7711, 127.0.0.1:7712>"
    assert list(Disque.problems(get_settings())) == []


def test_the_second_example_of_the_manual_runs(
    nodes: DisqueStub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "TYND_DISQUE_NODES", ",".join(nodes.addresses))
    monkeypatch.setitem(os.environ, "TYND_DISQUE_AUTH", PASSWORD)
    settings.Q_CLUSTER = example("example Tynd Disque connection")
    broker = Disque(uuid4().hex)

    broker.enqueue("goes through")

    assert [each.package for each in broker.claim(9, 60)] == [b"goes through"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["", ""], "127.0.0.1:7711"),
        (["disque", " 10.0.0.1:7000 ", ""], "disque:7711, 10.0.0.1:7000"),
        (["[::1]:7712"], "::1:7712"),
    ],
)
def test_blanks_and_missing_ports_are_understood(
    settings: Settings, given: list[str], expected: str
) -> None:
    settings.Q_CLUSTER = {"disque_nodes": given}

    assert repr(Disque().connection) == f"<Nodes {expected}>"
    assert list(Disque.problems(get_settings())) == []


@pytest.mark.parametrize(
    "node", [7711, "host:port", "secret@host:7711", "host:7711/0", "disque://host", "host:99999"]
)
def test_what_is_no_node_is_a_problem_that_shows_no_secret(settings: Settings, node: Any) -> None:
    settings.Q_CLUSTER = {"disque_nodes": ["127.0.0.1:7711", node]}

    (problem,) = Disque.problems(get_settings())

    assert 'Q_CLUSTER["disque_nodes"][1] must be' in problem
    assert "secret" not in problem


def test_who_has_no_node_at_all_is_told_which_were_tried(settings: Settings) -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    settings.Q_CLUSTER = {"disque_nodes": addresses}

    with pytest.raises(BrokerUnavailable) as caught:
        Disque().enqueue("nowhere")

    assert all(address in str(caught.value) for address in addresses)
