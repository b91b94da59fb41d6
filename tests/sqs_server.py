"""SQS as a private process: moto's server, with a clock that tests put forward.

Three things are not as moto has them: its calls follow one
another, as they lose messages otherwise; a long poll sees what becomes visible, not only what is
sent; and 12 hours of visibility are counted from the receive, as Amazon does, not from the send.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers import Server, missing

REGION = "us-east-1"
LONGEST_VISIBILITY = 43_200_000


class Sqs(Server):
    """One server, for any number of queues."""

    program = "moto_server"
    package = "moto"
    account = "root"

    def __init__(self) -> None:
        super().__init__()
        self.put_forward = 0.0

    def find(self) -> str:
        try:
            import flask  # noqa: F401
            import moto  # noqa: F401
        except ImportError:
            missing("moto is not installed: pip install moto flask flask-cors")
        return sys.executable

    def command(self) -> list[str]:
        root = str(Path(__file__).parent.parent)
        program = (
            f"import sys; sys.path.insert(0, {root!r}); from tests import sqs_server as server"
        )
        return [self.executable, "-c", f"{program}; server.main({self.port})"]

    def _as_account(self) -> list[str]:
        # Its modules are ours, which only we may be able to read.
        return ["setpriv", "--pdeathsig", "KILL"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> Any:
        return self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass at the server."""
        self._tell_time(self.put_forward + seconds)

    def be_punctual(self) -> None:
        """Let the server have the time that everybody has."""
        self._tell_time(0.0)

    def _tell_time(self, put_forward: float) -> None:
        urllib.request.urlopen(f"{self.url}/clock/{put_forward}", data=b"", timeout=10).close()
        self.put_forward = put_forward

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER["sqs"]` says of it."""
        return {
            "aws_region": REGION,
            "aws_access_key_id": "tests",
            "aws_secret_access_key": "secret",
            "endpoint_url": self.url,
        } | extra

    def client(self) -> Any:
        """Return a client of one's own."""
        import boto3

        options = self.settings()
        options["region_name"] = options.pop("aws_region")
        return boto3.client("sqs", **options)


# The program


class Clock:
    """The server's time."""

    def __init__(self) -> None:
        self.put_forward = 0.0

    def seconds(self, *_ignored: Any) -> float:
        return time.time() + self.put_forward

    def milliseconds(self, *_ignored: Any) -> float:
        return self.seconds() * 1000


def patch(clock: Clock) -> None:
    """Give moto the clock, and put its calls in a row."""
    from moto.sqs import models

    models.unix_time = clock.seconds  # type: ignore[assignment]
    models.unix_time_millis = clock.milliseconds  # type: ignore[assignment]
    lock = threading.Lock()

    def alone(method: Any) -> Any:
        @functools.wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            with lock:
                return method(*arguments, **options)

        return call

    def wait(self: Any, timeout: float) -> None:
        lock.release()
        time.sleep(0.02)
        lock.acquire()

    def mark_received(self: Any, visibility_timeout: Any = None, *, _old: Any) -> None:
        # What moto takes for the time of the send when it counts the hours of a message.
        self.received_at = clock.milliseconds()
        _old(self, visibility_timeout)

    def change_visibility(
        self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int
    ) -> None:
        queue = self.get_queue(queue_name)
        for message in queue._messages:
            if message.had_receipt_handle(receipt_handle):
                end = clock.milliseconds() + int(visibility_timeout) * 1000
                if end - message.received_at > LONGEST_VISIBILITY:
                    raise models.ReceiptHandleIsInvalid
                message.change_visibility(visibility_timeout)
                return
        raise models.ReceiptHandleIsInvalid

    backend = models.SQSBackend
    old = models.Message.mark_received
    models.Message.mark_received = functools.partialmethod(mark_received, _old=old)  # type: ignore
    models.Queue.wait_for_messages = wait  # type: ignore[method-assign]
    backend.change_message_visibility = change_visibility  # type: ignore[method-assign]
    for name in (
        "send_message_batch",
        "receive_message",
        "delete_message_batch",
        "change_message_visibility_batch",
    ):
        setattr(backend, name, alone(getattr(backend, name)))


def main(port: int) -> None:
    """Serve until the end."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import run_simple
    from werkzeug.wrappers import Response

    clock = Clock()
    patch(clock)
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path.startswith("/clock/"):
            clock.put_forward = float(path.rpartition("/")[2])
            return Response("")(environ, start_response)
        return moto(environ, start_response)

    os.environ["MOTO_PORT"] = str(port)
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)
