"""Brings the translations up to the code: `python -m docs.translations` updates and compiles them.

New texts are added, and what the code has no longer is taken out. What is then left to translate is
printed, and stands in the `.po` files with an empty `msgstr`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

from django.core.management import CommandError, call_command
from django.core.management.commands import makemessages

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "packages/core/src/django_q"
LANGUAGES = ("de", "fr", "ru", "tr", "zh_Hans")

WHEN_COLLECTED = re.compile(r'^"POT-Creation-Date: .*\n', re.MULTILINE)
"""A line that would differ after every run, whatever else did."""


class Messages(makemessages.Command):
    """Leaves a new text empty, where gettext would guess from one that is like it."""

    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]


def source(language: str, package: Path = PACKAGE) -> Path:
    """The file in which a language is translated."""
    return package / "locale" / language / "LC_MESSAGES/django.po"


def collect(package: Path = PACKAGE) -> None:
    """Bring every language's file up to the texts of the code."""
    with chdir(package):
        call_command(
            Messages(), locale=LANGUAGES, add_location="file", no_obsolete=True, verbosity=0
        )
    for language in LANGUAGES:
        file = source(language, package)
        text = file.read_text(encoding="utf-8")
        file.write_text(WHEN_COLLECTED.sub("", text), encoding="utf-8")


def compiled(file: Path) -> bytes:
    """What msgfmt makes of a file. Raises CalledProcessError where it finds a mistake."""
    command = ["msgfmt", "--check-format", "--output-file=-", str(file)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def untranslated(file: Path) -> str:
    """The entries of a file that are empty or were guessed."""
    guessed_and_empty = ("--only-fuzzy", "--untranslated")
    return "".join(
        subprocess.run(
            ["msgattrib", each, "--force-po", "--no-location", str(file)],
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        ).stdout.partition("\n\n")[2]
        for each in guessed_and_empty
    )


def main() -> None:
    """Update and compile, and exit with 1 where something is left to translate."""
    try:
        collect()
    except CommandError as error:
        sys.exit(f"{error} On Debian: apt-get install gettext")
    left = {file: untranslated(file) for file in map(source, LANGUAGES)}
    for file, entries in left.items():
        file.with_suffix(".mo").write_bytes(compiled(file))
        if entries:
            print(f"{file.relative_to(ROOT)} lacks:\n\n{entries}")
    sys.exit(1 if any(left.values()) else 0)


if __name__ == "__main__":
    main()
