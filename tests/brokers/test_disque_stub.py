"""The stub of Disque answers as the real server (1.0-rc1) was recorded to answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from tests.disque_server import DisqueStub

JOB_ID = rb"D-[0-9a-f]{8}-[A-Za-z0-9+/]{24}-05a1"


@pytest.fixture(scope="module")
def nodes() -> Iterator[DisqueStub]:
    """Yield two nodes, as there were when the replies were recorded."""
    nodes = DisqueStub(nodes=2)
    nodes.start()
    yield nodes
    nodes.close()


@pytest.fixture
def say(nodes: DisqueStub) -> Iterator[Any]:
    """Return what sends a command."""
    client = nodes.connect()
    yield client.execute_command
    client.close()


@pytest.fixture
def queue() -> str:
    return uuid4().hex


def refusal(say: Any, *command: Any) -> str:
    with pytest.raises(redis.ResponseError) as caught:
        say(*command)
    return str(caught.value)


def test_hello_names_the_node_and_all_nodes(nodes: DisqueStub, say: Any) -> None:
    version, own, *others = say("HELLO")

    assert version == 1
    assert own == others[0][0]
    assert re.fullmatch(rb"[0-9a-f]{40}", own)
    assert [node[1:] for node in others] == [
        [b"127.0.0.1", str(port).encode(), b"1"] for port in nodes.ports
    ]


def test_addjob_answers_with_the_name_of_the_job(say: Any, queue: str) -> None:
    assert re.fullmatch(JOB_ID, say("ADDJOB", queue, "body", 500, "RETRY", 2))
    assert say("ADDJOB", queue, "once", 500, "RETRY", 0, "REPLICATE", 1).endswith(b"-05a0")


def test_addjob_refuses_what_it_cannot_keep(say: Any, queue: str) -> None:
    say("ADDJOB", queue, "first", 500)

    assert "REPLICATE to 1" in refusal(say, "ADDJOB", queue, "body", 500, "RETRY", 0)
    assert refusal(say, "ADDJOB", queue, "body", 500, "MAXLEN", 1).startswith("MAXLEN ")
    assert refusal(say, "ADDJOB", queue, "body", 500, "REPLICATE", 9).startswith("NOREPL ")
    # What Django Q sent: redis-py takes one string apart at its spaces, those of a body too.
    assert refusal(say, f"ADDJOB {queue} a b 500 RETRY 2") == "syntax error"


def test_getjob_brings_queue_name_and_body(say: Any, queue: str) -> None:
    name = queue.encode()
    first, second = (say("ADDJOB", queue, body, 500) for body in (b"a b\x00\r\n", b"two"))

    assert say("GETJOB", "FROM", queue) == [[name, first, b"a b\x00\r\n"]]
    assert say("GETJOB", "COUNT", 9, "WITHCOUNTERS", "FROM", queue) == [
        [name, second, b"two", b"nacks", 0, b"additional-deliveries", 0]
    ]
    assert say("GETJOB", "NOHANG", "FROM", queue) is None
    assert say("GETJOB", "TIMEOUT", 1, "FROM", queue) is None


@pytest.mark.parametrize("command", ["ACKJOB", "FASTACK"])
def test_a_job_is_acknowledged_once(say: Any, queue: str, command: str) -> None:
    job = say("ADDJOB", queue, "body", 500)

    assert say(command, job) == 1
    assert say("ACKJOB", job) == 0
    assert refusal(say, command, "nonsense") == "BADID Invalid Job ID format."


def test_nack_puts_back_and_counts(say: Any, queue: str) -> None:
    job = say("ADDJOB", queue, "body", 500)
    say("GETJOB", "FROM", queue)

    assert say("NACK", job) == 1
    [[*_job, nacks, _name, deliveries]] = say("GETJOB", "WITHCOUNTERS", "FROM", queue)
    assert (nacks, deliveries) == (1, 0)


def test_deljob_deletes_once(say: Any, queue: str) -> None:
    job = say("ADDJOB", queue, "body", 500)

    assert [say("DELJOB", job), say("DELJOB", job)] == [1, 0]


def test_what_is_not_acknowledged_comes_back_after_retry(
    nodes: DisqueStub, say: Any, queue: str
) -> None:
    job = say("ADDJOB", queue, "body", 500, "RETRY", 2)
    say("GETJOB", "FROM", queue)

    nodes.advance(2.1)

    assert say("GETJOB", "WITHCOUNTERS", "FROM", queue) == [
        [queue.encode(), job, b"body", b"nacks", 0, b"additional-deliveries", 1]
    ]


def test_working_answers_with_retry_and_postpones(nodes: DisqueStub, say: Any, queue: str) -> None:
    job = say("ADDJOB", queue, "body", 500, "RETRY", 2)
    say("GETJOB", "FROM", queue)
    nodes.advance(1.5)

    assert say("WORKING", job) == 2
    nodes.advance(1.5)
    assert say("QLEN", queue) == 0
    nodes.advance(1)
    assert say("QLEN", queue) == 1


def test_the_time_to_come_back_runs_from_when_a_job_was_queued(
    nodes: DisqueStub, say: Any, queue: str
) -> None:
    say("ADDJOB", queue, "body", 500, "RETRY", 10)
    nodes.advance(9)
    say("GETJOB", "FROM", queue)

    nodes.advance(2)

    assert say("QLEN", queue) == 1


def test_queues_are_counted_and_listed(say: Any, queue: str) -> None:
    job = say("ADDJOB", queue, "body", 500)
    name = queue.encode()

    assert say("QLEN", f"{queue}-unknown") == 0
    assert say("QLEN", queue) == 1
    assert say("QPEEK", queue, 5) == [[name, job, b"body"]]
    assert say("QSTAT", queue)[:4] == [b"name", name, b"len", 1]
    assert name in say("QSCAN")[1]


def test_jobs_are_listed_and_shown(say: Any, queue: str) -> None:
    job = say("ADDJOB", queue, "body", 500, "RETRY", 2)

    assert say("JSCAN", "QUEUE", queue) == [b"0", [job]]
    assert say("JSCAN", "QUEUE", queue, "REPLY", "all")[1][0][:6] == say("SHOW", job)[:6]
    assert say("SHOW", job)[:8] == [b"id", job, b"queue", queue.encode(), *states("queued")]
    assert [part for part in say("SHOW", job)[::2] if part in FACTS] == FACTS
    say("GETJOB", "FROM", queue)
    assert say("SHOW", job)[4:8] == states("active")


FACTS = [b"ttl", b"ctime", b"delay", b"retry", b"nacks", b"additional-deliveries"]


def states(state: str) -> list[Any]:
    return [b"state", state.encode(), b"repl", 1]


def test_a_delayed_job_comes_when_it_is_due(nodes: DisqueStub, say: Any, queue: str) -> None:
    say("ADDJOB", queue, "later", 500, "DELAY", 5)

    assert say("QLEN", queue) == 0
    nodes.advance(5.1)
    assert say("QLEN", queue) == 1


def test_info_names_the_version(say: Any) -> None:
    assert say("INFO", "server")["disque_version"] == "1.0-rc1"


def test_an_unknown_command_is_an_error(say: Any) -> None:
    assert "unknown command" in refusal(say, "LPUSH", "list", "value")


def test_redis_py_must_speak_its_old_protocol(nodes: DisqueStub) -> None:
    with redis.Redis(port=nodes.port, protocol=3) as client, pytest.raises(redis.RedisError):
        client.execute_command("PING")
