"""Shows promises whose proof takes too long, or too many rounds, for the test-suite.

`hatch run promises` prints one line for each and ends with status 1 if one is broken.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.brokers import Carrier
from benchmarks.databases import provider
from benchmarks.under_load import Plan, stress
from tests.databases import SQLite
from tests.harness import DATABASE_FILE, Project, make_template, temporary_folder

ENQUEUE = "from django_q.tasks import async_task\n"


def main() -> int:
    """Check every promise; 1 if one is broken."""
    parser = argparse.ArgumentParser(prog="hatch run promises", description=__doc__)
    parser.add_argument("--stops", type=int, default=10, help="stops under load")
    parser.add_argument("--only", choices=[promise.__name__ for promise in PROMISES])
    options = parser.parse_args()
    kept = True
    with temporary_folder() as folder:
        template = make_template(folder)
        for promise in PROMISES:
            if options.only in (None, promise.__name__):
                answer, line = promise(template, options.stops)
                kept &= answer
                print(f"{'kept  ' if answer else 'BROKEN'} {line}", flush=True)
    return 0 if kept else 1


@contextmanager
def new_project(template: Path, **q_cluster: object) -> Iterator[Project]:
    """A project with a database of its own, and nothing left of it afterwards."""
    with temporary_folder() as folder:
        project = Project(folder, SQLite(folder / DATABASE_FILE, template))
        project.configure(q_cluster)
        yield project
        project.close()


def long_tasks(template: Path, stops: int) -> tuple[bool, str]:
    """Two tasks that take 14 seconds each, with `retry` 4."""
    with new_project(template, retry=4, workers=2) as project:
        project.run(ENQUEUE + "[async_task('tests.jobs.sleep', i, 14) for i in range(2)] and None")
        cluster = project.start_cluster()
        tasks = project.wait_for_tasks(2, timeout=60)
        # Whatever lapsed would be presented again within another `retry`.
        time.sleep(5)
        cluster.stop()
        starts = project.starts().total()
    good = starts == 2 and all(task["success"] for task in tasks)
    return good, f"two 14-second tasks with retry 4 started {starts} times, expected 2"


def manual_example(template: Path, stops: int) -> tuple[bool, str]:
    """The configuration page's own example: `retry` 5, four workers, `time.sleep` of 22."""
    with new_project(template, retry=5, workers=4) as project:
        project.run(ENQUEUE + "async_task('time.sleep', 22)")
        cluster = project.start_cluster()
        project.wait_for_tasks(1, timeout=60)
        time.sleep(6)
        cluster.stop()
        runs = sum("processing" in line for line in cluster.lines)
    return runs == 1, f"retry 5 and a task of 22 seconds on four workers: it ran {runs} times"


def stops_under_load(template: Path, stops: int) -> tuple[bool, str]:
    """SIGTERM to the process group of a busy cluster, again and again on one queue."""
    with provider("sqlite", durable=False) as databases:
        plan = Plan(stops=stops, workers=2)
        figures = stress(databases, Carrier(), plan, lambda text: None, template)
    return figures.good, f"stops of the group under load: {figures.line()}"


PROMISES: list[Callable[[Path, int], tuple[bool, str]]] = [
    long_tasks,
    manual_example,
    stops_under_load,
]


if __name__ == "__main__":
    sys.exit(main())
