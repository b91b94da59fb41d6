"""Plugins are found one at a time, and a broken one costs nobody else anything."""

from __future__ import annotations

import ast
import inspect
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from django_q.brokers import get_broker, registry
from django_q.errors import PluginError, TimeoutException
from django_q.plugins import BrokerEntry, Manager, ReporterEntry, get_manager, hookimpl, hookspecs
from django_q.plugins import manager as plugin_manager
from tests.core.distributions import SitePackages

DOCS = Path(__file__).parents[2] / "docs" / "plugins.md"

GOOD_PLUGIN = """
    from django_q.plugins import BrokerEntry, hookimpl

    @hookimpl
    def django_q_brokers():
        return [BrokerEntry("pigeon", "pigeon.broker.Pigeon", keys=("pigeon",), install="pigeon")]
"""


def plugin_of(**hooks: Callable[..., object]) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


def manager_with(**hooks: Callable[..., object]) -> Manager:
    manager = Manager()
    manager.register(plugin_of(**hooks), "sample")
    return manager


# Discovery


def test_an_installed_distribution_offers_its_broker(site_packages: SitePackages) -> None:
    site_packages.install(
        "pigeon", {"pigeon.plugin": GOOD_PLUGIN}, plugins={"pigeon": "pigeon.plugin"}
    )

    assert "pigeon.broker.Pigeon" in [entry.path for entry in get_manager().brokers()]
    assert get_manager().plugins["pigeon"].distribution == "pigeon 1.0"


def test_the_memory_broker_is_offered_through_the_same_hook() -> None:
    assert Manager().offers("django_q_brokers") == (
        (
            "builtin",
            BrokerEntry("memory", "django_q.brokers.memory.Memory", ("memory",), "django-q-core"),
        ),
    )


def test_core_is_met_once_although_its_entry_point_names_it_again() -> None:
    assert [name for name in get_manager().plugins if name.startswith("builtin")] == ["builtin"]


def test_a_plugin_that_does_not_import_is_listed_and_costs_no_other(
    site_packages: SitePackages,
) -> None:
    site_packages.install("aaa", {"aaa": "import no_such_thing"}, plugins={"aaa": "aaa"})
    site_packages.install("bbb", {"bbb": "raise SystemExit(3)"}, plugins={"bbb": "bbb"})
    site_packages.install(
        "pigeon", {"pigeon.plugin": GOOD_PLUGIN}, plugins={"pigeon": "pigeon.plugin"}
    )

    manager = get_manager()

    assert "pigeon" in [entry.name for entry in manager.brokers()]
    assert set(manager.errors) >= {"aaa", "bbb"}
    assert str(manager.errors["aaa"]) == (
        "The plugin 'aaa' of aaa 1.0 could not be imported: "
        "ModuleNotFoundError: No module named 'no_such_thing'."
    )
    assert isinstance(manager.errors["aaa"].__cause__, ModuleNotFoundError)


def test_a_misspelt_hook_costs_its_plugin_alone(
    site_packages: SitePackages,
    caplog: pytest.LogCaptureFixture,
) -> None:
    misspelt = GOOD_PLUGIN.replace("django_q_brokers", "django_q_broker")
    site_packages.install("bad", {"bad_plugin": misspelt}, plugins={"bad": "bad_plugin"})
    site_packages.install(
        "pigeon", {"pigeon.plugin": GOOD_PLUGIN}, plugins={"pigeon": "pigeon.plugin"}
    )

    assert [entry.name for entry in get_manager().brokers()].count("pigeon") == 1
    assert "Did you mean 'django_q_brokers'?" in str(get_manager().errors["bad"])
    assert "'django_q_broker'" in caplog.text


def test_an_argument_that_the_hook_does_not_have_is_refused() -> None:
    manager = Manager()

    with pytest.raises(PluginError, match="taks"):
        manager.register(plugin_of(pre_enqueue=lambda taks: None), "sample")

    assert not manager.listens("pre_enqueue")


def test_a_wrapper_is_refused() -> None:
    @hookimpl(wrapper=True)
    def pre_enqueue(task: object) -> object:
        return (yield)

    manager = Manager()

    with pytest.raises(PluginError, match="'pre_enqueue' cannot be wrapped"):
        manager.register(SimpleNamespace(pre_enqueue=pre_enqueue), "sample")

    assert not manager.listens("pre_enqueue")


def test_a_plugin_whose_attributes_cannot_be_read_costs_no_other(
    site_packages: SitePackages,
) -> None:
    lazy = """
        def __dir__():
            return ["Client"]

        def __getattr__(name):
            raise ImportError("no client library")
    """
    site_packages.install("lazy", {"lazy_plugin": lazy}, plugins={"lazy": "lazy_plugin"})
    site_packages.install(
        "pigeon", {"pigeon.plugin": GOOD_PLUGIN}, plugins={"pigeon": "pigeon.plugin"}
    )

    assert "pigeon" in [entry.name for entry in get_manager().brokers()]


def test_a_name_is_registered_once() -> None:
    manager = manager_with(post_spawn=lambda: None)

    with pytest.raises(PluginError, match="'sample' already"):
        manager.register(plugin_of(post_execute=lambda: None), "sample")

    assert manager.listens("post_spawn")


def test_two_distributions_may_name_their_plugin_alike(site_packages: SitePackages) -> None:
    site_packages.install("one", {"one": ""}, plugins={"same": "one"})
    site_packages.install("two", {"two": ""}, plugins={"same": "two"})

    assert {"same", "same (two)"} <= set(get_manager().plugins)


def test_a_half_removed_distribution_costs_no_other(site_packages: SitePackages) -> None:
    site_packages.install("gone", plugins={"gone": "gone.plugin"})
    (site_packages.folder / "gone-1.0.dist-info" / "METADATA").unlink()

    assert "The plugin 'gone' of gone.plugin could not be imported" in str(
        get_manager().errors["gone"]
    )


def test_threads_that_ask_at_once_share_one_discovery(
    site_packages: SitePackages,
) -> None:
    site_packages.install("slow", {"slow_plugin": ""}, plugins={"slow": "slow_plugin"})
    barrier = threading.Barrier(4)

    def ask(_: int) -> Manager:
        barrier.wait()
        return get_manager()

    with ThreadPoolExecutor(4) as threads:
        managers = list(threads.map(ask, range(4)))

    assert len(set(map(id, managers))) == 1
    assert "slow" in managers[0].plugins


def test_a_plugin_that_asks_for_the_manager_while_it_is_imported_sees_those_before_it(
    site_packages: SitePackages,
) -> None:
    source = "from django_q.plugins import get_manager\nSEEN = list(get_manager().plugins)"
    site_packages.install("zzz", {"zzz_plugin": source}, plugins={"zzz": "zzz_plugin"})

    assert "zzz" in get_manager().plugins
    assert "builtin" in sys.modules["zzz_plugin"].SEEN


def test_importing_django_q_discovers_nothing_and_needs_no_settings() -> None:
    code = (
        "import django_q, django_q.brokers, django_q.plugins, django_q.reporters, sys\n"
        "from django_q.plugins import manager\n"
        "assert manager._manager is None\n"
        "clients = {'redis', 'boto3', 'pymongo', 'iron_mq', 'sentry_sdk', 'rollbar'}\n"
        "assert not clients & set(sys.modules), clients & set(sys.modules)\n"
    )

    environment = {"PATH": "", "DJANGO_SETTINGS_MODULE": "no.such.module"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )

    assert done.stderr == ""


# Entries


def test_a_plugin_may_offer_one_entry_without_a_list() -> None:
    entry = ReporterEntry("pager", "pager.Pager")

    assert manager_with(django_q_reporters=lambda: entry).reporters() == [entry]


def test_a_plugin_that_offers_something_else_is_listed_as_broken() -> None:
    manager = manager_with(django_q_brokers=lambda: ["pigeon.Pigeon"])

    assert [entry.name for entry in manager.brokers()] == ["memory"]
    assert "expected a list of BrokerEntry" in str(manager.errors["sample"])


def test_a_plugin_that_raises_when_asked_is_listed_as_broken() -> None:
    manager = manager_with(django_q_brokers=lambda: 1 / 0)

    assert [entry.name for entry in manager.brokers()] == ["memory"]
    assert "ZeroDivisionError" in str(manager.errors["sample"])


def test_plugins_are_asked_once_for_what_they_bring() -> None:
    asked: list[str] = []

    def offer_nothing() -> list[BrokerEntry]:
        asked.append("brokers")
        return []

    manager = manager_with(django_q_brokers=offer_nothing)

    manager.brokers()
    manager.brokers()

    assert asked == ["brokers"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("", "a.B"), "name must be a word"),
        (("a", "B"), "dotted path"),
        (("a", "a.B", "key"), "tuple of words"),
    ],
)
def test_an_entry_says_what_is_wrong_with_it(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        BrokerEntry(*arguments)  # type: ignore[arg-type]


# Keys that several plugins answer to


def offering(manager: Manager, plugin: str, *entries: BrokerEntry | ReporterEntry) -> None:
    kind = "django_q_brokers" if isinstance(entries[0], BrokerEntry) else "django_q_reporters"
    manager.register(plugin_of(**{kind: lambda: entries}), plugin, f"{plugin}-dist 1.0")


def test_two_third_parties_contest_a_key() -> None:
    manager = Manager()
    offering(manager, "one", BrokerEntry("pigeon", "one.Pigeon"))
    offering(manager, "two", BrokerEntry("two", "two.Pigeon", ("two", "pigeon")))

    [contested] = manager.contested_keys()

    assert str(contested) == (
        "Q_CLUSTER['pigeon'] is claimed by 'one' of one-dist 1.0 (one.Pigeon) and 'two' of "
        "two-dist 1.0 (two.Pigeon): it chooses none of them."
    )


def test_reporters_contest_keys_of_their_own_setting() -> None:
    manager = Manager()
    offering(manager, "one", ReporterEntry("pager", "one.Pager"))
    offering(manager, "two", ReporterEntry("pager", "two.Pager"))
    offering(manager, "three", BrokerEntry("pager", "three.Pager"))

    [contested] = manager.contested_keys()

    assert contested.setting == "Q_CLUSTER[\"error_reporter\"]['pager']"


def test_ours_is_not_contested_by_a_third_party_but_shares_its_key() -> None:
    manager = Manager()
    offering(manager, "ours", BrokerEntry("redis", "django_q_broker_redis.broker.Redis"))
    offering(manager, "theirs", BrokerEntry("theirs", "theirs.Redis", ("redis",)))

    [shared] = manager.shared_keys()

    assert manager.contested_keys() == []
    assert str(shared) == (
        "Q_CLUSTER['redis'] is answered by 'ours' of ours-dist 1.0 "
        "(django_q_broker_redis.broker.Redis), which comes before 'theirs' of theirs-dist 1.0 "
        "(theirs.Redis)."
    )


def test_one_class_that_is_offered_twice_is_not_contested() -> None:
    manager = Manager()
    offering(manager, "one", BrokerEntry("pigeon", "pigeon.Pigeon"))
    offering(manager, "two", BrokerEntry("pigeon", "pigeon.Pigeon"))

    assert manager.shared_keys() == []


def test_to_look_for_contests_is_to_ask_every_plugin() -> None:
    manager = manager_with(django_q_reporters=lambda: 1 / 0)

    manager.contested_keys()

    assert "ZeroDivisionError" in str(manager.errors["sample"])


def test_every_broker_that_settings_can_ask_for_is_ours() -> None:
    ours = {f"django_q_broker_{name}.Class" for name in registry.FIRST_PARTY.values()}

    assert all(BrokerEntry("any", path).is_ours for path in ours)
    assert not BrokerEntry("kafka", "django_q_broker_kafka.Kafka").is_ours


# Lifecycle


def test_a_plugin_is_listed_with_the_hooks_that_it_hears() -> None:
    manager = manager_with(pre_execute=lambda: None, post_execute=lambda: None)
    manager.register(plugin_of(post_spawn=lambda: None), "other")

    assert manager.heard_by("sample") == ["post_execute", "pre_execute"]
    assert manager.heard_by("builtin") == []


def test_a_hook_is_called_with_the_arguments_it_asks_for() -> None:
    heard: list[object] = []

    def hear(task: object) -> None:
        heard.append(task)

    manager = manager_with(pre_execute=hear, post_spawn=lambda: heard.append("spawned"))

    manager.call("pre_execute", func=print, task={"id": "1"})
    manager.call("post_spawn", proc_name="Process-1")

    assert heard == [{"id": "1"}, "spawned"]


def test_only_hooks_that_are_implemented_have_listeners() -> None:
    manager = manager_with(pre_execute=lambda: None)

    assert manager.listens("pre_execute")
    assert not manager.listens("post_execute")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_what_a_hook_raises_is_logged_with_its_plugin_and_stops_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(task: object) -> None:
        raise error

    def hear(task: object) -> None:
        heard.append(task)

    heard: list[object] = []
    manager = manager_with(post_execute=hear)
    manager.register(plugin_of(post_execute=fails), "clumsy")

    with caplog.at_level(logging.ERROR, "django-q"):
        raised = manager.call("post_execute", task={"id": "1"})

    assert raised == [error]
    assert heard == [{"id": "1"}]
    assert "The plugin 'clumsy' failed in post_execute" in caplog.text


def test_what_a_hook_raises_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[object, object]] = []
    monkeypatch.setattr(
        plugin_manager, "_reporter", lambda task: reported.append((task, sys.exc_info()[0]))
    )
    manager = manager_with(pre_enqueue=lambda: 1 / 0)

    manager.call("pre_enqueue", task={"id": "1"})

    assert reported == [({"id": "1"}, ZeroDivisionError)]


def test_a_timeout_inside_a_hook_still_ends_the_task() -> None:
    def times_out() -> None:
        raise TimeoutException

    with pytest.raises(TimeoutException):
        manager_with(pre_execute=times_out).call("pre_execute", func=print, task={})


def test_an_unregistered_plugin_is_called_no_more() -> None:
    manager = manager_with(pre_enqueue=lambda: 1 / 0)

    manager.unregister("sample")

    assert not manager.listens("pre_enqueue")
    assert "sample" not in manager.plugins


# Documentation


def signatures() -> dict[str, str]:
    functions = ast.parse(inspect.getsource(hookspecs)).body
    return {
        each.name: f"{each.name}({ast.unparse(each.args)}) -> {ast.unparse(each.returns)}"
        for each in functions
        if isinstance(each, ast.FunctionDef) and each.returns
    }


def test_the_manual_shows_every_hook_with_its_exact_signature_and_no_other() -> None:
    documented = re.findall(r"^### `(.+)`$", DOCS.read_text(), re.MULTILINE)

    assert documented == list(signatures().values())


def test_every_hook_but_those_for_entries_belongs_to_the_lifecycle() -> None:
    assert set(signatures()) - {"django_q_brokers", "django_q_reporters"} == hookspecs.LIFECYCLE


def test_the_plugin_of_the_manual_works_as_printed(
    site_packages: SitePackages,
    settings: object,
) -> None:
    blocks = re.findall(r"```python\n# (\S+)\.py\n(.*?)```", DOCS.read_text(), re.DOTALL)
    modules = {path.replace("/", "."): source for path, source in blocks}
    plugin = re.search(
        r"```toml\n\[project.entry-points.django_q\]\n(\w+) = \"(\S+)\"", DOCS.read_text()
    )
    assert plugin is not None
    site_packages.install("django-q-postbox", modules, plugins={plugin[1]: plugin[2]})
    settings.Q_CLUSTER = {"postbox": True}  # type: ignore[attr-defined]

    broker = get_broker("letters")
    broker.enqueue("a package")

    assert broker.dequeue() == [(None, "a package")]
    assert not broker.dequeue()
