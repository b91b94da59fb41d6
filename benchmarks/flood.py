"""Keeps so many trivial tasks waiting that a cluster never runs out, at little cost of its own.

It ends when its standard input does.
"""

from __future__ import annotations

import logging
import sys
import threading

import django

AT_ONCE = 200
FULL_SECONDS = 0.01


def flood(depth: int, stopping: threading.Event) -> None:
    """Enqueue in batches while fewer than `depth` packages wait."""
    from django_q.brokers import get_broker
    from django_q.tasks.enqueue import build, finish, put_many, ready_settings

    broker, settings = get_broker(), ready_settings()
    while not stopping.is_set():
        if broker.queue_size() >= depth:
            stopping.wait(FULL_SECONDS)
            continue
        tasks = (build("math.floor", (1.5,), {}, settings) for _ in range(AT_ONCE))
        put_many(broker, [finish(task, settings) for task in tasks])


def heed_stdin(stopping: threading.Event) -> None:
    """Stop when nobody holds the other end any more."""
    sys.stdin.read()
    stopping.set()


if __name__ == "__main__":
    django.setup()
    # A line for each task would be most of the cost.
    logging.disable(logging.INFO)
    told = threading.Event()
    threading.Thread(target=heed_stdin, args=[told], daemon=True).start()
    flood(int(sys.argv[1]), told)
