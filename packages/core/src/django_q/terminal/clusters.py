"""The screen of `qmonitor`: every cluster, what is queued, and what each worker runs now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from django_q.brokers import Broker, get_broker
from django_q.conf import Conf, Settings, get_settings, queue_names, settings_of
from django_q.overview import Overview, gather
from django_q.status import Stat
from django_q.terminal.console import cell
from django_q.terminal.screen import is_live, watch
from django_q.terminal.sight import Sight

COLUMNS = ("Host", "Id", "State", "Pool", "TQ", "RQ", "RC", "Up")
RUNNING_COLUMNS = ("Queue", "Pid", "Function", "Name", "For")
HEADER = "black on green"
BAR = "black on cyan"

COUNT_SECONDS = 5.0
"""Queues and tables are counted more rarely than clusters are looked at."""

UNKNOWN = "-"


def show_clusters(
    console: Console, broker: Broker | None = None, run_once: bool = False
) -> list[Stat] | None:
    """Show the clusters until `q` is pressed; or once, and return their statuses."""
    if run_once or not is_live(console):
        stats = found(broker)
        console.print(drawing(stats, counted(stats, broker)))
        return stats
    clusters = Sight(lambda: found(broker))
    counts = Sight(lambda: counted(clusters.seen or [], broker), COUNT_SECONDS)

    def draw(height: int) -> ConsoleRenderable:
        stats, summary = clusters.look(), counts.look()
        return drawing(stats or [], summary, clusters.trouble or counts.trouble, height)

    watch(console, draw)
    return None


# What is shown


def found(broker: Broker | None = None) -> list[Stat]:
    """The clusters that live, each in its place however often one looks."""
    stats = Stat.get_all(broker)
    return sorted(stats, key=lambda stat: (str(stat.name), str(stat.host), str(stat.cluster_id)))


def counted(stats: Sequence[Stat], broker: Broker | None = None) -> tuple[str, Overview, int]:
    """Where tasks are queued, the figures, and how many packages clusters have claimed."""
    first = broker or get_broker()
    brokers = [broker] if broker else [get_broker(name) for name in queue_names()]
    return first.info(), gather(stats, broker), sum(each.lock_size() or 0 for each in brokers)


# How it is shown


def drawing(
    stats: Sequence[Stat],
    summary: tuple[str, Overview, int] | None,
    trouble: str | None = None,
    height: int | None = None,
) -> Group:
    """All of it; on a screen of that height what does not fit is left out, and counted."""
    parts: list[ConsoleRenderable] = [Text(), summary_line(summary)]
    if trouble:
        parts.append(cell(trouble, "bold red"))
    if height is not None:
        parts.append(cell("[Press q to quit]", "dim"))
    # The header and the totals.
    room = None if height is None else max(1, height - len(parts) - 2)
    shown = len(stats) if room is None or len(stats) <= room else room - 1
    parts.insert(0, clusters_table(stats, shown))
    tasks = running(stats)
    # An empty line and the header.
    room = None if room is None else room - max(1, len(stats)) - 2
    if tasks and (room is None or room > 0):
        shown = len(tasks) if room is None or len(tasks) <= room else room - 1
        parts[3:3] = [Text(), running_table(tasks, shown)]
    return Group(*parts)


def clusters_table(stats: Sequence[Stat], shown: int) -> Table:
    """A row for each of the first clusters, and the totals of all."""
    table = _table(HEADER)
    table.show_footer = True
    table.footer_style = "bold"
    totals = {
        "Pool": sum(len(stat.workers) for stat in stats),
        "TQ": sum(stat.task_q_size for stat in stats),
    }
    for name in COLUMNS:
        table.add_column(
            cell(name),
            footer=cell(totals.get(name, "")),
            justify="left" if name in ("Host", "State") else "right",
            # Where the terminal is narrow, the host is cut; a cell itself is never wrapped.
            no_wrap=name != "Host",
        )
    # What the settings here say of its queue; a cluster may run with others.
    known = {name: settings_of(name) for name in queue_names()}
    for stat in stats[:shown]:
        table.add_row(*_cells(stat, known.get(str(stat.name), get_settings())))
    if not stats:
        table.add_row(cell("No cluster", "yellow"))
    elif shown < len(stats):
        table.add_row(cell(f"{len(stats) - shown} more", "yellow"))
    return table


def _cells(stat: Stat, settings: Settings) -> tuple[Text, ...]:
    workers, limit = len(stat.workers), settings.queue_limit
    is_full = limit is not None and stat.task_q_size >= limit
    return (
        cell(stat.host),
        cell(stat.pid),
        cell(stat.status, _style_of(stat.status)),
        cell(workers, "yellow" if workers < settings.workers else ""),
        cell(stat.task_q_size, "green" if is_full else "cyan" if stat.task_q_size else ""),
        cell(stat.done_q_size, "cyan" if stat.done_q_size else ""),
        cell(stat.reincarnations),
        cell(duration(stat.uptime())),
    )


def summary_line(summary: tuple[str, Overview, int] | None) -> Table:
    """What is queued and recorded: the line that Django Q2 has at the bottom."""
    broker, queued, successes, failures = UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN
    if summary is not None:
        broker, overview, claimed = summary
        queued = f"{overview.queued}({claimed})" if claimed else str(overview.queued)
        successes, failures = str(overview.successes), str(overview.failures)
    table = _table()
    table.show_header = False
    for name in ("broker", "queued", "successes", "failures"):
        table.add_column(style=BAR, no_wrap=name != "broker")
    table.add_row(
        cell(broker),
        cell(f"Queued {queued}"),
        cell(f"Success {successes}"),
        cell(f"Failures {failures}"),
    )
    return table


def running(stats: Sequence[Stat]) -> list[tuple[Stat, dict[str, Any]]]:
    """What all workers run now, the oldest first."""
    tasks = [(stat, task) for stat in stats for task in stat.running]
    return sorted(tasks, key=lambda pair: -_seconds_since(pair[1].get("since")))


def running_table(tasks: Sequence[tuple[Stat, dict[str, Any]]], shown: int) -> Table:
    """A row for each of the first tasks."""
    table = _table("bold")
    for name in RUNNING_COLUMNS:
        table.add_column(
            cell(name),
            justify="right" if name in ("Pid", "For") else "left",
            no_wrap=name in ("Pid", "For"),
        )
    for stat, task in tasks[:shown]:
        table.add_row(
            cell(stat.name or UNKNOWN),
            cell(task.get("pid")),
            cell(task.get("func") or UNKNOWN),
            cell(task.get("name") or UNKNOWN),
            cell(duration(_seconds_since(task.get("since")))),
        )
    if shown < len(tasks):
        table.add_row(cell(f"{len(tasks) - shown} more", "yellow"))
    return table


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as the manual shows them: 0:01:15."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _table(header: str = "") -> Table:
    return Table(box=None, expand=True, collapse_padding=True, pad_edge=False, header_style=header)


def _style_of(status: Any) -> str:
    if status in (Conf.STARTING, Conf.STOPPING):
        return "yellow"
    return "green" if status == Conf.WORKING else "red" if status == Conf.STOPPED else ""


def _seconds_since(moment: datetime | None) -> float:
    return (datetime.now(moment.tzinfo) - moment) / timedelta(seconds=1) if moment else 0.0
