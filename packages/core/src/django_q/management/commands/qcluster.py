"""`manage.py qcluster`: runs one cluster, or one for each named queue, until told to stop."""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from django_q.conf import (
    CLUSTER_NAME_VARIABLE,
    Settings,
    configure_logging,
    get_settings,
    in_force,
    queue_names,
    select_cluster,
    settings_of,
)
from django_q.errors import ConfigurationError, DjangoQError
from django_q.management.reloading import run_reloading, started_by_reloader
from django_q.readiness import explanation, require_ready, require_tables

logger = logging.getLogger("django-q")

NEAR = 0.75
"""How much a name must be like a known one to be taken for a slip of it."""


class Command(BaseCommand):
    """Starts a cluster of workers on one queue, or one on each of several."""

    help = "Starts a Django Q cluster: workers that run the tasks of one queue, or of several."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--run-once",
            action="store_true",
            help="Run what is in the queue, then stop; of several, each when its own is empty.",
        )
        parser.add_argument(
            "-n",
            "--name",
            "--cluster-name",
            action="append",
            dest="cluster_name",
            metavar="NAME",
            help="The queue to work on, and its entry in ALT_CLUSTERS; wins over Q_CLUSTER_NAME. "
            "Given several times: each queue has a cluster of its own, all under one process.",
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="Start anew whenever the code changes; for development.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        names = _names(options["cluster_name"])
        if len(names) == 1:
            select_cluster(names[0])
        try:
            status = self.run(names, options)
        except DjangoQError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            explained = explanation(error)
            if explained is None:
                raise
            raise CommandError(str(explained)) from error
        if status:
            sys.exit(status)

    def run(self, names: list[str], options: dict[str, Any]) -> int:
        if options["reload"] and not started_by_reloader():
            return run_reloading(options["verbosity"])
        from django_q.cluster.cluster import Cluster
        from django_q.cluster.fleet import Fleet

        require_ready()
        queues = _different(names) if len(names) > 1 else [get_settings()]
        configure_logging(options["verbosity"])
        for name in names or _names(os.environ.get(CLUSTER_NAME_VARIABLE)):
            _say_if_unlisted(name, queue_names())
        for settings in queues:
            with in_force(settings):
                require_tables()
        fleet = Fleet()
        for settings in queues:
            # Reaches its broker: nothing runs yet when one cannot be reached.
            Cluster(settings=settings, fleet=fleet)
        try:
            fleet.start()
        except RuntimeError as error:
            raise CommandError(str(error)) from error
        return fleet.run_until_empty() if options["run_once"] else fleet.join()


def _names(given: str | Sequence[str] | None) -> list[str]:
    """The names that were given; one that is called from code may give a single one."""
    names = [given] if isinstance(given, str) else given or []
    return [name for name in names if name]


def _different(names: list[str]) -> list[Settings]:
    """The settings of each queue; the root's may be named in two ways, but once."""
    queues: dict[str, Settings] = {}
    for name in names:
        settings = settings_of(name)
        if settings.cluster_name in queues:
            raise ConfigurationError(
                f"The queue {settings.cluster_name!r} is named twice: one cluster works on it, and "
                "the setting `workers` says with how many workers."
            )
        queues[settings.cluster_name] = settings
    return list(queues.values())


def _say_if_unlisted(name: str, known: list[str]) -> None:
    """Say which queues Q_CLUSTER names when this one is not among them: a slip is a warning."""
    if name in known:
        return
    spelling = {each.casefold(): each for each in reversed(known)}
    near = get_close_matches(name.casefold(), spelling, 1, NEAR)
    logger.log(
        logging.WARNING if near else logging.INFO,
        "The queue %r is not in ALT_CLUSTERS and has the settings of Q_CLUSTER. Known: %s.%s",
        name,
        ", ".join(map(repr, known)),
        f" Did you mean {spelling[near[0]]!r}?" if near else "",
    )
