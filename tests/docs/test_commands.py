"""docs/commands.md has every command, and each option of it in its section."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import BaseCommand, call_command, load_command_class

from django_q.management import commands
from django_q.management.commands.qinfo import figures
from django_q.overview import Overview
from django_q.records.cleaning import Tally
from django_q.tasks.declared_rows import SyncReport

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()

NAMES = sorted(path.stem for path in Path(commands.__path__[0]).glob("q*.py"))

DJANGOS = {
    option
    for action in BaseCommand().create_parser("manage.py", "")._actions
    for option in action.option_strings
}


def section(name: str) -> str:
    return re.split(r"^## ", PAGE.partition(f"\n## {name}\n")[2], maxsplit=1, flags=re.M)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_on_the_page_with_all_its_options(name: str) -> None:
    parser = load_command_class("django_q", name).create_parser("manage.py", name)
    options = {option for action in parser._actions for option in action.option_strings} - DJANGOS
    arguments = {choice for action in parser._get_positional_actions() for choice in action.choices}

    missing = {each for each in options | arguments if f"`{each}" not in section(name)}

    assert missing == set()


def test_no_command_is_on_the_page_that_does_not_exist() -> None:
    assert sorted(re.findall(r"^## (\w+)$", PAGE, flags=re.M)) == NAMES


def test_the_keys_of_each_json_are_on_the_page() -> None:
    zeros = dict.fromkeys((field.name for field in fields(Overview)), 0)
    keys = {
        "qinfo": figures(Overview(**zeros)),
        "qclean": {*(field.name for field in fields(Tally)), "dry_run"},
        "qschedules": {field.name for field in fields(SyncReport)},
    }

    for name, needed in keys.items():
        assert {key for key in needed if f"`{key}`" not in section(name)} == set()


def test_the_keys_of_the_plugins_are_on_the_page() -> None:
    out = StringIO()
    call_command("qinfo", "--plugins", "--json", stdout=out)

    assert all(f"`{key}`" in section("qinfo") for key in json.loads(out.getvalue()))
