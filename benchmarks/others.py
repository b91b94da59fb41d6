"""The other task queues for Python on the same Redis, each with the settings that suit it best."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.brokers import RedisCarrier
from benchmarks.contenders import CLIENT, Contender
from benchmarks.ledger import Ledger
from benchmarks.processes import run_python, running, stop
from benchmarks.sites import SITE
from tests.harness import temporary_folder


@dataclass(frozen=True)
class Setting:
    """One way to run two worker processes."""

    title: str
    command: tuple[str, ...]
    """What follows `python -m`; `{url}` is Redis'."""
    copies: int = 1
    """How often it is started: twice where one has a single process."""
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Other(Contender):
    """Another queue: what it is given to do, and how to see that it is done."""

    module: str = ""
    """Its module in `site`, which has the task and an `enqueue`."""
    tasks: int = 0
    """How many it drains within a few seconds."""
    keys: tuple[str, ...] = ()
    """The keys in Redis that are empty when nothing waits and nothing is claimed."""
    stores: str = ""
    """What it stores of a result by default."""
    settings: tuple[Setting, ...] = ()


CELERY = ("celery", "-A", "celery_site", "worker", "--loglevel", "WARNING")
CELERY_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
DRAMATIQ = ("dramatiq", "dramatiq_site", "--processes", "2")
HUEY = ("huey.bin.huey_consumer", "huey_site.app", "--quiet", "--no-periodic")
RQ = ("rq.cli", "worker-pool", "bench", "--url", "{url}", "--num-workers", "2", "--quiet")

OTHERS = (
    Other(
        "celery",
        "Celery",
        ("celery[redis]", *CLIENT),
        "celery",
        module="celery_site",
        tasks=5_000,
        keys=("celery", "unacked", "unacked_index"),
        stores="nothing",
        settings=(
            Setting("2 prefork processes", (*CELERY, "--concurrency", "2")),
            Setting(
                "two solo workers, no gossip, mingle or heartbeat",
                (*CELERY, "--pool", "solo", *CELERY_QUIET),
                copies=2,
            ),
        ),
    ),
    Other(
        "dramatiq",
        "Dramatiq",
        ("dramatiq[redis]", *CLIENT),
        "dramatiq",
        module="dramatiq_site",
        tasks=10_000,
        keys=("dramatiq:default", "dramatiq:default.msgs"),
        stores="nothing",
        settings=(
            Setting("2 processes, 8 threads each", DRAMATIQ),
            Setting(
                "2 processes, 1 thread each, prefetch 1000",
                (*DRAMATIQ, "--threads", "1"),
                env={"dramatiq_queue_prefetch": "1000"},
            ),
        ),
    ),
    Other(
        "huey",
        "Huey",
        ("huey", *CLIENT),
        "huey",
        module="huey_site",
        tasks=10_000,
        keys=("huey.redis.bench", "huey.schedule.bench"),
        stores="nothing, since the task returns None",
        settings=(
            Setting("2 processes", (*HUEY, "--workers", "2", "--worker-type", "process")),
            Setting("two consumers, a thread each", (*HUEY, "--workers", "1"), copies=2),
        ),
    ),
    Other(
        "rq",
        "RQ",
        ("rq", *CLIENT),
        "rq",
        module="rq_site",
        tasks=1_000,
        keys=("rq:queue:bench", "rq:wip:bench"),
        stores="in Redis, for 500 s",
        settings=(
            Setting("2 workers that fork for each job", RQ),
            Setting("2 SimpleWorkers", (*RQ, "--worker-class", "rq.worker.SimpleWorker")),
        ),
    ),
)


def drain(
    python: Path, carrier: RedisCarrier, other: Other, setting: Setting, count: int
) -> dict[str, Any]:
    """Enqueue `count` trivial tasks, then start the workers and wait until all are done."""
    carrier.clear()
    with temporary_folder() as folder:
        ledger = Ledger(folder)
        env = environ(folder, carrier) | setting.env
        produced = json.loads(
            run_python(python, folder, env, str(SITE / "burst.py"), other.module, str(count))
        )
        load = os.getloadavg()[0]
        began = time.time_ns()
        with workers(python, folder, env, carrier, setting) as (is_alive, end):
            finished = ledger.wait(count, lambda: not left(carrier, other.keys), is_alive)
            stop_seconds = end()
        figures = ledger.figures(count, finished)
    return {
        "tasks": count,
        "enqueue_per_second": count / produced["seconds"],
        **figures,
        "start_to_finish_seconds": (finished - began) / 1e9,
        "stop_seconds": stop_seconds,
        "load": load,
    }


def environ(folder: Path, carrier: RedisCarrier) -> dict[str, str]:
    """Return the environment of producer and workers."""
    return os.environ | {
        "PYTHONPATH": str(SITE),
        "BENCH_FOLDER": str(folder),
        "BENCH_REDIS": carrier.url,
    }


@contextlib.contextmanager
def workers(
    python: Path, folder: Path, env: dict[str, str], carrier: RedisCarrier, setting: Setting
) -> Iterator[tuple[Callable[[], bool], Callable[[], float]]]:
    """Run the workers; yield what says whether they live, and what ends them in good order."""
    arguments = [part.format(url=carrier.url) for part in setting.command]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running([str(python), "-m", *arguments], folder, env))
            for _ in range(setting.copies)
        ]
        yield (
            lambda: all(process.poll() is None for process in processes),
            lambda: max([stop(process) for process in processes]),
        )


def left(carrier: RedisCarrier, keys: Sequence[str]) -> int:
    """Return how many entries these keys have."""
    size = {"list": "llen", "hash": "hlen", "zset": "zcard", "set": "scard"}
    kinds = [(key, carrier.client.type(key)) for key in keys]
    return sum(int(getattr(carrier.client, size[kind])(key)) for key, kind in kinds if kind in size)
