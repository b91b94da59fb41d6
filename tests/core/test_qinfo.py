"""`manage.py qinfo`: nine figures, the clusters' ids, and what is installed or wrong with it."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_q.__about__ import __version__
from django_q.brokers.memory import Memory
from django_q.errors import BrokerUnavailable
from django_q.management.commands import qinfo as qinfo_command
from django_q.status import Stat
from django_q.tasks import async_task, schedule
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


# The figures and the ids


def info(*arguments: str) -> tuple[str, str, int]:
    """Return what the command line prints, what it complains of, and its exit status."""
    out, complaint = StringIO(), StringIO()
    command = qinfo_command.Command(stdout=out, stderr=complaint)
    try:
        command.run_from_argv(["manage.py", "qinfo", "--no-color", *arguments])
    except SystemExit as stop:
        return out.getvalue(), complaint.getvalue(), int(str(stop.code))
    return out.getvalue(), complaint.getvalue(), 0


@pytest.fixture
def cluster() -> Stat:
    """The status of a cluster that lives."""
    snapshot = {"cluster_id": uuid4(), "workers": [1, 2], "reincarnations": 3, "status": "Idle"}
    stat = Stat.from_snapshot(snapshot)
    stat.save()
    return stat


@pytest.mark.django_db
@pytest.mark.usefixtures("cluster")
def test_the_nine_figures_are_in_a_table() -> None:
    schedule("math.floor", 1.5)
    for _ in range(30):
        async_task("math.floor", 1.5, sync=True)

    shown, _, status = info()

    assert status == 0
    assert [line.split() for line in shown.splitlines()] == [
        ["tests", "summary"],
        ["Clusters", "1", "Workers", "2", "Restarts", "3"],
        ["Queued", "0", "Successes", "30", "Failures", "0"],
        ["Schedules", "1", "Tasks/hour", "1.25", "Avg", "time", ANY],
    ]


@pytest.mark.django_db
@pytest.mark.usefixtures("cluster")
def test_json_has_the_figures_by_their_names() -> None:
    async_task("math.floor", 1.5)

    shown, _, status = info("--json")

    assert (json.loads(shown), status) == (
        {
            "clusters": 1, "workers": 2, "restarts": 3, "queued": 1, "successes": 0, "failures": 0,
            "schedules": 0, "tasks_per_day": 0.0, "average_seconds": None,
            "rate": 0.0, "rate_per": "day",
        },
        0,
    )  # fmt: skip


@pytest.mark.django_db
def test_the_ids_stand_in_a_line_each(cluster: Stat) -> None:
    assert info("--ids") == (f"{cluster.cluster_id}\n", "", 0)
    assert json.loads(info("--ids", "--json")[0]) == [str(cluster.cluster_id)]


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [(), ("--json",), ("--ids",), ("--ids", "--json")])
def test_without_a_cluster_the_status_is_1_and_a_line_says_why(arguments: tuple[str, ...]) -> None:
    shown, complaint, status = info(*arguments)

    assert (complaint, status) == ("No clusters appear to be running.\n", 1)
    assert "--json" not in arguments or not json.loads(shown) or json.loads(shown)["clusters"] == 0


@pytest.mark.django_db
def test_called_from_code_it_returns() -> None:
    call_command("qinfo", ids=True, stderr=StringIO())


@pytest.mark.django_db
def test_figures_need_no_rich_as_json_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.table", None)

    assert info("--json")[2] == 1
    with pytest.raises(CommandError, match=r'pip install "django-q-core\[monitor\]"'):
        call_command("qinfo")


class Away(Memory):
    """A broker whose server is away."""

    def queue_size(self) -> int:
        raise BrokerUnavailable("nobody answers at host:6379")


@pytest.mark.django_db
def test_a_broker_that_is_away_is_said_in_a_sentence(settings: Any) -> None:
    settings.Q_CLUSTER = {"broker_class": f"{__name__}.Away"}

    with pytest.raises(CommandError, match=r"^nobody answers at host:6379"):
        call_command("qinfo")


@pytest.mark.django_db
@pytest.mark.parametrize("topic", ["--ids", "--json"])
def test_missing_tables_are_said_in_a_sentence(topic: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_q_clusterstatus RENAME TO elsewhere")

    with pytest.raises(CommandError, match=r"clusterstatus is missing .* run `manage.py migrate`"):
        call_command("qinfo", topic)


def test_one_topic_at_a_time() -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("qinfo", "--config", "--ids")
