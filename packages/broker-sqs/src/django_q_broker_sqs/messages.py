"""Turns packages into the entries that SQS takes, and its messages into packages."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from django_q import package as packages
from django_q.brokers.base import Package
from django_q.errors import BadPackage, UnsupportedByBroker
from django_q.signing import BadSignature
from django_q_broker_sqs.receipts import LONGEST_LEASE

AT_ONCE = 10
"""How many entries one call takes."""

LONGEST_DELAY = 15 * 60
"""How many seconds SQS itself keeps a message back."""

HIDDEN_SECONDS = LONGEST_LEASE - 60
"""For how long a message is hidden at a time that is not due yet."""

DUE = "django_q_due"
"""The attribute that says when a message is due, where SQS does not keep it back so long."""

DUE_BYTES = 64
"""What that attribute, its type and its value count, and more."""

FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ID = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")


class Message(NamedTuple):
    """What came with one receive."""

    key: str
    handle: str
    body: str
    receives: int
    first_received: float
    due: float | None

    @property
    def lapses(self) -> int:
        """How many earlier claims may have lapsed: all but those that only hid what was not due.

        SQS counts neither claims that were given back nor attempts apart, so it may be fewer.
        """
        hidden = 0
        if self.due is not None:
            # Five seconds, since the clock of SQS is not that of the producer.
            hidden = max(0, math.ceil((self.due - self.first_received - 5) / HIDDEN_SECONDS))
        return max(0, self.receives - 1 - hidden)


def text_of(package: Package) -> str:
    """A package as SQS takes it; raises UnsupportedByBroker for what it does not take."""
    try:
        text = package.decode() if isinstance(package, bytes) else package
    except UnicodeDecodeError:
        raise UnsupportedByBroker(
            "SQS takes text, and these bytes are no UTF-8. Sign the package, or encode it."
        ) from None
    found = FORBIDDEN.search(text)
    if found or not text:
        what = f"the character {found[0]!r}" if found else "an empty text"
        raise UnsupportedByBroker(f"SQS does not take {what} as a package. Sign or encode it.")
    return text


def entry(text: str, delay: float, due: float, is_fifo: bool) -> dict[str, Any]:
    """A package as an entry of SendMessageBatch, which lacks its `Id`."""
    made: dict[str, Any] = {"MessageBody": text}
    if is_fifo:
        made |= _fifo_ids(text)
    elif delay > 0:
        made["DelaySeconds"] = min(math.ceil(delay), LONGEST_DELAY)
    if delay > (0 if is_fifo else LONGEST_DELAY):
        made["MessageAttributes"] = {DUE: {"DataType": "Number", "StringValue": f"{due:.3f}"}}
    return made


def _fifo_ids(text: str) -> dict[str, str]:
    """Tasks of a group keep their order; one without a group waits for nobody."""
    try:
        task = packages.inspect(text)
    except (BadSignature, BadPackage):
        task = {"id": uuid4().hex}
    identity = _as_id(task["id"])
    group = task.get("group")
    group_id = _as_id(str(group)) if group else identity
    return {"MessageGroupId": group_id, "MessageDeduplicationId": identity}


def _as_id(text: str) -> str:
    return text if ID.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()


def message(found: Mapping[str, Any]) -> Message:
    """What SQS hands out, read."""
    system = found.get("Attributes", {})
    due = found.get("MessageAttributes", {}).get(DUE, {}).get("StringValue")
    return Message(
        key=found["MessageId"],
        handle=found["ReceiptHandle"],
        body=found["Body"],
        receives=int(system.get("ApproximateReceiveCount", 1)),
        first_received=int(system.get("ApproximateFirstReceiveTimestamp", 0)) / 1000,
        due=None if due is None else float(due),
    )


def batches(entries: Sequence[dict[str, Any]], most_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """Entries in portions of ten at most whose bodies fit into one call, each with its `Id`."""
    batch: list[dict[str, Any]] = []
    size = 0
    for each in entries:
        length = len(each["MessageBody"].encode()) + DUE_BYTES * ("MessageAttributes" in each)
        if batch and (len(batch) == AT_ONCE or size + length > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append({"Id": str(len(batch)), **each})
        size += length
    if batch:
        yield batch
