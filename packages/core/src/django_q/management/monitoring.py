"""What the commands that look at clusters have in common: `qmonitor`, `qmemory`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand


class MonitoringCommand(BaseCommand):
    """Shows the clusters live, or once; the command line ends with status 1 where there are none.

    `call_command()` has no status, and returns.
    """

    found: Sequence[Any] | None = None
    """The clusters that were there; None after a live screen, which somebody has quit."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--run-once",
            action="store_true",
            help="Show it once; ends with status 1 when no cluster is alive.",
        )
        parser.add_argument("--json", action="store_true", help="The same as JSON.")

    def run_from_argv(self, argv: list[str]) -> None:
        super().run_from_argv(argv)
        if self.found is not None and not self.found:
            sys.exit(1)
