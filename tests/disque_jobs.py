"""The jobs of the stub of Disque: queues, requeue times, counters, and a clock to put forward."""

from __future__ import annotations

import base64
import os
import re
import time
from dataclasses import dataclass, field
from enum import StrEnum

DAY = 24 * 3600
DEFAULT_RETRY_MAX = 300
JOB_ID = re.compile(rb"^D-[0-9a-f]{8}-[A-Za-z0-9+/]{24}-[0-9a-f]{4}$")


class Refused(Exception):
    """An error reply."""


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    ACTIVE = "active"


@dataclass(eq=False)
class Job:
    """One job; times are in seconds."""

    number: int
    id: bytes
    queue: bytes
    body: bytes
    created: float
    ttl: float
    delay: float
    retry: float
    state: State = State.ACTIVE
    requeue_at: float = 0
    nacks: int = 0
    additional_deliveries: int = 0
    has_been_queued: bool = False


@dataclass
class Jobs:
    """All jobs, whichever node took them: as in a cluster that replicates everything at once."""

    ahead: float = 0
    jobs: dict[bytes, Job] = field(default_factory=dict)
    last_number: int = 0

    def now(self) -> float:
        return time.time() + self.ahead

    # Commands

    def add(
        self,
        node: bytes,
        queue: bytes,
        body: bytes,
        *,
        delay: int = 0,
        retry: int | None = None,
        ttl: int = DAY,
        maxlen: int | None = None,
    ) -> bytes:
        if delay >= ttl:
            raise Refused(
                "ERR The specified DELAY is greater than TTL. Job refused since would never be "
                "delivered"
            )
        if maxlen is not None and len(self.queued(queue)) >= maxlen:
            raise Refused("MAXLEN Queue is already longer than the specified MAXLEN count")
        if retry is None:
            retry = min(max(ttl // 10, 1), DEFAULT_RETRY_MAX)
        self.last_number += 1
        job = Job(
            self.last_number, new_id(node, ttl, retry), queue, body, self.now(), ttl, delay, retry
        )
        self.jobs[job.id] = job
        if delay:
            job.requeue_at = job.created + delay
        else:
            self.enqueue(job)
        return job.id

    def take(self, queues: list[bytes], count: int) -> list[Job]:
        taken: list[Job] = []
        for queue in queues:
            for job in self.queued(queue)[: count - len(taken)]:
                job.state = State.ACTIVE
                taken.append(job)
        return taken

    def work(self, job_id: bytes) -> int:
        job = self.find(job_id)
        if job is None:
            raise Refused("NOJOB Job not known in the context of this node.")
        if self.now() - job.created > job.ttl / 2:
            raise Refused(
                "TOOLATE Half of job TTL already elapsed, you are no longer allowed to postpone "
                "the next delivery."
            )
        job.state = State.ACTIVE
        job.requeue_at = self.now() + job.retry
        return int(job.retry)

    def nack(self, ids: list[bytes]) -> int:
        return sum(self.enqueue(job, is_nack=True) for job in self.known(ids))

    def dequeue(self, ids: list[bytes]) -> int:
        queued = [job for job in self.known(ids) if job.state is State.QUEUED]
        for job in queued:
            job.state = State.ACTIVE
        return len(queued)

    def remove(self, ids: list[bytes]) -> int:
        found = self.known(ids)
        for job in found:
            self.jobs.pop(job.id, None)
        return len(found)

    # What they stand on

    def find(self, job_id: bytes) -> Job | None:
        if not JOB_ID.match(job_id):
            raise Refused("BADID Invalid Job ID format.")
        return self.jobs.get(job_id)

    def known(self, ids: list[bytes]) -> list[Job]:
        found = [self.find(job_id) for job_id in ids]
        return [job for job in found if job is not None]

    def queued(self, queue: bytes) -> list[Job]:
        """What waits, in the order of creation, to which also what came back returns."""
        waiting = [
            job for job in self.jobs.values() if job.queue == queue and job.state is State.QUEUED
        ]
        return sorted(waiting, key=lambda job: job.number)

    def enqueue(self, job: Job, *, is_nack: bool = False) -> bool:
        if job.state is State.QUEUED:
            return False
        job.state = State.QUEUED
        job.requeue_at = self.now() + job.retry if job.retry else 0
        if is_nack:
            job.nacks += 1
        elif job.has_been_queued:
            job.additional_deliveries += 1
        job.has_been_queued = True
        return True

    def let_time_act(self) -> None:
        """Requeue what is due, and forget what has expired."""
        now = self.now()
        for job in list(self.jobs.values()):
            if now >= job.created + job.ttl:
                del self.jobs[job.id]
            elif not job.requeue_at or now < job.requeue_at:
                continue
            elif job.state is State.ACTIVE:
                self.enqueue(job)
            else:  # what waits is put off, and is no delivery
                job.requeue_at = now + job.retry

    def seconds_until_due(self) -> float | None:
        times = [
            job.requeue_at
            for job in self.jobs.values()
            if job.state is State.ACTIVE and job.requeue_at
        ]
        return max(min(times) - self.now(), 0) if times else None


def new_id(node: bytes, ttl: int, retry: int) -> bytes:
    """Node, 144 random bits, and the minutes to live, odd where the job may be delivered again."""
    minutes = min(ttl // 60, 0xFFFF)
    minutes = minutes | 1 if retry else minutes & ~1
    return b"D-%s-%s-%04x" % (node[:8], base64.b64encode(os.urandom(18)), minutes)
