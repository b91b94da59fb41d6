"""One queue of SQS: found or made by its name, and talked to in batches."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from django_q.errors import EnqueueError
from django_q_broker_sqs import messages
from django_q_broker_sqs.connection import IN_FLIGHT, PACKAGE_BYTES
from django_q_broker_sqs.errors import ALREADY_THERE, NO_QUEUE, explained, is_about, of_entry
from django_q_broker_sqs.messages import AT_ONCE, Message
from django_q_broker_sqs.process import Account
from django_q_broker_sqs.receipts import LONGEST_LEASE

T = TypeVar("T")

RETENTION_SECONDS = 14 * 24 * 3600
"""How long SQS keeps a message at most, which is how long it does so in queues that we make."""

SYSTEM_ATTRIBUTES = ["ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"]
SETTLED = ["MessageRetentionPeriod", "MaximumMessageSize", "RedrivePolicy"]
SIZES = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


class Queue:
    """A queue by its name; every error is one of `errors`."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self.name = name
        self.is_fifo = name.endswith(".fifo")

    # The queue itself

    def url(self) -> str:
        """Its address; a queue that is not there is made."""
        # Other threads may forget it meanwhile.
        url = self._account.urls.get(self.name)
        if url is None:
            with explained(self._account.where):
                url = self._account.urls[self.name] = self._find() or self._make()
        return url

    def _find(self) -> str | None:
        try:
            return str(self._account.client.get_queue_url(QueueName=self.name)["QueueUrl"])
        except ClientError as error:
            if not is_about(error, *NO_QUEUE):
                raise
            return None

    def _make(self) -> str:
        attributes = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
        if self.is_fifo:
            attributes["FifoQueue"] = "true"
        if self._account.options.package_bytes > PACKAGE_BYTES:
            attributes["MaximumMessageSize"] = str(self._account.options.package_bytes)
        client = self._account.client
        try:
            made = client.create_queue(QueueName=self.name, Attributes=attributes)
        except ClientError as error:
            if not is_about(error, *ALREADY_THERE):
                raise
            return str(client.get_queue_url(QueueName=self.name)["QueueUrl"])
        return str(made["QueueUrl"])

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call SQS about this queue, which is made again where it was deleted meanwhile."""
        call = getattr(self._account.client, operation)
        with explained(self._account.where):
            try:
                return dict(call(QueueUrl=self.url(), **arguments))
            except ClientError as error:
                if not is_about(error, *NO_QUEUE):
                    raise
            self.forget()
            return dict(call(QueueUrl=self.url(), **arguments))

    def forget(self) -> None:
        """Ask again for what is known of it."""
        self._account.urls.pop(self.name, None)
        self._account.attributes.pop(self.name, None)

    def attributes(self) -> dict[str, str]:
        """How it is set up, asked once per process."""
        known = self._account.attributes.get(self.name)
        if known is None:
            known = self._account.attributes[self.name] = self.ask(SETTLED)
        return known

    def ask(self, names: list[str]) -> dict[str, str]:
        """Some of its attributes as they are now."""
        answer = self._call("get_queue_attributes", AttributeNames=names)
        return dict(answer.get("Attributes", {}))

    def retention(self) -> int:
        """For how many seconds it keeps a message."""
        return int(self.attributes().get("MessageRetentionPeriod", RETENTION_SECONDS))

    def redrive(self) -> tuple[int, str] | None:
        """After how many receives a message goes to which dead-letter queue."""
        policy = self.attributes().get("RedrivePolicy")
        if not policy:
            return None
        found = json.loads(policy)
        return int(found["maxReceiveCount"]), str(found["deadLetterTargetArn"]).rpartition(":")[2]

    def sizes(self) -> tuple[int, int]:
        """How many messages wait, and how many are claimed or delayed; roughly, says SQS."""
        waiting, hidden, delayed = (int(self.ask(SIZES).get(name, 0)) for name in SIZES)
        return waiting, hidden + delayed

    def purge(self) -> None:
        """Remove all that is in it, within a minute."""
        self._call("purge_queue")

    def delete(self) -> None:
        """Remove it, unless it is not there."""
        with explained(self._account.where):
            url = self._account.urls.get(self.name) or self._find()
            try:
                if url is not None:
                    self._account.client.delete_queue(QueueUrl=url)
            except ClientError as error:
                if not is_about(error, *NO_QUEUE):
                    raise
        self.forget()

    # What is in it

    def send(self, entries: Sequence[dict[str, Any]], most_bytes: int) -> list[str]:
        """Put messages in; their ids. EnqueueError where some were taken and others not."""
        batches = list(messages.batches(entries, most_bytes))
        if self.is_fifo:
            answers = self._one_by_one(batches)
        else:
            answers = self._account.together(self._send, batches)
        ids: list[str] = []
        for answer in answers:
            sent, error = answer if isinstance(answer, tuple) else ([], answer)
            ids += sent
            if error is not None and not ids:
                raise error
            if error is not None:
                # What a later batch has put in comes twice if the rest is given again.
                message = f"{len(ids)} of {len(entries)} packages were accepted: {error}"
                raise EnqueueError(message, [*ids]) from error
        return ids

    def _one_by_one(self, batches: list[list[dict[str, Any]]]) -> list[Any]:
        """In order, and none after one that failed."""
        answers: list[Any] = []
        for batch in batches:
            answers += self._account.together(self._send, [batch])
            if isinstance(answers[-1], Exception) or answers[-1][1]:
                break
        return answers

    def _send(self, batch: list[dict[str, Any]]) -> tuple[list[str], Exception | None]:
        """The ids of the first that were taken, and what became of the next."""
        answer = self._call("send_message_batch", Entries=batch)
        sent = {each["Id"]: each["MessageId"] for each in answer.get("Successful", ())}
        failed = {each["Id"]: each for each in answer.get("Failed", ())}
        ids: list[str] = []
        for each in batch:
            if each["Id"] not in sent:
                return ids, of_entry(self._account.where, failed.get(each["Id"], {}))
            ids.append(sent[each["Id"]])
        return ids, None

    def receive(self, limit: int, lease: float, wait_seconds: int) -> list[Message]:
        """Claim up to `limit` messages; when ten come at once, there may be more to ask for."""
        first = min(limit, AT_ONCE)
        found = self._receive(first, lease, wait_seconds)
        rest = min(limit - first, AT_ONCE * IN_FLIGHT)
        if len(found) < first or not rest:
            return found
        sizes = [min(AT_ONCE, rest - start) for start in range(0, rest, AT_ONCE)]
        answers = self._account.together(lambda size: self._receive(size, lease, 0), sizes)
        for answer in answers:
            # An error waits for the next call: what the others have brought is claimed.
            found += answer if isinstance(answer, list) else []
        return found

    def _receive(self, limit: int, lease: float, wait_seconds: int) -> list[Message]:
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=limit,
            VisibilityTimeout=visible_after(lease),
            WaitTimeSeconds=wait_seconds,
            AttributeNames=SYSTEM_ATTRIBUTES,
            MessageAttributeNames=[messages.DUE],
        )
        return [messages.message(each) for each in answer.get("Messages", ())]

    def remove(self, handles: Sequence[str]) -> set[str]:
        """Delete what is claimed; the handles that held nothing."""
        return self._settle("delete_message_batch", [(handle, {}) for handle in handles])

    def hide(self, pairs: Sequence[tuple[str, float]]) -> set[str]:
        """Show claimed messages again after so many seconds; the handles that held nothing."""
        entries = [
            (handle, {"VisibilityTimeout": visible_after(seconds)}) for handle, seconds in pairs
        ]
        return self._settle("change_message_visibility_batch", entries)

    def _settle(self, operation: str, entries: Sequence[tuple[str, Mapping[str, int]]]) -> set[str]:
        def settle(some: Sequence[tuple[str, Mapping[str, int]]]) -> set[str]:
            batch = [
                {"Id": str(place), "ReceiptHandle": handle, **rest}
                for place, (handle, rest) in enumerate(some)
            ]
            answer = self._call(operation, Entries=batch)
            failed = list(answer.get("Failed", ()))
            for each in failed:
                if not each.get("SenderFault"):
                    raise of_entry(self._account.where, each)
            return {some[int(each["Id"])][0] for each in failed}

        portions = [entries[start : start + AT_ONCE] for start in range(0, len(entries), AT_ONCE)]
        refused: set[str] = set()
        for answer in self._account.together(settle, portions):
            if isinstance(answer, Exception):
                raise answer
            refused |= answer
        return refused


def visible_after(seconds: float) -> int:
    """A timeout as SQS takes it: whole seconds, 12 hours at most."""
    return max(0, min(math.ceil(seconds), LONGEST_LEASE))
