"""Runs the demo: migrate, start a cluster, one task per file of the standard library, a table."""

import argparse
import os
import shutil
import signal
import sys
import sysconfig
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from demo.brokers import BROKERS
from demo.cluster import Cluster, running_cluster
from demo.report import Outcome, show

GROUP = "stdlib"
INTERRUPTED = 130
LOOK_SECONDS = 0.1


def main() -> int:
    """Run the demo and return its exit status: 0 when every file is accounted for."""
    options = parse_arguments()
    # A `kill` stops the cluster as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    root = Path(sysconfig.get_path("stdlib"))
    files = python_files(root)[: options.limit]
    set_up(options)
    # Only now: the settings module reads what `set_up` has put into the environment.
    from demo import settings

    try:
        with running_cluster(settings.CLUSTER_LOG) as cluster:
            seconds = put_through(console, cluster, files)
    except KeyboardInterrupt:
        console.print("Interrupted; the cluster has stopped.")
        return INTERRUPTED
    except ClusterDied:
        console.print(f"[red]The cluster ended by itself.[/] The end of {settings.CLUSTER_LOG}:")
        console.print(cluster.last_lines(), highlight=False, markup=False)
        return 1
    outcome = look_up(root, files, seconds)
    show(console, outcome, settings.DATABASE, settings.CLUSTER_LOG)
    if cluster.exit_status:
        console.print(f"[red]The cluster's exit status was {cluster.exit_status}.[/]")
    return 0 if outcome.complete and not cluster.exit_status else 1


class ClusterDied(Exception):
    """The cluster ended although nobody stopped it."""


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run demo", description=__doc__)
    parser.add_argument("--broker", choices=sorted(BROKERS), default="orm")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=positive, help="take only so many files")
    return parser.parse_args()


def positive(text: str) -> int:
    """Return the number, or say what was expected."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def python_files(root: Path) -> list[str]:
    """Return the Python files below `root`, without those that pip installed."""
    return sorted(
        str(path)
        for path in root.rglob("*.py")
        if not {"site-packages", "dist-packages"} & set(path.relative_to(root).parts)
    )


def set_up(options: argparse.Namespace) -> None:
    """Start from an empty, migrated database."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
    os.environ["DEMO_BROKER"] = options.broker
    os.environ["DEMO_WORKERS"] = str(options.workers)
    from demo import settings

    shutil.rmtree(settings.DATA, ignore_errors=True)
    settings.DATA.mkdir(parents=True)

    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def put_through(console: Console, cluster: Cluster, files: Sequence[str]) -> float:
    """Enqueue a task per file, follow the cluster until all are done; return the seconds."""
    from django_q.tasks import async_task

    began = time.monotonic()
    with progress_bar(console) as progress:
        bar = progress.add_task("", total=len(files), failed=0)
        for path in files:
            async_task(
                "demo.tasks.measure",
                path,
                group=GROUP,
                hook="demo.tasks.collate",
                task_name=Path(path).name[:100],
            )
        follow(progress, bar, cluster, len(files))
    return time.monotonic() - began


def follow(progress: Progress, bar: TaskID, cluster: Cluster, total: int) -> None:
    """Move the bar until every task is recorded and the hook has seen it."""
    from demo.tasks import read_collated
    from django_q.tasks import count_group

    pause = threading.Event()
    done = 0
    while done < total:
        if cluster.died():
            raise ClusterDied
        done = min(count_group(GROUP) or 0, len(read_collated()))
        failed = count_group(GROUP, failures=True) or 0
        progress.update(bar, completed=done, failed=failed)
        pause.wait(LOOK_SECONDS)


def progress_bar(console: Console) -> Progress:
    """Return the one bar that the demo shows."""
    return Progress(
        TextColumn("parsing the standard library"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        console=console,
    )


def look_up(root: Path, files: Sequence[str], seconds: float) -> Outcome:
    """Read the recorded tasks back: they, not the progress bar, say what was done."""
    from demo import settings
    from demo.tasks import read_collated, reason
    from django_q.models import Task

    tasks = {task.args[0]: task for task in Task.objects.filter(group=GROUP)}
    collated = {str(entry["path"]) for entry in read_collated()}
    return Outcome(
        root=root,
        succeeded={path: task.result for path, task in tasks.items() if task.success},
        failed={path: reason(str(task.result)) for path, task in tasks.items() if not task.success},
        missing=[path for path in files if path not in tasks],
        collated=len(collated & set(tasks)),
        seconds=seconds,
        workers=settings.Q_CLUSTER["workers"],
        broker=os.environ["DEMO_BROKER"],
    )


if __name__ == "__main__":
    sys.exit(main())
