"""Measures the admin's lists of a very large table of finished tasks, as a browser gets them.

`hatch run bench-admin --rows 1000000` fills a table of a private server, logs in, and asks for
each list again and again. The exit status is 1 if the median of one of them is not below 300 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import databases
from benchmarks.stage import staged
from tests.admin_lists import PAGED_ROWS, SITE
from tests.harness import Project

FAST_MS = 300
PATIENCE_SECONDS = 1800

FILL = "import django; django.setup(); from tests.admin_lists import fill; fill({rows})"
TIME = "from tests.admin_lists import timed; timed({repeats})"


def main() -> int:
    """Fill, measure, print; 1 if a list is slow."""
    options = parse_arguments()
    console = Console(stderr=options.json)
    with databases.provider(options.database, durable=True) as provider:
        with staged(provider) as project:
            lists = measured(project, options.rows, options.repeats, console)
        title = f"{options.rows:,} tasks, {provider.title()}, {os.cpu_count()} cores"
    if options.json:
        print(json.dumps({"machine": title, "lists": lists}, indent=2))
    else:
        console.print(table(title, lists))
    return int(any(found["median_ms"] >= FAST_MS for found in lists))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run bench-admin", description=__doc__)
    parser.add_argument("--database", choices=databases.NAMES, default="postgresql")
    parser.add_argument("--rows", type=int, default=1_000_000, help="finished tasks in the table")
    parser.add_argument("--repeats", type=int, default=11, help="how often each list is asked for")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.rows < PAGED_ROWS:
        parser.error(f"--rows {options.rows}: the hundredth page needs {PAGED_ROWS} or more")
    return options


def measured(project: Project, rows: int, repeats: int, console: Console) -> list[dict[str, Any]]:
    """Return what each list took, on a table with so many rows."""
    project.configure({}, **SITE)
    command = [project.interpreter, "-c", FILL.format(rows=rows)]
    # Not by `project.run`: it says how far it is.
    subprocess.run(command, cwd=project.path, env=project.env, stdout=sys.stderr, check=True)
    with console.status("asking for the lists"):
        found: list[dict[str, Any]] = project.run(TIME.format(repeats=repeats), PATIENCE_SECONDS)
    return found


def table(title: str, lists: list[dict[str, Any]]) -> Table:
    """Return one line for each list."""
    made = Table("list", title=title, title_justify="left", box=box.SIMPLE)
    for heading in ("median, ms", "max, ms", "queries", "machine load"):
        made.add_column(heading, justify="right")
    for found in lists:
        made.add_row(
            found["page"],
            f"{found['median_ms']:.1f}",
            f"{found['max_ms']:.1f}",
            str(found["queries"]),
            f"{found['load']:.1f}",
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
