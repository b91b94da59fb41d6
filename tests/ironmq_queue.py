"""The rules of a queue in IronMQ v3, as far as they are known; the stub gives them HTTP."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass
from threading import Condition
from typing import Any
from uuid import uuid4

SHORTEST_RESERVATION, LONGEST_RESERVATION = 30, 86_400
LONGEST_DELAY, LONGEST_WAIT = 604_800, 30
AT_ONCE = 100

_numbers = itertools.count(2605601678238811215)


class Refusal(Exception):
    """A reply that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Clock:
    """Seconds that go by, and that a test may add to."""

    def __init__(self) -> None:
        self.advanced = 0.0

    def now(self) -> float:
        return time.monotonic() + self.advanced


@dataclass(eq=False)
class Message:
    """One message, and who has it until when."""

    body: str
    id: str
    reserved_count: int = 0
    reservation_id: str | None = None
    until: float = 0.0
    """The end of its reservation, or of its delay."""
    is_new: bool = True

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, "body": self.body, "reserved_count": self.reserved_count}


class Queue:
    """The messages of one queue: those that wait, and those that are reserved or delayed."""

    def __init__(self, name: str, clock: Clock, changed: Condition) -> None:
        self.name, self.clock, self.changed = name, clock, changed
        self.options: dict[str, Any] = {"message_timeout": 60, "message_expiration": LONGEST_DELAY}
        self.options["type"] = "pull"
        self.waiting: deque[Message] = deque()
        self.away: list[Message] = []
        self.total = 0

    def come_back(self) -> None:
        """Timed out and released messages go to the front, what was delayed at first to the end."""
        now = self.clock.now()
        due = sorted((m for m in self.away if m.until <= now), key=lambda message: message.until)
        self.away = [message for message in self.away if message.until > now]
        for message in due:
            message.reservation_id = None
        self.waiting.extendleft(m for m in reversed(due) if not m.is_new)
        self.waiting.extend(m for m in due if m.is_new)

    def post(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        for each in messages:
            expect(isinstance(each.get("body"), str), "body must be a string")
            within("delay", each.get("delay", 0), 0, LONGEST_DELAY)
        posted = [Message(each["body"], str(next(_numbers))) for each in messages]
        for message, each in zip(posted, messages, strict=True):
            self.put(message, each.get("delay", 0))
        self.total += len(posted)
        return {"ids": [message.id for message in posted], "msg": "Messages put on queue."}

    def put(self, message: Message, delay: int) -> None:
        message.reservation_id = None
        if delay:
            message.until = self.clock.now() + delay
            self.away.append(message)
        elif message.is_new:
            self.waiting.append(message)
        else:
            self.waiting.appendleft(message)
        self.changed.notify_all()

    def reserve(self, request: dict[str, Any]) -> dict[str, Any]:
        limit = within("n", request.get("n", 1), 1, AT_ONCE)
        seconds = request.get("timeout", self.options["message_timeout"])
        within("timeout", seconds, SHORTEST_RESERVATION, LONGEST_RESERVATION)
        self.wait(within("wait", request.get("wait", 0), 0, LONGEST_WAIT))
        taken = [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]
        for message in taken:
            message.reserved_count += 1
            message.is_new = False
            message.reservation_id = None if request.get("delete") else uuid4().hex
            message.until = self.clock.now() + seconds
        if not request.get("delete"):
            self.away += taken
        shown = [m.shown() | {"reservation_id": m.reservation_id} for m in taken]
        return {"messages": shown}

    def wait(self, seconds: int) -> None:
        """Until something can be reserved; those seconds are everybody's, not the clock's."""
        deadline = time.monotonic() + seconds
        self.come_back()
        while not self.waiting and (left := deadline - time.monotonic()) > 0:
            due = min((message.until for message in self.away), default=float("inf"))
            self.changed.wait(max(min(left, due - self.clock.now()), 0.001))
            self.come_back()

    def find(self, message_id: str) -> Message:
        self.come_back()
        for message in (*self.waiting, *self.away):
            if message.id == message_id:
                return message
        raise Refusal(404, "Message not found")

    def reserved(self, message_id: str, reservation_id: Any) -> Message:
        """The message, if this is its reservation."""
        message = self.find(message_id)
        if message.reservation_id is None or message.reservation_id != reservation_id:
            raise Refusal(403, "Reservation timed out")
        return message

    def touch(self, message_id: str, request: dict[str, Any]) -> dict[str, Any]:
        seconds = request.get("timeout", self.options["message_timeout"])
        within("timeout", seconds, SHORTEST_RESERVATION, LONGEST_RESERVATION)
        message = self.reserved(message_id, request.get("reservation_id"))
        message.reservation_id = uuid4().hex
        message.until = self.clock.now() + seconds
        return {"reservation_id": message.reservation_id, "msg": "Touched"}

    def release(self, message_id: str, request: dict[str, Any]) -> dict[str, Any]:
        delay = within("delay", request.get("delay", 0), 0, LONGEST_DELAY)
        message = self.reserved(message_id, request.get("reservation_id"))
        self.away.remove(message)
        self.put(message, delay)
        return {"msg": "Released"}

    def deletable(self, message_id: str, reservation_id: Any) -> Message:
        message = self.find(message_id)
        if message.reservation_id is None and reservation_id is None:
            return message
        return self.reserved(message_id, reservation_id)

    def delete(self, wanted: list[dict[str, Any]]) -> dict[str, Any]:
        """All of them, or none."""
        within("number of ids", len(wanted), 1, AT_ONCE)
        found = [self.deletable(str(each["id"]), each.get("reservation_id")) for each in wanted]
        for message in found:
            (self.away if message in self.away else self.waiting).remove(message)
        return {"msg": "Deleted"}

    def clear(self) -> dict[str, Any]:
        self.waiting.clear()
        self.away.clear()
        return {"msg": "Cleared"}

    def peek(self, limit: int) -> dict[str, Any]:
        within("n", limit, 1, AT_ONCE)
        self.come_back()
        return {"messages": [m.shown() for m in itertools.islice(self.waiting, limit)]}

    def info(self, *, has_sizes: bool = True) -> dict[str, Any]:
        self.come_back()
        sizes = {"size": len(self.waiting), "total_messages": self.total} if has_sizes else {}
        return {"queue": {"name": self.name, **self.options, **sizes}}

    def update(self, request: dict[str, Any]) -> None:
        self.options |= request.get("queue", {})


def expect(condition: bool, text: str) -> None:
    if not condition:
        raise Refusal(400, text)


def within(name: str, value: Any, least: int, most: int) -> int:
    expect(type(value) is int and least <= value <= most, f"{name} must be from {least} to {most}")
    return int(value)
