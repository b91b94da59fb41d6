"""The 1.x paths of the brokers are other names of the modules that now hold them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from django_q.brokers import broker_class, get_broker, registry
from django_q.errors import UnknownBroker
from tests.core.distributions import SitePackages

MODULES = {
    extra: tuple(path.rsplit(".", 1)) for extra, path in registry.SHIMS.items() if extra != "orm"
}


def install(extra: str, class_name: str, site_packages: SitePackages) -> None:
    source = f"from django_q.brokers import Broker\n\nclass {class_name}(Broker):\n    pass\n"
    site_packages.install(f"django-q-broker-{extra}", {f"django_q_broker_{extra}.broker": source})


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the shims of brokers that a test replaces anew."""
    for extra, (old_name, _) in MODULES.items():
        for name in (old_name, f"django_q_broker_{extra}", f"django_q_broker_{extra}.broker"):
            # Set before it is deleted, so that it is put back even where it was absent.
            monkeypatch.setitem(sys.modules, name, sys)
            monkeypatch.delitem(sys.modules, name)


def test_the_orm_broker_has_its_1_x_path() -> None:
    from django_q.brokers.orm import ORM

    assert ORM is import_module("django_q_broker_orm.broker").ORM
    assert import_module("django_q.brokers.orm") is import_module("django_q_broker_orm.broker")


@pytest.mark.django_db
def test_a_broker_pickled_under_its_1_x_path_is_read(settings: Any) -> None:
    settings.Q_CLUSTER = {"orm": "default"}
    old = pickle.dumps(get_broker("mine"), 0).replace(
        b"django_q_broker_orm.broker", b"django_q.brokers.orm"
    )

    assert type(pickle.loads(old)) is broker_class()


@pytest.mark.parametrize("extra", MODULES)
def test_the_1_x_path_is_the_very_module(extra: str, site_packages: SitePackages) -> None:
    old_name, class_name = MODULES[extra]
    install(extra, class_name, site_packages)

    old = import_module(old_name)

    assert old is import_module(f"django_q_broker_{extra}.broker")
    assert getattr(sys.modules["django_q.brokers"], old_name.rpartition(".")[2]) is old


@pytest.mark.parametrize("extra", MODULES)
def test_a_1_x_path_serves_as_broker_class(
    extra: str, site_packages: SitePackages, settings: Any
) -> None:
    old_name, class_name = MODULES[extra]
    install(extra, class_name, site_packages)
    settings.Q_CLUSTER = {"broker_class": f"{old_name}.{class_name}"}

    assert type(get_broker()).__module__ == f"django_q_broker_{extra}.broker"


@pytest.mark.parametrize("extra", registry.SHIMS)
def test_the_1_x_path_of_an_absent_broker_says_what_to_install(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_name = registry.SHIMS[extra].rpartition(".")[0]
    monkeypatch.delitem(sys.modules, old_name, raising=False)
    monkeypatch.setitem(sys.modules, f"django_q_broker_{extra}", None)
    monkeypatch.setitem(sys.modules, f"django_q_broker_{extra}.broker", None)

    with pytest.raises(ImportError) as caught:
        import_module(old_name)

    assert f'pip install "django-q-core[{extra}]"' in str(caught.value)


def test_an_absent_broker_named_by_its_1_x_path_is_an_unknown_broker(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "django_q_broker_redis", None)
    settings.Q_CLUSTER = {"broker_class": "django_q.brokers.redis_broker.Redis"}

    with pytest.raises(UnknownBroker, match=r'pip install "django-q-core\[redis\]"'):
        broker_class()


def test_the_brokers_package_imports_no_shim() -> None:
    code = "import sys, django_q.brokers; print('django_q.brokers.orm' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
