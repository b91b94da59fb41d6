"""Asks a MongoDB about itself: its version, how it writes, and what time it is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.codec_options import CodecOptions

ASK_AGAIN_SECONDS = 10.0


class ServerClock:
    """The server's time, without asking for it each time.

    It is never ahead of the server's, by which every lease is written, so that none is taken for
    ended before it is; and behind by no more than an answer takes to arrive.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._asked_at = float("-inf")
        self._time_then = datetime.now(UTC)

    def now(self) -> datetime:
        if time.monotonic() - self._asked_at >= ASK_AGAIN_SECONDS:
            self._time_then = hello(self._client)["localTime"]
            self._asked_at = time.monotonic()
        return self._time_then + timedelta(seconds=time.monotonic() - self._asked_at)

    def forget(self) -> None:
        """After an outage another server may be the one that takes writes."""
        self._asked_at = float("-inf")


def hello(client: Any) -> Any:
    """What the server that takes writes says of itself."""
    return client.admin.command("hello", codec_options=CodecOptions(tz_aware=True))


def title(client: Any, concern: Any) -> str:
    """Name and version, and how many have written what it has said yes to."""
    parts = [f"MongoDB {client.server_info()['version']}", f"write concern {concern.get('w', 1)}"]
    if concern.get("j"):
        parts.append("journaled")
    return ", ".join(parts)


def warnings(client: Any, concern: Any) -> Iterator[str]:
    """What of its settings may cost tasks."""
    is_replicated = len(hello(client).get("hosts", ())) > 1
    if is_replicated and concern.get("w") == 1:
        yield (
            "The MongoDB of the queue is a replica set, and Q_CLUSTER['mongo'] asks for a write "
            "concern of 1: what only the primary has written is gone when another takes over. "
            'Leave "w" out; it is "majority" then.'
        )
