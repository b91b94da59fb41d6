"""A stand-in for IronMQ v3, whose server is closed: its published HTTP interface, and a clock.

    python -m tests.ironmq_stub PORT

It answers under /3/projects/PROJECT/ to the token TOKEN, and keeps everything in memory. For tests
there are `POST /clock {"advance": 30}`, which lets 30 seconds pass at once for reservations and
delays; `POST /refuse {"status": 503, "times": 2}`, which answers the next requests so; `GET
/requests`, the lately answered ones; and `POST /tokens`, a Keystone that gives out TOKEN.

The requests are those of iron-mq 0.9. Taken from the vendor's reference of v3: paths, replies, the
bounds of `n`, `timeout`, `wait` and `delay`, that a touch makes the old reservation void, that a
reserved message is deleted by its reservation alone, that timed out and released messages go to
the front, that a post makes the queue and a reservation of an unknown queue is "Queue not found",
that a reservation that has timed out is answered with 403, and a wrong token with 401.

Assumed, for lack of anything to ask:

- a reservation ends with its time, also if nobody has reserved the message since;
- 403 for every wrong reservation, 404 for a message that is gone, 400 for what is out of bounds;
- of several messages to delete, all are deleted, or none where one is refused;
- `size` counts what can be reserved: neither reserved nor delayed messages;
- `reserved_count` counts reservations, not touches, and is not reset by a release;
- a message released with a delay goes to the front when that ends, one posted with a delay to the
  end; both ids are texts; bodies may be as long as one likes, and a post may have any number.

So it proves that the broker keeps the contract on a server that does this, and nothing about the
real one: its limits of size and rate, its failovers, what it answers when it is ill, or how long
a message takes to be seen.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.ironmq_queue import Clock, Queue, Refusal, expect

PROJECT, TOKEN = "500f7b", "Et1En7"
REMEMBERED = 1000


class Service:
    """The queues of one project, for one request at a time but for those that wait."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.changed = Condition()
        self.queues: dict[str, Queue] = {}
        self.refusals: list[int] = []
        self.requests: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    def queue(self, name: str) -> Queue:
        if name not in self.queues:
            raise Refusal(404, "Queue not found")
        return self.queues[name]

    def made(self, name: str) -> Queue:
        return self.queues.setdefault(name, Queue(name, self.clock, self.changed))

    def answer(self, method: str, url: str, token: str, body: Any) -> tuple[int, Any]:
        address = urlsplit(url)
        _, *path = [unquote(part) for part in address.path.split("/")]
        with self.changed:
            if len(path) == 1:
                return 200, self.for_tests(path[0], body)
            self.requests.append({"method": method, "path": address.path, "body": body})
            if self.refusals:
                raise Refusal(self.refusals.pop(), "as a test wants it")
            if token != f"OAuth {TOKEN}" or path[:3] != ["3", "projects", PROJECT]:
                raise Refusal(401, "Unauthorized")
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            status = 201 if (method, path[5:]) == ("POST", ["messages"]) else 200
            return status, self.call(method, path[3:], query, body)

    def call(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Any:
        match method, *path:
            case "GET", "queues":
                return self.listed(query)
            case "GET", "queues", name:
                return self.queue(name).info()
            case "PUT", "queues", name:
                self.made(name).update(body)
                return self.queue(name).info(has_sizes=False)
            case "PATCH", "queues", name:
                self.queue(name).update(body)
                return self.queue(name).info()
            case "DELETE", "queues", name:
                del self.queues[self.queue(name).name]
                return {"msg": "Deleted"}
            case _, "queues", name, *rest:
                return self.call_of_messages(method, name, rest, query, body)
        raise Refusal(404, "Not found")

    def call_of_messages(
        self, method: str, name: str, path: list[str], query: dict[str, str], body: Any
    ) -> Any:
        if (method, path) == ("POST", ["messages"]):
            expect(bool(body.get("messages")), "messages are missing")
            return self.made(name).post(body["messages"])
        queue = self.queue(name)
        match method, *path:
            case "POST", "reservations":
                return queue.reserve(body)
            case "GET", "messages":
                return queue.peek(int(query.get("n", "1")))
            case "DELETE", "messages":
                return queue.delete(body["ids"]) if body.get("ids") else queue.clear()
            case _, "messages", message_id, *rest:
                return self.call_of_one(method, queue, message_id, rest, body)
        raise Refusal(404, "Not found")

    def call_of_one(
        self, method: str, queue: Queue, message_id: str, path: list[str], body: Any
    ) -> Any:
        match method, *path:
            case ("GET",):
                return {"message": queue.find(message_id).shown()}
            case ("DELETE",):
                return queue.delete([{"id": message_id, **body}])
            case "POST", "touch":
                return queue.touch(message_id, body)
            case "POST", "release":
                return queue.release(message_id, body)
        raise Refusal(404, "Not found")

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        after, prefix = query.get("previous", ""), query.get("prefix", "")
        names = [name for name in sorted(self.queues) if name > after and name.startswith(prefix)]
        return {"queues": [{"name": name} for name in names[: int(query.get("per_page", "30"))]]}

    def for_tests(self, name: str, body: Any) -> Any:
        if name == "clock":
            self.clock.advanced += body.get("advance", 0)
            self.changed.notify_all()
            return {"advanced": self.clock.advanced}
        if name == "refuse":
            self.refusals = [body["status"]] * body["times"]
            return {}
        if name == "requests":
            return list(self.requests)
        if name == "tokens":
            return keystone(body)
        raise Refusal(404, "Not found")


def keystone(body: Any) -> dict[str, Any]:
    """The answer of an OpenStack Keystone v2 that knows one user."""
    if body["auth"]["passwordCredentials"] != {"username": "me", "password": "secret"}:
        raise Refusal(401, "Unauthorized")
    now = datetime.now(UTC)
    times = {"issued_at": now.isoformat(), "expires": (now + timedelta(hours=1)).isoformat()}
    return {"access": {"token": {"id": TOKEN, **times}}}


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with JSON on both sides."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    service: Service

    def handle_request(self) -> None:
        """Answer one request."""
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        token = self.headers.get("Authorization", "")
        try:
            status, reply = self.service.answer(self.command, self.path, token, body)
        except Refusal as refusal:
            status, reply = refusal.status, {"msg": str(refusal)}
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of what went well."""


class StubServer(ThreadingHTTPServer):
    """Many at once, none of which keeps the process."""

    daemon_threads = True
    request_queue_size = 128


def main(port: int) -> None:
    Handler.service = Service()
    StubServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
