"""`manage.py qcluster`: runs a cluster until it is told to stop."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from django_q.conf import configure_logging, get_settings, select_cluster
from django_q.errors import DjangoQError
from django_q.readiness import explanation, require_ready, require_tables


class Command(BaseCommand):
    """Starts a cluster of workers on one queue."""

    help = "Starts a Django Q cluster: workers that run the tasks of one queue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--run-once",
            action="store_true",
            help="Run what is in the queue, then stop.",
        )
        parser.add_argument(
            "-n",
            "--name",
            "--cluster-name",
            dest="cluster_name",
            metavar="NAME",
            help="The queue to work on, and its entry in ALT_CLUSTERS; wins over Q_CLUSTER_NAME.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["cluster_name"]:
            select_cluster(options["cluster_name"])
        try:
            status = self.run(options)
        except DjangoQError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            explained = explanation(error)
            if explained is None:
                raise
            raise CommandError(str(explained)) from error
        if status:
            sys.exit(status)

    def run(self, options: dict[str, Any]) -> int:
        from django_q.cluster.cluster import Cluster

        require_ready()
        get_settings()
        configure_logging(options["verbosity"])
        require_tables()
        cluster = Cluster()
        try:
            cluster.start()
        except RuntimeError as error:
            raise CommandError(str(error)) from error
        return cluster.run_until_empty() if options["run_once"] else cluster.join()
