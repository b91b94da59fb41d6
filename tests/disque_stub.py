"""A stub of Disque 1.0: what its clients see of it, over RESP2, as a process of its own.

    python -m tests.disque_stub --password secret 7711 7712

Each port is a node. The replies are those that were recorded from the real server (1.0-rc1, two
nodes); `tests/brokers/test_disque_stub.py` holds them to it. A command that is not here is an
error. What was not recorded, and is assumed from Disque's documentation:

- the nodes share all jobs at once, as if everything were replicated to all of them and every
  message arrived: a job that one node took is queued at each, and its counters are the same;
- a job that is given back, or comes back, takes its old place by the time of its creation;
- the time after which a job comes back (RETRY) runs from when it was queued, not from GETJOB, is
  put off while it waits, and is exact where the real server adds up to half a second;
- DEQUEUE, JSCAN's STATE and COUNT, TOOLATE and NOJOB of WORKING, and the errors of AUTH;
- a job expires with its TTL, a day unless it is said; nothing is ever on a disk.

It has a command that Disque has not: DEBUG ADVANCE seconds puts the clock of the jobs forward,
DEBUG DOWN port and DEBUG UP port take a node away and bring it back, DEBUG DEAF port lets one
take connections and never answer, DEBUG CUT port ends the connections of one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

from tests.disque_jobs import Job, Jobs, Refused

SYNTAX = "ERR syntax error"
PRIORITY = b"1"


class Node:
    """One port."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self.cluster, self.port = cluster, port
        self.id = os.urandom(20).hex().encode()
        self.is_deaf = False
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        self.is_deaf = False
        if self.server is None:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)

    def down(self) -> None:
        if self.server is not None:
            self.server.close()
        self.server = None
        self.cut()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        client = Client(self)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                words = await read_command(reader)
                if self.is_deaf:
                    continue
                try:
                    reply = encode(await client.run(words))
                except Refused as error:
                    reply = f"-{error}\r\n".encode()
                writer.write(reply)
                await writer.drain()
        self.writers.discard(writer)
        writer.close()


class Cluster:
    """The nodes and what they share."""

    def __init__(self, ports: list[int], password: bytes) -> None:
        self.password = password
        self.jobs = Jobs()
        self.nodes = {port: Node(self, port) for port in ports}
        self.changed = asyncio.Condition()

    async def run(self) -> None:
        for node in self.nodes.values():
            await node.up()
        await asyncio.Event().wait()


class Client:
    """One connection."""

    def __init__(self, node: Node) -> None:
        self.node, self.cluster, self.jobs = node, node.cluster, node.cluster.jobs
        self.is_known = not node.cluster.password

    async def run(self, words: list[bytes]) -> Any:
        name, *arguments = words
        command = getattr(self, f"do_{name.decode().lower()}", None)
        if command is None:
            raise Refused(f"ERR unknown command '{name.decode()}'")
        if not self.is_known and command != self.do_auth:
            raise Refused("NOAUTH Authentication required.")
        self.jobs.let_time_act()
        async with self.cluster.changed:
            try:
                reply = command(*arguments)
            except TypeError:
                raise Refused(
                    f"ERR wrong number of arguments for '{name.decode().lower()}' command"
                ) from None
            self.cluster.changed.notify_all()
        return await reply if asyncio.iscoroutine(reply) else reply

    # The server

    def do_auth(self, password: bytes) -> Any:
        if not self.cluster.password:
            raise Refused("ERR Client sent AUTH, but no password is set")
        if password != self.cluster.password:
            raise Refused("ERR invalid password")
        self.is_known = True
        return OK

    def do_ping(self) -> Any:
        return Status("PONG")

    def do_hello(self) -> Any:
        nodes = self.cluster.nodes.values()
        ports = [[node.id, b"127.0.0.1", str(node.port).encode(), PRIORITY] for node in nodes]
        return [1, self.node.id, *ports]

    def do_info(self, section: bytes = b"") -> Any:
        return b"# Server\r\ndisque_version:1.0-rc1\r\ntcp_port:%d\r\n" % self.node.port

    async def do_debug(self, what: bytes, value: bytes) -> Any:
        if what == b"ADVANCE":
            self.jobs.ahead += float(value)
            self.jobs.let_time_act()
        else:
            node = self.cluster.nodes[int(value)]
            if what == b"UP":
                await node.up()
            elif what == b"DEAF":
                node.is_deaf = True
            elif what in (b"DOWN", b"CUT"):
                getattr(node, what.decode().lower())()
                await asyncio.sleep(0.01)  # connections are closed by the time of the answer
            else:
                raise Refused(SYNTAX)
        async with self.cluster.changed:
            self.cluster.changed.notify_all()
        return OK

    # Jobs

    def do_addjob(self, queue: bytes, body: bytes, timeout: bytes, *options: bytes) -> Any:
        given = pairs(options, b"REPLICATE", b"DELAY", b"RETRY", b"TTL", b"MAXLEN")
        number(timeout)
        replicate = given.pop("replicate", None)
        if replicate is not None and replicate > len(self.cluster.nodes):
            raise Refused("NOREPL Not enough reachable nodes for the requested replication level")
        if given.get("retry") == 0 and replicate != 1:
            raise Refused(
                "ERR With RETRY set to 0 please explicitly set  REPLICATE to 1 "
                "(at-most-once delivery)"
            )
        return self.jobs.add(self.node.id, queue, body, **given)

    async def do_getjob(self, *arguments: bytes) -> Any:
        words = list(arguments)
        flags, count, timeout = set(), 1, 0
        while words and (word := words.pop(0).upper()) != b"FROM":
            if word in (b"NOHANG", b"WITHCOUNTERS"):
                flags.add(word)
            elif word == b"COUNT" and words:
                count = number(words.pop(0))
            elif word == b"TIMEOUT" and words:
                timeout = number(words.pop(0))
            else:
                raise Refused(SYNTAX)
        if not words:
            raise Refused(SYNTAX)
        taken = self.jobs.take(words, count)
        if not taken and b"NOHANG" not in flags:
            taken = await self.wait_for_jobs(words, timeout / 1000)
        return [told(job, b"WITHCOUNTERS" in flags) for job in taken] or None

    async def wait_for_jobs(self, queues: list[bytes], seconds: float) -> list[Job]:
        """Like the real server, which hands one to whoever waits; 0 seconds are for ever."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds if seconds else None
        async with self.cluster.changed:
            while True:
                self.jobs.let_time_act()
                if taken := self.jobs.take(queues, 1):
                    return taken
                left = None if deadline is None else deadline - loop.time()
                if left is not None and left <= 0:
                    return []
                due = self.jobs.seconds_until_due()
                pauses = [max(each, 0.001) for each in (left, due) if each is not None]
                with contextlib.suppress(TimeoutError):
                    wait = self.cluster.changed.wait()
                    await asyncio.wait_for(wait, min(pauses, default=None))

    def do_ackjob(self, *ids: bytes) -> Any:
        return self.jobs.remove(list(ids))

    do_fastack = do_deljob = do_ackjob

    def do_nack(self, *ids: bytes) -> Any:
        return self.jobs.nack(list(ids))

    def do_dequeue(self, *ids: bytes) -> Any:
        return self.jobs.dequeue(list(ids))

    def do_working(self, job_id: bytes) -> Any:
        return self.jobs.work(job_id)

    def do_show(self, job_id: bytes) -> Any:
        job = self.jobs.find(job_id)
        return described(job, self.node, self.jobs.now()) if job else None

    # Queues

    def do_qlen(self, queue: bytes) -> Any:
        return len(self.jobs.queued(queue))

    def do_qpeek(self, queue: bytes, count: bytes) -> Any:
        return [told(job) for job in self.jobs.queued(queue)[: number(count)]]

    def do_qstat(self, queue: bytes) -> Any:
        length = len(self.jobs.queued(queue))
        return [b"name", queue, b"len", length] if length else None

    def do_qscan(self) -> Any:
        return [b"0", sorted({job.queue for job in self.jobs.jobs.values()})]

    def do_jscan(self, *arguments: bytes) -> Any:
        """The cursor is the number of the last job that was shown."""
        words = list(arguments)
        cursor, count, queue, states, tells_all = 0, 100, None, set(), False
        if words and words[0].isdigit():
            cursor = int(words.pop(0))
        while words:
            option, value = words.pop(0).upper(), words.pop(0) if words else b""
            if option == b"COUNT":
                count = number(value)
            elif option == b"QUEUE":
                queue = value
            elif option == b"STATE":
                states.add(value.decode())
            elif option == b"REPLY" and value in (b"all", b"id"):
                tells_all = value == b"all"
            else:
                raise Refused(SYNTAX)
        jobs = sorted(self.jobs.jobs.values(), key=lambda job: job.number)
        page = [job for job in jobs if job.number > cursor][:count]
        found = [
            job
            for job in page
            if queue in (None, job.queue) and (not states or job.state in states)
        ]
        is_last = not page or page[-1] is jobs[-1]
        now = self.jobs.now()
        listed = [described(job, self.node, now) if tells_all else job.id for job in found]
        return [b"0" if is_last else str(page[-1].number).encode(), listed]


def told(job: Job, with_counters: bool = False) -> list[Any]:
    counters = [b"nacks", job.nacks, b"additional-deliveries", job.additional_deliveries]
    return [job.queue, job.id, job.body, *(counters if with_counters else ())]


def described(job: Job, node: Node, now: float) -> list[Any]:
    facts: dict[str, Any] = {
        "id": job.id,
        "queue": job.queue,
        "state": job.state.value.encode(),
        "repl": 1,
        "ttl": int(job.created + job.ttl - now),
        "ctime": int(job.created * 1e9),
        "delay": int(job.delay),
        "retry": int(job.retry),
        "nacks": job.nacks,
        "additional-deliveries": job.additional_deliveries,
        "nodes-delivered": [node.id],
        "nodes-confirmed": [],
        "next-requeue-within": int((job.requeue_at - now) * 1000),
        "next-awake-within": int((job.requeue_at - now) * 1000),
        "body": job.body,
    }
    return [part for name, value in facts.items() for part in (name.encode(), value)]


# RESP2


class Status(str):
    """A simple string."""


OK = Status("OK")


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


def encode(value: Any) -> bytes:
    if isinstance(value, Status):
        return b"+%s\r\n" % value.encode()
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    if value is None:
        return b"*-1\r\n"
    return b"*%d\r\n%s" % (len(value), b"".join(map(encode, value)))


def number(word: bytes) -> int:
    if not word.isdigit():
        raise Refused("ERR value is not an integer or out of range")
    return int(word)


def pairs(words: tuple[bytes, ...], *known: bytes) -> dict[str, Any]:
    if len(words) % 2 or any(word.upper() not in known for word in words[::2]):
        raise Refused(SYNTAX)
    names = [word.decode().lower() for word in words[::2]]
    return dict(zip(names, map(number, words[1::2]), strict=True))


def main(run: Callable[..., Any] = asyncio.run) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--password", default="")
    parser.add_argument("ports", type=int, nargs="+")
    options = parser.parse_args()

    async def serve() -> None:
        await Cluster(options.ports, options.password.encode()).run()

    run(serve())


if __name__ == "__main__":
    main()
