"""`manage.py qmemory`: shows what the clusters of this host have in memory, live or once."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import no_translations
from django.db import router

from django_q.management.monitoring import MonitoringCommand
from django_q.management.outages import in_a_sentence
from django_q.models import ClusterStatus
from django_q.status import Stat
from django_q.terminal import require_rich
from django_q.terminal.processes import memory_of, require_psutil


class Command(MonitoringCommand):
    """Draws the memory of clusters until `q` is pressed."""

    help = "Shows how much memory the clusters on this host use, until q is pressed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--workers", action="store_true", help="Also show the memory of each worker."
        )

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        with in_a_sentence(router.db_for_write(ClusterStatus)):
            require_psutil()
            if options["json"]:
                self.found = Stat.get_all()
                self.stdout.write(json.dumps(list(map(memory_of, self.found)), indent=2))
            else:
                self.found = self.show(options)

    def show(self, options: dict[str, Any]) -> list[Stat] | None:
        require_rich()
        # Late: they import rich, which is optional.
        from django_q.terminal.console import console_on
        from django_q.terminal.memory import show_memory

        console = console_on(self.stdout, options)
        return show_memory(console, run_once=options["run_once"], workers=options["workers"])
