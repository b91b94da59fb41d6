"""`manage.py qinfo --plugins` lists what is installed, and what is wrong with what is chosen."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_q.__about__ import __version__
from tests.core.distributions import SitePackages

PIGEON = """
    from django_q.plugins import BrokerEntry, hookimpl

    @hookimpl
    def django_q_brokers():
        return BrokerEntry("pigeon", "{module}.Pigeon", ("pigeon", "pigeons"), "pigeon")
"""

PAGER = """
    from django_q.plugins import ReporterEntry, hookimpl

    @hookimpl
    def django_q_reporters():
        return ReporterEntry("pager", "pager_plugin.Pager")

    @hookimpl
    def post_execute(task):
        pass

    @hookimpl
    def pre_enqueue(task):
        pass

    class Pager:
        def report(self):
            pass
"""


def qinfo(*arguments: str) -> tuple[str, int]:
    """Return what `qinfo --plugins` prints, and its exit status."""
    out = StringIO()
    try:
        call_command("qinfo", "--plugins", *arguments, stdout=out)
    except SystemExit as stop:
        return out.getvalue(), int(str(stop.code))
    return out.getvalue(), 0


def facts() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(qinfo("--json")[0])
    return answer


def plugin(name: str) -> dict[str, Any]:
    [found] = [each for each in facts()["plugins"] if each["name"] == name]
    return dict(found)


def install_pigeon(site_packages: SitePackages, name: str, version: str = "1.0") -> None:
    source = {f"{name}_plugin": PIGEON.format(module=f"{name}_plugin")}
    plugins = {name: f"{name}_plugin"}
    site_packages.install(f"{name}-post", source, plugins=plugins, version=version)


def test_a_plugin_is_listed_with_its_distribution_and_what_it_brings(
    site_packages: SitePackages,
) -> None:
    install_pigeon(site_packages, "pigeon", "2.5")

    lines = qinfo()[0].splitlines()

    assert [line.split() for line in lines if line.startswith(("PLUGIN", "builtin", "pigeon"))] == [
        ["PLUGIN", "DISTRIBUTION", "BRINGS", "STATE"],
        ["builtin", "django-q-core", __version__, "broker", "memory", "(memory)", "ok"],
        ["pigeon", "pigeon-post", "2.5", "broker", "pigeon", "(pigeon,", "pigeons)", "ok"],
    ]


def test_the_columns_are_aligned(site_packages: SitePackages) -> None:
    site_packages.install("long", {"long_plugin": PAGER}, plugins={"long": "long_plugin"})

    lines = qinfo()[0].split("\n\n", maxsplit=1)[0].splitlines()

    column = lines[0].index("BRINGS")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)


def test_reporters_and_hooks_have_a_line_each(site_packages: SitePackages) -> None:
    site_packages.install("pager", {"pager_plugin": PAGER}, plugins={"pager": "pager_plugin"})

    lines = [line.strip() for line in qinfo()[0].splitlines()]

    at = next(i for i, line in enumerate(lines) if "reporter pager (pager)" in line)
    assert lines[at + 1 : at + 3] == ["hook post_execute", "hook pre_enqueue"]


def test_json_says_the_same(site_packages: SitePackages) -> None:
    site_packages.install("pager", {"pager_plugin": PAGER}, plugins={"pager": "pager_plugin"})

    assert plugin("pager") == {
        "name": "pager",
        "distribution": "pager 1.0",
        "brokers": [],
        "reporters": [{"name": "pager", "path": "pager_plugin.Pager", "keys": ["pager"]}],
        "hooks": ["post_execute", "pre_enqueue"],
        "state": "ok",
    }


def test_the_broker_that_the_settings_choose_is_named(settings: Any) -> None:
    settings.Q_CLUSTER = {"memory": True}

    answer = facts()["broker"]

    assert answer == {
        "name": "memory",
        "path": "django_q.brokers.memory.Memory",
        "plugin": "builtin",
        "state": "ok",
    }
    assert "Broker: memory (django_q.brokers.memory.Memory)" in qinfo()[0].splitlines()


def test_a_broker_class_is_named_as_such(settings: Any) -> None:
    settings.Q_CLUSTER = {"broker_class": "django_q.brokers.memory.Memory"}

    assert "Broker: broker_class (django_q.brokers.memory.Memory)" in qinfo()[0]


# What is wrong


def test_a_broken_plugin_shows_its_whole_error_in_one_line_and_costs_no_status(
    settings: Any, site_packages: SitePackages
) -> None:
    source = 'raise ImportError("no \\x1b[31mclient\\nlibrary")'
    site_packages.install("pigeon", {"pigeon_plugin": source}, plugins={"pigeon": "pigeon_plugin"})
    settings.Q_CLUSTER = {"memory": True}

    shown, status = qinfo()

    assert status == 0
    [line] = [line for line in shown.splitlines() if line.startswith("pigeon")]
    assert line.endswith(
        "  The plugin 'pigeon' of pigeon 1.0 could not be imported: "
        "ImportError: no [31mclient library."
    )


@pytest.mark.parametrize("options", [("--json",), ()])
def test_a_broken_plugin_that_is_chosen_ends_with_status_1(
    settings: Any, site_packages: SitePackages, options: tuple[str, ...]
) -> None:
    site_packages.install(
        "pigeon", {"pigeon_plugin": "import gone"}, plugins={"pigeon": "pigeon_plugin"}
    )
    settings.Q_CLUSTER = {"pigeon": True}

    shown, status = qinfo(*options)

    assert status == 1
    assert shown.count("The plugin 'pigeon' of pigeon 1.0 could not be imported") == 2


def test_a_chosen_broker_whose_class_is_missing_ends_with_status_1(
    settings: Any, site_packages: SitePackages
) -> None:
    install_pigeon(site_packages, "pigeon")
    settings.Q_CLUSTER = {"pigeon": True}

    shown, status = qinfo()

    assert status == 1
    assert "Broker: The broker 'pigeon' (pigeon_plugin.Pigeon): pigeon_plugin has no" in shown


def test_an_error_reporter_that_cannot_be_used_ends_with_status_1(settings: Any) -> None:
    settings.Q_CLUSTER = {"memory": True, "error_reporter": {"nobody": {"token": "s3cret"}}}

    shown, status = qinfo()

    assert status == 1
    assert "Error reporter 'nobody': Q_CLUSTER" in shown
    assert "names no error reporter that is installed" in shown


def test_an_error_reporter_that_can_be_used_is_named(
    settings: Any, site_packages: SitePackages
) -> None:
    site_packages.install("pager", {"pager_plugin": PAGER}, plugins={"pager": "pager_plugin"})
    settings.Q_CLUSTER = {"memory": True, "error_reporter": {"pager": {}}}

    shown, status = qinfo()

    assert (status, "Error reporter 'pager': ok" in shown.splitlines()) == (0, True)


def test_settings_that_cannot_be_used_are_said_beside_the_plugins(settings: Any) -> None:
    settings.Q_CLUSTER = {"retry": 0, "bulk": 0}

    shown, status = qinfo()

    assert status == 1
    assert shown.startswith("PLUGIN")
    assert "\nQ_CLUSTER cannot be used: Q_CLUSTER['retry'] must be" in shown.replace('"', "'")


def test_a_contested_key_is_the_state_of_both_plugins(
    settings: Any, site_packages: SitePackages
) -> None:
    install_pigeon(site_packages, "one", "1.5")
    install_pigeon(site_packages, "two", "2.5")
    settings.Q_CLUSTER = {"memory": True}

    shown, status = qinfo()

    assert status == 0
    assert shown.count("Q_CLUSTER['pigeon'] is claimed by 'one' of one-post 1.5") == 2
    assert shown.count("and 'two' of two-post 2.5 (two_plugin.Pigeon)") == 2 * 2
    assert plugin("one")["state"] == plugin("two")["state"] != "ok"


def test_a_third_party_that_ours_comes_before_is_mentioned(
    settings: Any, site_packages: SitePackages
) -> None:
    source = PIGEON.format(module="theirs_plugin").replace('"pigeons"', '"orm"')
    site_packages.install("theirs", {"theirs_plugin": source}, plugins={"theirs": "theirs_plugin"})
    settings.Q_CLUSTER = {"orm": "default"}

    shown, status = qinfo()

    assert (status, plugin("theirs")["state"]) == (0, "ok")
    assert "Q_CLUSTER['orm'] is answered by 'orm' of django-q-broker-orm" in shown


def test_nothing_secret_is_shown(settings: Any, tmp_path: Path) -> None:
    settings.Q_CLUSTER = {
        "broker_class": "django_q.brokers.memory.Memory",
        "redis": "redis://:s3cret@host",
        "error_reporter": {"sentry": {"dsn": "https://s3cret@host"}},
    }

    assert "s3cret" not in qinfo()[0] + qinfo("--json")[0]


def test_without_a_topic_the_usage_is_the_answer() -> None:
    with pytest.raises(CommandError, match="--plugins"):
        call_command("qinfo")
