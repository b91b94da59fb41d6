"""The stub of IronMQ answers what is recorded of v3, to the requests of the library itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import iron_mq
import pytest
import requests

from tests.ironmq_server import IronMQ


@pytest.fixture
def name() -> str:
    """Return the name of a queue that is not there yet."""
    return f"stub-{uuid4().hex[:12]}"


@pytest.fixture
def account(ironmq: IronMQ) -> iron_mq.IronMQ:
    """Return the library's object, as users of the library make it."""
    return iron_mq.IronMQ(**ironmq.settings())


@pytest.fixture
def queue(account: iron_mq.IronMQ, name: str) -> Iterator[iron_mq.Queue]:
    """Yield a queue with nothing in it."""
    account.create_queue(name)
    queue = account.queue(name)
    yield queue
    queue.delete_queue()


def reserve_one(queue: iron_mq.Queue, **options: Any) -> dict[str, Any]:
    [message] = queue.reserve(**options)["messages"]
    found: dict[str, Any] = message
    return found


def assert_refused(status: int, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    with pytest.raises(requests.HTTPError) as caught:
        call(*arguments, **options)
    assert caught.value.response is not None
    assert caught.value.response.status_code == status


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def test_a_post_answers_with_ids_and_makes_the_queue(account: iron_mq.IronMQ, name: str) -> None:
    reply = account.queue(name).post({"body": "a", "delay": 0}, "b")

    first, second = reply.pop("ids")
    assert is_text(first)
    assert is_text(second)
    assert first != second
    assert reply == {"msg": "Messages put on queue."}
    assert account.queue(name).size() == 2


def test_a_reservation_shows_the_message_and_its_id(queue: iron_mq.Queue) -> None:
    [posted] = queue.post("body")["ids"]

    message = reserve_one(queue, max=100, timeout=30, wait=0, delete=False)

    assert is_text(message.pop("reservation_id"))
    assert message == {"id": posted, "body": "body", "reserved_count": 1}


def test_nothing_to_reserve_is_an_empty_list(queue: iron_mq.Queue) -> None:
    assert queue.reserve() == {"messages": []}


def test_a_queue_that_is_not_there_is_not_found(account: iron_mq.IronMQ, name: str) -> None:
    queue = account.queue(name)

    for call in (queue.reserve, queue.info, queue.clear, queue.peek, queue.delete_queue):
        assert_refused(404, call)


def test_a_touch_answers_with_the_reservation_that_counts_from_now_on(
    queue: iron_mq.Queue, ironmq: IronMQ
) -> None:
    queue.post("body")
    message = reserve_one(queue, timeout=30)

    reply = queue.touch(message["id"], message["reservation_id"], timeout=60)

    new = reply.pop("reservation_id")
    assert reply == {"msg": "Touched"}
    assert new != message["reservation_id"]
    assert_refused(403, queue.touch, message["id"], message["reservation_id"])
    ironmq.advance(45)
    assert queue.delete(message["id"], new) == {"msg": "Deleted"}


def test_released_messages_go_to_the_front(queue: iron_mq.Queue) -> None:
    queue.post("a", "b", "c")
    message = reserve_one(queue)

    assert queue.release(message["id"], message["reservation_id"]) == {"msg": "Released"}

    again = queue.reserve(max=100)["messages"]
    assert [each["body"] for each in again] == ["a", "b", "c"]
    assert [each["reserved_count"] for each in again] == [2, 1, 1]


def test_timed_out_messages_go_to_the_front(queue: iron_mq.Queue, ironmq: IronMQ) -> None:
    queue.post("a", "b", "c")
    queue.reserve(max=2, timeout=30)
    ironmq.advance(29)
    assert [each["body"] for each in queue.peek(100)["messages"]] == ["c"]

    ironmq.advance(1.5)

    assert [each["body"] for each in queue.reserve(max=3)["messages"]] == ["a", "b", "c"]


def test_delays_end(queue: iron_mq.Queue, ironmq: IronMQ) -> None:
    queue.post({"body": "later", "delay": 60})
    queue.post("now")
    message = reserve_one(queue, max=100)
    queue.release(message["id"], message["reservation_id"], delay=90)
    assert queue.reserve() == {"messages": []}

    ironmq.advance(61)
    assert reserve_one(queue)["body"] == "later"

    ironmq.advance(31)
    assert reserve_one(queue)["body"] == "now"


def test_a_reserved_message_is_deleted_by_its_reservation_alone(
    queue: iron_mq.Queue, ironmq: IronMQ
) -> None:
    queue.post("body")
    message = reserve_one(queue, timeout=30)

    assert_refused(403, queue.delete, message["id"])
    assert_refused(403, queue.delete, message["id"], "another")
    ironmq.advance(31)
    assert_refused(403, queue.delete, message["id"], message["reservation_id"])
    assert queue.delete(message["id"]) == {"msg": "Deleted"}
    assert_refused(404, queue.delete, message["id"])


def test_several_are_deleted_together_or_none(queue: iron_mq.Queue) -> None:
    queue.post("a", "b")
    reply = queue.reserve(max=2)
    wrong = {"messages": [reply["messages"][0], {**reply["messages"][1], "reservation_id": "no"}]}

    assert_refused(403, queue.delete_multiple, messages=wrong)
    assert queue.delete_multiple(messages=reply) == {"msg": "Deleted"}


def test_a_queue_is_cleared_and_deleted(account: iron_mq.IronMQ, name: str) -> None:
    queue = account.queue(name)
    queue.post("a", "b")

    assert queue.clear() == {"msg": "Cleared"}
    assert queue.reserve() == {"messages": []}
    assert queue.delete_queue() == {"msg": "Deleted"}
    assert_refused(404, queue.info)


def test_messages_are_looked_at_without_being_reserved(queue: iron_mq.Queue) -> None:
    [posted, _] = queue.post("a", "b")["ids"]
    shown = {"id": posted, "body": "a", "reserved_count": 0}

    assert queue.peek() == {"messages": [shown]}
    assert queue.get_message_by_id(posted) == shown
    assert len(queue.reserve(max=2)["messages"]) == 2


def test_a_queue_tells_of_itself(account: iron_mq.IronMQ, queue: iron_mq.Queue) -> None:
    queue.post("a", "b")
    queue.reserve()
    options = {
        "name": queue.name,
        "message_timeout": 60,
        "message_expiration": 604800,
        "type": "pull",
    }

    assert queue.info() == options | {"size": 1, "total_messages": 2}
    assert account.create_queue(queue.name) == options
    assert queue.update({"message_timeout": 90})["message_timeout"] == 90
    queues = account.client.get(f"queues?prefix={queue.name[:-1]}")["body"]
    assert queues == {"queues": [{"name": queue.name}]}


@pytest.mark.parametrize(
    "options", [{"max": 0}, {"max": 101}, {"timeout": 29}, {"timeout": 86401}, {"wait": 31}]
)
def test_what_is_out_of_bounds_is_refused(queue: iron_mq.Queue, options: dict[str, int]) -> None:
    assert_refused(400, queue.reserve, **options)


def test_a_delay_of_more_than_a_week_is_refused(queue: iron_mq.Queue) -> None:
    assert_refused(400, queue.post, {"body": "a", "delay": 604801})


def test_a_wrong_token_is_refused(ironmq: IronMQ, name: str) -> None:
    stranger = iron_mq.IronMQ(**ironmq.settings(token="wrong"))

    assert_refused(401, stranger.queue(name).post, "body")
