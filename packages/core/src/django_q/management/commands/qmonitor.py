"""`manage.py qmonitor`: shows the clusters and what they do, live or once."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import no_translations
from django.core.serializers.json import DjangoJSONEncoder
from django.db import router

from django_q.management.monitoring import MonitoringCommand
from django_q.management.outages import in_a_sentence
from django_q.models import ClusterStatus
from django_q.status import Stat
from django_q.terminal import require_rich


class Command(MonitoringCommand):
    """Draws the clusters until `q` is pressed."""

    help = "Shows the clusters of this project and what each worker runs now, until q is pressed."

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence(router.db_for_write(ClusterStatus)):
            if options["json"]:
                self.found = Stat.get_all()
                text = json.dumps(list(map(facts, self.found)), indent=2, cls=DjangoJSONEncoder)
                self.stdout.write(text)
            else:
                self.found = self.show(options)

    def show(self, options: dict[str, Any]) -> list[Stat] | None:
        require_rich()
        # Late: they import rich, which is optional.
        from django_q.terminal.clusters import show_clusters
        from django_q.terminal.console import console_on

        return show_clusters(console_on(self.stdout, options), run_once=options["run_once"])


def facts(stat: Stat) -> dict[str, Any]:
    """What `--json` shows of one cluster."""
    return {
        "host": stat.host,
        "pid": stat.pid,
        "cluster_id": str(stat.cluster_id),
        "queue": stat.name,
        "status": str(stat.status),
        "workers": stat.workers,
        "task_q_size": stat.task_q_size,
        "done_q_size": stat.done_q_size,
        "reincarnations": stat.reincarnations,
        "uptime": stat.uptime(),
        "running": stat.running,
    }
