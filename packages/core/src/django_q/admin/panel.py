"""What the admin's status panel shows: the clusters, the queues, and in words what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import router

from django_q import overview
from django_q.admin import health
from django_q.admin.asking import Questions, what_failed
from django_q.brokers import get_broker
from django_q.brokers.registry import settings_elsewhere
from django_q.conf import Conf, logger, queue_names
from django_q.humanhash import humanize
from django_q.readiness import explain_database_errors
from django_q.status import Stat

PATIENCE_SECONDS = 3.0
"""How long the page waits for brokers that are away."""

SHOWN_TASKS = 5
"""How many of the tasks that a cluster runs are named."""


@dataclass(frozen=True)
class RunningTask:
    """What a worker runs now; None for what cannot be read."""

    name: str | None
    func: str | None
    since: datetime | None


@dataclass(frozen=True)
class Cluster:
    """A cluster as it last told of itself."""

    name: str
    """Four words, as its log lines have them."""
    queue: str | None
    """None: it is one of Django Q2, which does not tell."""
    host: str
    pid: int | None
    state: Any
    workers: int
    restarts: int
    born: datetime | None
    silent_seconds: float
    """Since it last told of itself."""
    running: Sequence[RunningTask]
    more_running: int
    """How many besides those that are named."""

    @property
    def is_stopped(self) -> bool:
        return str(self.state) == str(Conf.STOPPED)

    @property
    def is_settled(self) -> bool:
        """Has it started its workers, and does it keep them?"""
        return str(self.state) in (str(Conf.IDLE), str(Conf.WORKING))

    @property
    def is_silent(self) -> bool:
        return self.silent_seconds > health.SILENT_SECONDS


@dataclass(frozen=True)
class Queue:
    """A queue that the settings name."""

    name: str
    size: int | None
    """None: nobody can say."""


@dataclass(frozen=True)
class Panel:
    """All of it. None for clusters: nobody can say."""

    clusters: Sequence[Cluster] | None = None
    queues: Sequence[Queue] = ()
    troubles: Sequence[health.Trouble] = ()

    @property
    def workers(self) -> int:
        return sum(cluster.workers for cluster in self.clusters or ())


def gather() -> Panel:
    """Never fails, for the page has links that trouble makes needed: the panel says what is so."""
    try:
        return _gather()
    except Exception as error:  # settings that cannot be used, a plugin that is not installed, …
        logger.debug("The admin's status panel cannot be gathered:", exc_info=error)
        return Panel(troubles=(health.Trouble(what_failed(error)),))


def _gather() -> Panel:
    broker, questions = get_broker(), Questions(PATIENCE_SECONDS)
    ask = questions.ask_afar if broker.keeps_stats else questions.ask
    stats = ask(_stats)
    sizes: Mapping[str, int | None] | None = None
    if stats is not None or not broker.keeps_stats:  # else it would not answer to this, either
        ask_sizes = questions.ask if broker.is_transactional else questions.ask_afar
        sizes = ask_sizes(overview.queue_sizes)
    clusters = None if stats is None else [_cluster(stat) for stat in stats]
    queues = [Queue(name, (sizes or {}).get(name)) for name in queue_names()]
    troubles = [health.Trouble(text) for text in questions.failures]
    if sizes is not None:
        troubles += health.of_counting(queues)
    if clusters is not None:
        troubles += health.of_clusters(clusters, queues)
    troubles += questions.ask(lambda: list(health.of_schedules())) or []
    return Panel(clusters, queues, troubles)


def _stats() -> list[Stat]:
    """Every cluster's; those of a queue on another broker are kept there."""
    from django_q.models import ClusterStatus  # needs the app registry

    elsewhere = [get_broker(name) for name in queue_names() if settings_elsewhere(name)]
    with explain_database_errors(router.db_for_write(ClusterStatus)):
        found = [stat for broker in (None, *elsewhere) for stat in Stat.get_all(broker)]
    known = {str(stat.cluster_id): stat for stat in found}
    return sorted(known.values(), key=lambda stat: (str(stat.name), stat.host, stat.pid or 0))


def _cluster(stat: Stat) -> Cluster:
    return Cluster(
        name=_words(stat.cluster_id),
        queue=stat.name,
        host=stat.host,
        pid=stat.pid,
        state=stat.status,
        workers=len(stat.workers),
        restarts=stat.reincarnations,
        born=stat.tob,
        silent_seconds=seconds_since(stat.timestamp),
        running=[_running(task) for task in stat.running[:SHOWN_TASKS]],
        more_running=max(0, len(stat.running) - SHOWN_TASKS),
    )


def seconds_since(moment: datetime) -> float:
    """Not by timezone.now(): the site and its clusters need not agree on USE_TZ."""
    return (datetime.now(moment.tzinfo) - moment).total_seconds()


def _running(task: Mapping[str, Any]) -> RunningTask:
    return RunningTask(task.get("name"), task.get("func"), task.get("since"))


def _words(cluster_id: Any) -> str:
    try:
        return humanize(UUID(str(cluster_id)).hex)
    except ValueError:
        return str(cluster_id)  # a cluster of long ago has its pid
