"""`python -m django_q.plugins`: lists the installed plugins, and begins new ones.

Works without settings.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from django_q.errors import ConfigurationError
from django_q.plugins import get_manager
from django_q.plugins.listing import listed, table
from django_q.plugins.skeleton import KINDS, Skeleton


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "new":
        return _new(options.kind, options.name, options.folder)
    _list(options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m django_q.plugins", description="List the installed plugins."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command")
    # Its own default must not undo an option that was given before the command.
    listing = commands.add_parser("list", help="list the installed plugins")
    listing.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
    )
    new = commands.add_parser("new", help="write the skeleton of a plugin, whose tests pass")
    new.add_argument("kind", choices=KINDS)
    new.add_argument("name", metavar="NAME", help="such as carrier-pigeon")
    new.add_argument(
        "--folder", type=Path, default=Path(), help="where to write it; here, unless given"
    )
    return parser


def _list(as_json: bool) -> None:
    # What is wrong with a plugin is in the list.
    logging.getLogger("django-q").addHandler(logging.NullHandler())
    plugins = listed(get_manager())
    print(json.dumps({"plugins": plugins}, indent=2) if as_json else "\n".join(table(plugins)))


def _new(kind: str, name: str, folder: Path) -> int:
    try:
        skeleton = Skeleton(kind, name)
        written = skeleton.write(folder)
    except (ConfigurationError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print("Wrote")
    for path in written:
        print(f"  {path}")
    print("Next:")
    print(f"  cd {shlex.quote(str(folder / skeleton.distribution))}")
    print('  pip install --editable ".[test]"')
    print("  pytest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
