"""Shows that a cluster under load survives whatever dies, and prints one line of figures.

`hatch run stress --kills 100` kills members of the cluster at random, `--stops 50` stops it by
SIGTERM to its group, `--restarts 5 --away 60` restarts the server that holds the queue. With
`--broker redis` that is a Redis which has on disk whatever it has answered (AOF, `appendfsync
always`), and `--redis-kills 10` kills it too. What was enqueued and what ran stands in ledgers
outside the system. The exit status is 1 if anything was not as it should be: a task lost, run
again without a death that hit it, a package or a process left behind, a stop that hung, an outage
that took more than two lines of the log.

`--schedules 12000` is a test of its own: two clusters share so many schedules, and run each once
and on time. So is `--schedule-kills 50`: clusters are killed while they queue what is due.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console

from benchmarks import brokers
from benchmarks.brokers import Carrier, carrier
from benchmarks.databases import NAMES, Provider, provider
from benchmarks.pruning import prune_under_load
from benchmarks.schedule_kills import kill_clusters
from benchmarks.schedules import Load, share
from benchmarks.under_load import Plan, stress

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
"""A Redis that answers when it has on disk what it was given."""


def main() -> int:
    """Do what the command line asks for; 1 if something was not as it should be."""
    options = parse_arguments()
    with (
        provider(options.database, durable=bool(options.rows or options.schedules)) as databases,
        carrier(options.broker, **DURABLE) as queue,
        progress() as say,
    ):
        found = chosen(options, databases, queue, say)
    print(json.dumps(asdict(found), default=list) if options.json else found.line(), flush=True)
    if found.evidence:
        print(f"Ledgers and logs are kept in {found.evidence}", file=sys.stderr)
    return 0 if found.good else 1


def chosen(
    options: argparse.Namespace, databases: Provider, queue: Carrier, say: Callable[[str], None]
) -> Any:
    """Run the test that was asked for, and return its figures."""
    if options.rows:
        return prune_under_load(databases, options.rows, options.seconds or 20, say)
    if options.schedules:
        return share(databases, queue, Load(options.schedules, options.each_second), say)
    if options.schedule_kills:
        return kill_clusters(databases, queue, options.schedule_kills, say)
    return stress(databases, queue, plan_of(options), say)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="hatch run stress",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=0, help="SIGKILLs of random members")
    parser.add_argument("--stops", type=int, default=0, help="SIGTERMs to the group")
    parser.add_argument("--restarts", type=int, default=0, help="restarts of the queue's server")
    parser.add_argument("--redis-kills", type=int, default=0, help="SIGKILLs of redis-server")
    parser.add_argument("--away", type=float, default=0, help="how long it is away each time")
    parser.add_argument(
        "--seconds", type=float, default=0, help="spread everything over at least so long"
    )
    parser.add_argument(
        "--tasks", type=int, default=0, help="spread everything over at least so many tasks"
    )
    parser.add_argument("--rows", type=int, default=0, help="prune so many results under load")
    parser.add_argument(
        "--schedules", type=int, default=0, help="let two clusters share so many schedules"
    )
    parser.add_argument(
        "--each-second", type=int, default=200, help="how many of them are due at once"
    )
    parser.add_argument(
        "--schedule-kills", type=int, default=0, help="kill clusters that queue what is due"
    )
    parser.add_argument("--database", choices=NAMES, default="sqlite")
    parser.add_argument("--broker", choices=brokers.NAMES, default="orm")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--retry", type=int, default=3, help="the lease, in seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    options = parser.parse_args()
    if options.restarts and (options.database, options.broker) == ("sqlite", "orm"):
        parser.error("--restarts needs a server: --database postgresql or mariadb, --broker redis")
    if options.redis_kills and options.broker != "redis":
        parser.error("--redis-kills needs a Redis: --broker redis")
    if options.rows and options.broker != "orm":
        parser.error("--rows measures the results' database: leave out --broker")
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    """Return what the options ask for; kills, if they ask for nothing."""
    kills = options.kills
    if not (kills or options.stops or options.restarts or options.redis_kills):
        kills = max(20, round(options.seconds / 2))
    return Plan(
        kills=kills,
        stops=options.stops,
        restarts=options.restarts,
        redis_kills=options.redis_kills,
        away_seconds=options.away,
        seconds=options.seconds,
        tasks=options.tasks,
        workers=options.workers,
        retry=options.retry,
        seed=options.seed,
    )


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yield what says how far it is: in one line of a terminal, and else every ten seconds."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
    else:
        yield Lines().say


class Lines:
    """Progress for a file: a line from time to time."""

    def __init__(self) -> None:
        self.said = time.monotonic()

    def say(self, text: str) -> None:
        """Print the text, unless something was printed a moment ago."""
        if time.monotonic() >= self.said + 10:
            self.said = time.monotonic()
            print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
