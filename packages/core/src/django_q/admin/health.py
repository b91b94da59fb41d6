"""What is wrong with clusters and queues, in sentences that say what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings as django_settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_q.conf import get_settings
from django_q.rules import ALT_CLUSTERS

if TYPE_CHECKING:
    from django_q.admin.panel import Cluster, Queue

SILENT_SECONDS = 11.0
"""A cluster tells of itself every five seconds: such a one has missed two of them."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong; `level` is one of the classes that the admin's messages have."""

    text: str
    level: str = "error"


def of_clusters(clusters: Sequence[Cluster], queues: Sequence[Queue]) -> Iterator[Trouble]:
    """What is wrong with the clusters, and with queues that have none."""
    living = [cluster for cluster in clusters if not cluster.is_stopped]
    idle = list(_unattended(living, queues))
    yield from idle
    if not (living or idle or get_settings().sync):
        yield Trouble(
            _("No cluster is running: what is queued will wait. Start one: manage.py qcluster"),
            "warning",
        )
    for cluster in living:
        if cluster.is_silent:
            yield _silence(cluster)
        elif cluster.is_settled:
            yield from _missing_workers(cluster)


def of_schedules() -> Iterator[Trouble]:
    """Schedules that the scheduler has marked, and passes over until somebody saves them."""
    from django_q.models import Schedule  # needs the app registry

    count = Schedule.objects.exclude(error=None).exclude(error="").count()
    if count:
        text = ngettext(
            "%(count)d schedule could not be queued: its error says why.",
            "%(count)d schedules could not be queued: their errors say why.",
            count,
        )
        yield Trouble(text % {"count": count}, "warning")


def of_counting(queues: Sequence[Queue]) -> Iterator[Trouble]:
    """Queues of which the broker does not say how much waits in them."""
    for queue in queues:
        if queue.size is None:
            text = _(
                "The broker does not say how much waits in the queue %(queue)s: it is away, or "
                "cannot count. The site's log has the reason."
            )
            yield Trouble(text % {"queue": queue.name})


def _unattended(living: Sequence[Cluster], queues: Sequence[Queue]) -> Iterator[Trouble]:
    attended = {cluster.queue for cluster in living}
    if None in attended:
        return  # It works on one of them, and does not tell on which.
    for queue in queues:
        if queue.size and queue.name not in attended:
            text = ngettext(
                "%(count)d task waits in the queue %(queue)s, and no cluster works on it. "
                "Start one: manage.py qcluster --name %(queue)s",
                "%(count)d tasks wait in the queue %(queue)s, and no cluster works on it. "
                "Start one: manage.py qcluster --name %(queue)s",
                queue.size,
            )
            yield Trouble(text % {"count": queue.size, "queue": queue.name})


def _silence(cluster: Cluster) -> Trouble:
    text = _(
        "The cluster %(cluster)s (%(host)s, process %(pid)s) has told nothing of itself for "
        "%(seconds)d seconds, and should every five: it was killed or hangs, cannot reach the "
        "broker or the database, or the clocks of the machines differ."
    )
    values = {"cluster": cluster.name, "host": cluster.host, "pid": cluster.pid}
    return Trouble(text % (values | {"seconds": cluster.silent_seconds}))


def _missing_workers(cluster: Cluster) -> Iterator[Trouble]:
    expected = _workers_set(cluster.queue)
    if expected is not None and cluster.workers < expected:
        text = _(
            "The cluster %(cluster)s (%(host)s, process %(pid)s) has %(workers)d of %(expected)d "
            "workers. If that lasts, its log says why they end."
        )
        values = {"cluster": cluster.name, "host": cluster.host, "pid": cluster.pid}
        values |= {"workers": cluster.workers, "expected": expected}
        yield Trouble(text % values, "warning")


def _workers_set(queue: str | None) -> int | None:
    """None: one for each processor of the cluster's machine, which may not be this one."""
    options = getattr(django_settings, "Q_CLUSTER", None) or {}
    entry = (options.get(ALT_CLUSTERS) or {}).get(queue, {})
    workers: int | None = entry.get("workers", options.get("workers"))
    return workers
