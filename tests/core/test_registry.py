"""The settings choose the broker, and a broker that is not there names its cure."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_q.brokers import Broker, broker_class, get_broker, registry
from django_q.brokers.memory import Memory
from django_q.conf import Conf, Settings
from django_q.errors import ConfigurationError, PluginError, UnknownBroker
from django_q.plugins import BrokerEntry, Manager, get_manager, hookimpl
from django_q.plugins import manager as plugin_manager
from tests.core.distributions import SitePackages

FIRST_PARTY = [
    BrokerEntry(name, f"django_q_broker_{name}.broker.{name.title()}", keys)
    for name, keys in {
        "redis": ("redis", "django_redis"),
        "mongo": ("mongo",),
        "orm": ("orm",),
        "disque": ("disque_nodes",),
        "sqs": ("sqs",),
        "ironmq": ("iron_mq",),
    }.items()
]


class CustomBroker(Broker):
    pass


def installed(*entries: BrokerEntry) -> Manager:
    manager = Manager()
    manager.register(SimpleNamespace(django_q_brokers=hookimpl(lambda: entries)), "sample")
    return manager


def chosen(manager: Manager, **options: Any) -> str:
    return registry.choose(Settings(broker_options=options), manager).name


# Selection


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"iron_mq": {"token": "t"}, "sqs": {}, "orm": "default"}, "ironmq"),
        ({"sqs": {}, "disque_nodes": ["a:1"], "orm": "default"}, "sqs"),
        ({"disque_nodes": ["a:1"], "orm": "default"}, "disque"),
        ({"orm": "default", "mongo": {"host": "h"}, "redis": {"host": "h"}}, "orm"),
        ({"mongo": {"host": "h"}, "redis": {"host": "h"}}, "mongo"),
        ({"redis": {"host": "h"}}, "redis"),
        ({"redis": "redis://h"}, "redis"),
        ({"django_redis": "default"}, "redis"),
        ({"redis": None, "django_redis": "default"}, "redis"),
    ],
)
def test_the_first_key_that_has_a_value_chooses(options: dict[str, Any], name: str) -> None:
    assert chosen(installed(*FIRST_PARTY), **options) == name


@pytest.mark.parametrize(
    "options", [{}, {"sqs": None}, {"sqs": False}, {"orm": None}, {"mongo": {}}, {"redis": {}}]
)
def test_a_key_without_a_value_does_not_choose(options: dict[str, Any]) -> None:
    assert chosen(installed(*FIRST_PARTY), **options) == "redis"


def test_without_a_key_it_is_the_orm_where_redis_is_not_installed() -> None:
    orm_alone = [entry for entry in FIRST_PARTY if entry.name == "orm"]

    assert chosen(installed(*orm_alone)) == "orm"


def test_redis_none_means_the_orm() -> None:
    assert chosen(installed(*FIRST_PARTY), redis=None) == "orm"


def test_a_third_partys_key_chooses_its_broker_even_with_an_empty_dict() -> None:
    manager = installed(*FIRST_PARTY, BrokerEntry("pigeon", "pigeon.Pigeon", ("pigeons",)))

    assert chosen(manager, pigeons=7) == "pigeon"
    assert chosen(manager, pigeons={}) == "pigeon"
    assert chosen(manager, pigeons=None) == "redis"
    assert chosen(manager, pigeons=7, orm="default") == "orm"


def test_ours_is_used_where_a_third_party_answers_to_the_same_key() -> None:
    manager = installed(BrokerEntry("redis", "theirs.Redis", ("redis",)), *FIRST_PARTY)

    assert registry.choose(Settings(), manager).path == "django_q_broker_redis.broker.Redis"


def test_a_third_partys_broker_may_stand_in_for_ours_that_is_not_installed() -> None:
    manager = installed(BrokerEntry("theirs", "theirs.Redis", ("redis",)))

    assert chosen(manager, redis={"host": "h"}) == "theirs"


def test_two_third_parties_that_answer_to_one_key_are_an_error() -> None:
    manager = installed(BrokerEntry("a", "a.A", ("pigeon",)), BrokerEntry("b", "b.B", ("pigeon",)))

    with pytest.raises(PluginError, match=r"a\.A and b\.B\. Name the one to use as broker_class"):
        chosen(manager, pigeon=True)


def test_the_keys_of_two_third_parties_are_an_error() -> None:
    manager = installed(BrokerEntry("a", "a.A"), BrokerEntry("b", "b.B"))

    with pytest.raises(ConfigurationError, match="asks for several brokers: 'a', 'b'"):
        chosen(manager, a=1, b=1)


def test_two_keys_of_one_broker_are_no_conflict() -> None:
    manager = installed(BrokerEntry("a", "a.A", ("a_nodes", "a_password")))

    assert chosen(manager, a_nodes=["n"], a_password="p") == "a"


# What is not installed


@pytest.mark.parametrize(("key", "extra"), registry.FIRST_PARTY.items())
def test_a_broker_that_is_not_installed_names_its_extra(key: str, extra: str) -> None:
    with pytest.raises(UnknownBroker) as caught:
        chosen(Manager(), **{key: {"host": "h"}})

    assert str(caught.value) == (
        f"Q_CLUSTER['{key}'] asks for the broker '{extra}', which is not installed. "
        f'To install it: pip install "django-q-core[{extra}]"'
    )


def test_redis_none_without_the_orm_says_what_that_means() -> None:
    with pytest.raises(UnknownBroker, match=r'"redis": None, which means the ORM.*core\[orm\]"'):
        chosen(Manager(), redis=None)


def test_no_broker_at_all_lists_what_to_install() -> None:
    with pytest.raises(UnknownBroker) as caught:
        chosen(Manager(), reddis={"host": "h"})

    assert 'pip install "django-q-core[orm]"' in str(caught.value)
    assert "Did you mean 'redis'?" in str(caught.value)
    assert "Others: disque, ironmq, mongo, redis, sqs." in str(caught.value)


# Broken plugins


def broken(name: str, site_packages: SitePackages) -> None:
    site_packages.install(
        f"{name}-dist", {f"{name}_plugin": "import gone"}, plugins={name: f"{name}_plugin"}
    )


def test_a_broken_plugin_is_an_error_only_when_it_is_chosen(
    settings: Any, site_packages: SitePackages
) -> None:
    broken("pigeon", site_packages)

    settings.Q_CLUSTER = {"memory": True}
    assert broker_class() is Memory

    settings.Q_CLUSTER = {"pigeon_nodes": ["a"]}
    with pytest.raises(PluginError, match=r"'pigeon' of pigeon-dist 1\.0 .*No module named 'gone'"):
        broker_class()


@pytest.mark.parametrize("options", [{}, {"redis": "redis://h"}])
def test_a_broken_redis_does_not_silently_become_another_broker(
    options: dict[str, Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "django_q_broker_redis.plugin", None)
    monkeypatch.setattr(plugin_manager, "_manager", None)
    theirs = SimpleNamespace(
        django_q_brokers=hookimpl(lambda: BrokerEntry("theirs", "theirs.Redis", ("redis",)))
    )
    get_manager().register(theirs, "theirs")

    settings.Q_CLUSTER = options
    with pytest.raises(PluginError, match=r"'redis' of django-q-broker-redis"):
        broker_class()


def test_a_missing_client_library_names_what_to_install(
    settings: Any, site_packages: SitePackages
) -> None:
    plugin = """
        from django_q.plugins import BrokerEntry, hookimpl

        @hookimpl
        def django_q_brokers():
            return [BrokerEntry("pigeon", "pigeon.broker.Pigeon", ("pigeon",), "pigeon[client]")]
    """
    site_packages.install(
        "pigeon",
        {"pigeon.plugin": plugin, "pigeon.broker": "import carrier_client"},
        plugins={"pigeon": "pigeon.plugin"},
    )
    settings.Q_CLUSTER = {"pigeon": True}

    with pytest.raises(PluginError) as caught:
        broker_class()

    assert str(caught.value) == (
        "The broker 'pigeon' (pigeon.broker.Pigeon) cannot be imported: No module named "
        "'carrier_client'. To install it: pip install \"pigeon[client]\""
    )


# broker_class


def test_broker_class_wins_over_every_key(settings: Any) -> None:
    settings.Q_CLUSTER = {"broker_class": f"{__name__}.CustomBroker", "orm": "default"}

    assert type(get_broker()) is CustomBroker


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("no_such_package.broker.Broker", "there is no module 'no_such_package'"),
        ("django_q.broker.memory.Memory", "Did you mean 'django_q.brokers.memory.Memory'?"),
        ("django_q.brokers.memory.Memry", "has no 'Memry'. Did you mean 'Memory'?"),
    ],
)
def test_a_broker_class_that_does_not_exist_is_told_apart(
    settings: Any, path: str, complaint: str
) -> None:
    settings.Q_CLUSTER = {"broker_class": path}

    with pytest.raises(UnknownBroker) as caught:
        broker_class()

    assert complaint in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize("path", ["decimal.Decimal", "django_q.brokers.get_broker"])
def test_a_broker_class_that_is_no_broker_is_refused(settings: Any, path: str) -> None:
    settings.Q_CLUSTER = {"broker_class": path}

    with pytest.raises(
        ConfigurationError, match=r"must be a subclass of django_q\.brokers\.Broker"
    ):
        broker_class()


def test_a_broker_class_whose_module_fails_is_named(
    settings: Any, site_packages: SitePackages
) -> None:
    site_packages.install("pigeon", {"pigeon": "1 / 0"})
    settings.Q_CLUSTER = {"broker_class": "pigeon.Pigeon"}

    with pytest.raises(PluginError, match=r"pigeon\.Pigeon.*ZeroDivisionError"):
        broker_class()


# get_broker


@pytest.fixture
def memory(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "mine", "memory": True}


@pytest.mark.usefixtures("memory")
def test_each_call_makes_a_new_broker_for_its_queue() -> None:
    first, second, other = get_broker(), get_broker(), get_broker("other")

    assert first is not second
    assert (first.list_key, other.list_key) == ("mine", "other")


@pytest.mark.usefixtures("memory")
def test_a_broker_that_travels_between_processes_is_the_same_queue() -> None:
    assert pickle.loads(pickle.dumps(get_broker("other"))).list_key == "other"


@pytest.mark.usefixtures("memory")
def test_the_class_is_resolved_once_per_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    get_broker()
    monkeypatch.setattr(registry, "choose", lambda *args: pytest.fail("resolved again"))

    get_broker()


@pytest.mark.usefixtures("memory")
def test_changed_settings_change_the_broker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broker_class() is Memory

    monkeypatch.setattr(Conf, "BROKER_CLASS", f"{__name__}.CustomBroker")
    assert broker_class() is CustomBroker

    monkeypatch.undo()
    assert broker_class() is Memory


@pytest.mark.usefixtures("memory")
def test_a_class_that_a_test_patches_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    get_broker()

    monkeypatch.setattr("django_q.brokers.memory.Memory", CustomBroker)

    assert type(get_broker()) is CustomBroker


@pytest.mark.django_db
def test_getting_the_orm_broker_costs_no_query(settings: Any) -> None:
    settings.Q_CLUSTER = {"orm": "default"}

    with CaptureQueriesContext(connection) as queries:
        get_broker()

    assert len(queries) == 0
