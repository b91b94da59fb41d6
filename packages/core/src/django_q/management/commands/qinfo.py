"""`manage.py qinfo`: what the clusters, the settings and the plugins come to."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand
from django.db import router

from django_q.__about__ import __version__
from django_q.conf import get_settings
from django_q.management.installed import gather as gather_plugins
from django_q.management.installed import is_usable, text, unlogged
from django_q.management.masking import configuration
from django_q.management.outages import in_a_sentence
from django_q.models import Task
from django_q.overview import Overview, gather
from django_q.plugins import get_manager
from django_q.plugins.listing import in_one_line
from django_q.status import Stat
from django_q.terminal import require_rich

NOBODY = "No clusters appear to be running."


class Command(BaseCommand):
    """Shows nine figures, or the configuration, the clusters' ids, or the plugins.

    The command line ends with status 1 where no cluster is alive; `call_command()` has no status,
    and returns.
    """

    help = (
        "Says how the clusters are in nine figures; or, by an option, with what they are "
        "configured, what their ids are, or what is installed. Ends with status 1 when no cluster "
        "is alive and, with --plugins, when what Q_CLUSTER chooses cannot be used."
    )
    requires_system_checks = ()
    """Whoever asks wants to know what is wrong, which a failed check would keep from being said."""

    status = 0

    def add_arguments(self, parser: ArgumentParser) -> None:
        topics = parser.add_mutually_exclusive_group()
        topics.add_argument(
            "--config",
            action="store_true",
            help="The configuration in force, with secrets masked.",
        )
        topics.add_argument(
            "--ids",
            action="store_true",
            help="The ids of the clusters that are alive.",
        )
        topics.add_argument(
            "--plugins",
            action="store_true",
            help="The installed plugins: what each brings, and what is wrong with it.",
        )
        parser.add_argument("--json", action="store_true", help="The same as JSON.")

    def run_from_argv(self, argv: list[str]) -> None:
        super().run_from_argv(argv)
        if self.status:
            sys.exit(self.status)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["plugins"]:
            self.show_plugins(options["json"])
            return
        with in_a_sentence(router.db_for_read(Task)):
            if options["config"]:
                self.show_configuration(options["json"])
            elif options["ids"]:
                self.show_ids(options["json"])
            else:
                self.show_figures(options)

    def show_figures(self, options: dict[str, Any]) -> None:
        """The table, or the same figures as JSON."""
        if not options["json"]:
            require_rich()
        overview = gather()
        if options["json"]:
            self.stdout.write(json.dumps(figures(overview), indent=2))
        else:
            self.draw(overview, options)
        self.expect(overview.clusters)

    def draw(self, overview: Overview, options: dict[str, Any]) -> None:
        # Late: they import rich, which is optional.
        from django_q.terminal.console import console_on
        from django_q.terminal.info import info_table

        console_on(self.stdout, options).print(info_table(overview))

    def show_ids(self, as_json: bool) -> None:
        ids = [str(stat.cluster_id) for stat in Stat.get_all()]
        if as_json:
            self.stdout.write(json.dumps(ids))
        elif ids:
            self.stdout.write("\n".join(ids))
        self.expect(len(ids))

    def expect(self, clusters: int) -> None:
        """End with status 1 where there is none, and say so where no program reads it."""
        if not clusters:
            self.stderr.write(NOBODY)
            self.status = 1

    def show_configuration(self, as_json: bool) -> None:
        found = {"VERSION": __version__, **configuration(get_settings())}
        if as_json:
            self.stdout.write(json.dumps(found, indent=2))
        else:
            lines = (f"{key}: {in_one_line(str(value))}" for key, value in found.items())
            self.stdout.write("\n".join(lines))

    def show_plugins(self, as_json: bool) -> None:
        with unlogged():
            facts = gather_plugins(get_manager())
        self.stdout.write(json.dumps(facts, indent=2) if as_json else "\n".join(text(facts)))
        if not is_usable(facts):
            sys.exit(1)


def figures(overview: Overview) -> dict[str, Any]:
    """What `--json` shows: the nine figures, and the rate in the table's unit."""
    rate, unit = overview.rate()
    return {**asdict(overview), "rate": rate, "rate_per": unit}
