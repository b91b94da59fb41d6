"""What is done with the jobs of one queue at one node, in as few round trips as there can be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import ResponseError

from django_q.brokers.base import Package
from django_q_broker_disque.connection import Node
from django_q_broker_disque.errors import UNKNOWN_JOB, is_outage

AT_ONCE = 500
"""How many jobs one round trip is about."""

REPLICATION_MS = 3000
"""How long a node may take to give a job to the nodes that keep its copies."""

YEAR = 365 * 24 * 3600
LIFETIME = 10 * YEAR
"""Disque forgets a job after this time, a day unless it is told, and renews no lease in the second
half of it."""

LONGEST_DELAY = 20 * YEAR
"""Disque counts the end of a job's life in seconds up to the year 2106."""

T = TypeVar("T")

AGAIN = re.compile(rb"^django-q:again (\S+) (\d+) (\d+)\n", re.ASCII)
"""What stands before a package that was given back for later: Disque postpones nothing that was
claimed, so such a package is a new job, and its key, lapses and attempts go with it."""


class Receipt(NamedTuple):
    """A claim. Disque gives a job the same name in each delivery; its counters tell them apart."""

    job: str
    nacks: int
    deliveries: int
    node: str
    """Where it was claimed."""
    key: str
    """The name of the job as which the package was first enqueued."""

    @classmethod
    def of(cls, text: str) -> Receipt:
        job, nacks, deliveries, node, key = str(text).split(" ")
        return cls(job, int(nacks), int(deliveries), node, key or job)

    def __str__(self) -> str:
        key = "" if self.key == self.job else self.key
        return f"{self.job} {self.nacks} {self.deliveries} {self.node} {key}"


class Content(NamedTuple):
    """What is in a job."""

    key: str
    package: bytes
    lapses: int = 0
    attempts: int = 0

    @classmethod
    def of(cls, job: str, body: bytes) -> Content:
        found = AGAIN.match(body)
        if found is None:
            return cls(job, body)
        key, lapses, attempts = found.groups()
        return cls(key.decode(), body[found.end() :], int(lapses), int(attempts))

    def again(self) -> bytes:
        return b"django-q:again %s %d %d\n%s" % (
            self.key.encode(),
            self.lapses,
            self.attempts,
            self.package,
        )


class Standing(Enum):
    """What a node says of a claim."""

    HELD = auto()
    LATE = auto()
    """Its lease has ended, and nobody has claimed the job since."""
    LOST = auto()
    """Another claim has superseded it, or the job is done with."""
    UNKNOWN = auto()
    """This node never had the job, which was claimed at another."""


class Job(NamedTuple):
    """What a node says of a job that was claimed."""

    standing: Standing
    deliveries: int = 0
    content: Content = Content("", b"")


def add(
    node: Node, queue: str, bodies: Sequence[Package], retry: int, delay: int = 0
) -> list[str | ResponseError]:
    """Put packages in; the name of each job, or why it was refused."""
    options: list[Any] = ["RETRY", retry, "TTL", LIFETIME + 2 * delay]
    options += ["DELAY", delay] if delay else []
    commands = [("ADDJOB", queue, body, REPLICATION_MS, *options) for body in bodies]
    answers = _run(node, commands, raises=False)
    return [each.decode() if isinstance(each, bytes) else each for each in answers]


def take(node: Node, queue: str, limit: int, wait_ms: int) -> list[tuple[Receipt, Content]]:
    """Claim up to `limit` jobs, of which one may come after `wait_ms` at most."""
    how = ("TIMEOUT", wait_ms) if wait_ms > 0 else ("NOHANG",)
    found = node.client.execute_command(
        "GETJOB", *how, "COUNT", limit, "WITHCOUNTERS", "FROM", queue
    )
    taken = []
    for _queue, name, body, *counters in found or ():
        job, facts = name.decode(), _facts(counters)
        content, deliveries = Content.of(job, body), facts["additional-deliveries"]
        receipt = Receipt(job, facts["nacks"], deliveries, node.id, content.key)
        taken.append((receipt, content._replace(lapses=content.lapses + deliveries)))
    return taken


def hold(
    node: Node, taken: list[tuple[Receipt, Content]]
) -> tuple[list[tuple[Receipt, Content]], int | None]:
    """Let the leases of what was just taken begin now, and tell the shortest.

    Disque counts the time until a job comes back from when it was queued, and not from its
    delivery: of one that has waited nothing may be left, or it is in the queue again.
    """
    jobs = [receipt.job for receipt, _content in taken]
    came_back, *leases = _run(node, [("DEQUEUE", *jobs), *(("WORKING", job) for job in jobs)])
    if came_back:
        shown = look(node, [receipt for receipt, _content in taken])
        taken = [
            (receipt._replace(deliveries=job.deliveries or receipt.deliveries), content)
            for (receipt, content), job in zip(taken, shown, strict=True)
        ]
    return taken, min((each for each in leases if isinstance(each, int)), default=None)


def look(node: Node, receipts: Sequence[Receipt]) -> list[Job]:
    """Ask what became of claims."""
    shown = _run(node, [("SHOW", receipt.job) for receipt in receipts])
    return [_judged(receipt, facts, node) for receipt, facts in zip(receipts, shown, strict=True)]


def _judged(receipt: Receipt, shown: Any, node: Node) -> Job:
    if not isinstance(shown, list):
        is_elsewhere = receipt.node != node.id
        return Job(Standing.UNKNOWN if is_elsewhere else Standing.LOST)
    facts = _facts(shown)
    deliveries, state = facts["additional-deliveries"], facts["state"]
    content = Content.of(receipt.job, facts["body"])
    content = content._replace(lapses=content.lapses + receipt.deliveries)
    counted = deliveries - receipt.deliveries
    if facts["nacks"] != receipt.nacks:
        standing = Standing.LOST
    elif state == b"active" and not counted:
        standing = Standing.HELD
    elif state == b"queued" and counted in (0, 1):
        standing = Standing.LATE
    else:
        standing = Standing.LOST
    return Job(standing, deliveries, content)


def postpone(node: Node, receipts: Sequence[Receipt]) -> list[Receipt | None]:
    """Renew leases by what Disque counts for each job; the receipts from now on, None if lost."""
    jobs = look(node, receipts)
    late = [each for each, job in zip(receipts, jobs, strict=True) if job.standing is Standing.LATE]
    is_back = dict(zip(late, _run(node, [("DEQUEUE", each.job) for each in late]), strict=True))
    current: list[Receipt | None] = []
    for receipt, job in zip(receipts, jobs, strict=True):
        if job.standing is Standing.LOST or (receipt in is_back and is_back[receipt] != 1):
            current.append(None)
        elif receipt in is_back:
            current.append(receipt._replace(deliveries=job.deliveries))
        else:
            current.append(receipt)
    held = [each for each in current if each is not None]
    answers = dict(zip(held, _run(node, [("WORKING", each.job) for each in held]), strict=True))
    return [
        None if each is None or _is_gone(each, answers[each], node) else each for each in current
    ]


def _is_gone(receipt: Receipt, answer: Any, node: Node) -> bool:
    """Another node's job may well live; and one in the second half of its life is still ours."""
    is_unknown = isinstance(answer, ResponseError) and UNKNOWN_JOB.match(str(answer))
    return bool(is_unknown) and receipt.node == node.id


def tell(node: Node, command: str, jobs: Sequence[str]) -> None:
    """Acknowledge, give back or delete, in as few calls as there can be."""
    for some in portions(jobs):
        node.client.execute_command(command, *some)


def names(node: Node, queue: str, state: str | None = None) -> list[str]:
    """All jobs of a queue that this node knows."""
    wanted = ("STATE", state) if state else ()
    found: list[str] = []
    cursor = b"0"
    while True:
        cursor, some = node.client.execute_command(
            "JSCAN", cursor, "COUNT", AT_ONCE, "QUEUE", queue, *wanted
        )
        found += [name.decode() for name in some]
        if cursor == b"0":
            return found


def portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at a time as one round trip is to be about."""
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def _run(node: Node, commands: Sequence[tuple[Any, ...]], raises: bool = True) -> list[Any]:
    """The answers to many commands, errors among them; but an outage is raised."""
    answers: list[Any] = []
    for some in portions(commands):
        pipeline = node.client.pipeline(transaction=False)
        for command in some:
            pipeline.execute_command(*command)
        answers += pipeline.execute(raise_on_error=False)
    outages = (each for each in answers if isinstance(each, Exception) and is_outage(each))
    if raises and (outage := next(outages, None)):
        raise outage
    return answers


def _facts(flat: Sequence[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
