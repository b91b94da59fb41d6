"""`manage.py check` says what is wrong with a site, and stops it only where it could not work."""

import sqlite3
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import OperationalError, ProgrammingError

from django_q import checks, readiness
from django_q.brokers import Broker
from django_q.conf import Conf
from django_q.errors import ConfigurationError, PluginError
from django_q.plugins import BrokerEntry, Manager, get_manager, hookimpl
from django_q.plugins.manager import Plugin
from django_q.readiness import explain_database_errors, require_ready


class Leased(Broker):
    supports_receipts = True
    supports_lease_renewal = True


class Unleased(Broker):
    supports_receipts = True


class NoBroker:
    pass


UNLEASED = {"broker_class": f"{__name__}.Unleased"}


def found(id_: str | None = None) -> list[CheckMessage]:
    messages = run_checks(tags=[checks.TAG])
    return [each for each in messages if id_ is None or each.id == f"django_q.{id_}"]


def set_database(monkeypatch: pytest.MonkeyPatch, database: dict[str, Any]) -> None:
    # Only what the settings say changes: the connections of the tests are left alone.
    monkeypatch.setattr("django.conf.settings.DATABASES", {"default": database})


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that there is nothing to advise about."""
    set_database(monkeypatch, {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})


class TestQCluster:
    @pytest.mark.usefixtures("in_memory")
    def test_a_good_site_is_told_nothing(self) -> None:
        assert found() == []

    def test_each_wrong_value_is_an_error(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"retry": 0, "bulk": 0, "ALT_CLUSTERS": {"long": {"poll": 0}}}

        messages = found("E001")

        assert len(messages) == 3
        assert all(each.is_serious() for each in messages)
        assert messages[2].msg.startswith('Q_CLUSTER["ALT_CLUSTERS"]["long"]["poll"] must be')

    def test_q_cluster_that_is_no_dict_is_an_error(self, settings: Any) -> None:
        settings.Q_CLUSTER = ["workers"]

        assert [each.id for each in found()] == ["django_q.E001"]

    @pytest.mark.parametrize(
        ("key", "meant"),
        [("worker", "workers"), ("Timeout", "timeout"), ("max_attempt", "max_attempts")],
    )
    def test_an_unknown_key_is_a_warning_with_the_nearest_one(
        self, settings: Any, key: str, meant: str
    ) -> None:
        settings.Q_CLUSTER = {"orm": "default", key: 1}

        (message,) = found("W001")

        assert message.msg == f"Q_CLUSTER has a key {key!r} that nothing reads."
        assert message.hint == f"Did you mean {meant!r}?"
        assert not message.is_serious()

    def test_an_unknown_key_of_an_alternative_cluster_is_found(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"ALT_CLUSTERS": {"long": {"retri": 1, "name": "x"}}}

        messages = [each.msg for each in found("W001")]

        assert len(messages) == 2
        assert "'retri'" in messages[0]
        assert "'name', which is ignored there" in messages[1]

    def test_a_key_that_resembles_none_gets_no_guess(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"zzzz": 1}

        (message,) = found("W001")

        assert "Did you mean" not in str(message.hint)

    @pytest.mark.parametrize("key", ["memory", "memory_limit"])
    def test_a_plugins_keys_are_known(self, settings: Any, key: str) -> None:
        settings.Q_CLUSTER = {"orm": "default", key: {}}

        assert found("W001") == []


class TestInstallation:
    @pytest.mark.parametrize("predecessor", ["django-q", "django-q2"])
    def test_a_predecessor_beside_ours_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, predecessor: str
    ) -> None:
        def version(distribution: str) -> str:
            if distribution == predecessor:
                return "1.2.3"
            raise PackageNotFoundError

        monkeypatch.setattr(checks, "version", version)

        (message,) = found("E002")

        assert message.msg.startswith(f"{predecessor} 1.2.3 is installed beside django-q-core")
        assert f"pip uninstall {predecessor}" in str(message.hint)

    def test_a_broken_plugin_that_is_not_used_is_a_warning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = Plugin("kafka", "kafka 1", PluginError("The plugin 'kafka' is broken."))
        monkeypatch.setitem(get_manager().plugins, "kafka", broken)

        (message,) = found("W002")

        assert (message.msg, message.is_serious()) == ("The plugin 'kafka' is broken.", False)

    def test_a_key_that_two_plugins_claim_is_a_warning_also_while_nobody_uses_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager = Manager()
        for name in ("one", "two"):
            entry = BrokerEntry("pigeon", f"{name}.Pigeon")
            plugin = SimpleNamespace(django_q_brokers=hookimpl(lambda entry=entry: entry))
            manager.register(plugin, name, f"{name}-post 1.0")
        monkeypatch.setattr(checks, "get_manager", lambda: manager)

        (message,) = found("W007")

        assert "'one' of one-post 1.0 (one.Pigeon) and 'two' of two-post 1.0" in message.msg
        assert not message.is_serious()


class TestBroker:
    @pytest.mark.parametrize("path", [f"{__name__}.NoBroker", "no.such.Broker", "math.sqrt"])
    def test_a_broker_class_that_is_no_broker_is_an_error(self, settings: Any, path: str) -> None:
        settings.Q_CLUSTER = {"broker_class": path}

        (message,) = found("E003")

        assert path.split(".", maxsplit=1)[0] in message.msg

    def test_a_custom_broker_is_welcome(self, settings: Any) -> None:
        settings.Q_CLUSTER = UNLEASED

        assert found("E003") == []

    def test_a_broker_that_is_not_installed_names_its_cure(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(get_manager()), "brokers", lambda self: [])
        settings.Q_CLUSTER = {"redis": {"host": "h"}}

        (message,) = found("E003")

        assert 'pip install "django-q-core[redis]"' in message.msg

    def test_a_site_that_asks_for_none_may_still_start(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(get_manager()), "brokers", lambda self: [])
        settings.Q_CLUSTER = {}

        assert (len(found("W003")), found("E003")) == (1, [])

    def test_an_unknown_error_reporter_is_an_error(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"orm": "default", "error_reporter": {"nobody": {}}}

        (message,) = found("E004")

        assert "nobody" in message.msg

    def test_an_unknown_database_is_an_error(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"orm": "queue"}

        (message,) = found("E005")

        assert "'queue', which is not in DATABASES: default" in message.msg


class TestRetry:
    def test_short_retry_warns_without_lease_renewal(self, settings: Any) -> None:
        settings.Q_CLUSTER = {**UNLEASED, "retry": 60, "timeout": 60}

        (message,) = found("W004")

        assert "retry (60 s) is not greater than timeout (60 s)" in message.msg

    @pytest.mark.parametrize(
        "options",
        [
            {**UNLEASED, "retry": 61, "timeout": 60},
            {**UNLEASED, "retry": 1},
            {"broker_class": f"{__name__}.Leased", "retry": 1, "timeout": 60},
            {"broker_class": "django_q.brokers.Broker", "retry": 1, "timeout": 60},
        ],
    )
    def test_no_other_site_is_warned(self, settings: Any, options: dict[str, Any]) -> None:
        settings.Q_CLUSTER = options

        assert found("W004") == []

    def test_an_alternative_cluster_is_looked_at_too(self, settings: Any) -> None:
        settings.Q_CLUSTER = {**UNLEASED, "ALT_CLUSTERS": {"long": {"timeout": 3000}}}

        (message,) = found("W004")

        assert message.msg.startswith('Q_CLUSTER["ALT_CLUSTERS"]["long"]')


class TestCache:
    @pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
    def test_cached_results_in_a_cache_of_one_process_warn(
        self, settings: Any, backend: str
    ) -> None:
        settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
        settings.Q_CLUSTER = {"orm": "default", "cached": 60}

        (message,) = found("W005")

        assert backend.split(".")[1] in message.msg

    def test_a_shared_cache_is_welcome(self, settings: Any) -> None:
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache"}
        }
        settings.Q_CLUSTER = {"orm": "default", "cached": True}

        assert found("W005") == []

    def test_a_cache_that_is_not_there_is_an_error(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"orm": "default", "cached": True, "cache": "results"}

        assert "'results', which is not in CACHES" in found("E006")[0].msg


def can_write(path: Path) -> bool:
    """Does another process get the write lock?"""
    script = (
        "import sqlite3, sys\n"
        "sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')"
    )
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


class TestSQLite:
    OPTIONS = {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous = NORMAL;",
    }

    def database(self, name: object, **options: str) -> dict[str, Any]:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}

    def test_a_plain_database_is_advised(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        set_database(monkeypatch, self.database(tmp_path / "db"))

        (message,) = found("I001")

        assert "journal_mode=WAL" in message.msg
        assert checks.SQLITE_OPTIONS in str(message.hint)
        assert not message.is_serious()

    def test_one_set_up_as_advised_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        set_database(monkeypatch, self.database(tmp_path / "db", **self.OPTIONS))

        assert found("I001") == []

    def test_a_file_that_is_in_wal_already_is_seen(self, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / "db")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.close()

        missing = checks.sqlite_advice(self.database(tmp_path / "db"))

        assert "journal_mode=WAL" not in missing
        assert "synchronous=NORMAL" in missing

    def test_a_look_at_the_file_leaves_this_process_its_locks(self, tmp_path: Path) -> None:
        ours = sqlite3.connect(tmp_path / "db", isolation_level=None)
        ours.execute("CREATE TABLE t (a)")
        ours.execute("BEGIN IMMEDIATE")

        missing = checks.sqlite_advice(self.database(tmp_path / "db"))

        assert "journal_mode=WAL" in missing
        assert not can_write(tmp_path / "db")
        ours.close()

    def test_a_file_that_is_no_database_is_advised(self, tmp_path: Path) -> None:
        (tmp_path / "db").write_text("not a database, however long it may be: " * 30)

        assert "journal_mode=WAL" in checks.sqlite_advice(self.database(tmp_path / "db"))

    @pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory&cache=shared", ""])
    def test_a_database_in_memory_is_left_alone(self, name: str) -> None:
        assert checks.sqlite_advice(self.database(name)) == []

    def test_other_databases_are_left_alone(self) -> None:
        assert checks.sqlite_advice({"ENGINE": "django.db.backends.postgresql"}) == []


class TestReadiness:
    def test_a_ready_site_passes(self) -> None:
        require_ready()

    def test_the_app_must_be_installed(self, settings: Any) -> None:
        settings.INSTALLED_APPS = ["django.contrib.contenttypes"]

        with pytest.raises(ConfigurationError, match='"django_q" is not in INSTALLED_APPS'):
            require_ready()

    def test_the_secret_key_must_be_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Conf, "SECRET_KEY", None)

        with pytest.raises(ConfigurationError, match="SECRET_KEY is missing"):
            require_ready()

    @pytest.mark.parametrize(
        "error",
        [
            OperationalError("no such table: django_q_ormq"),
            ProgrammingError('relation "django_q_ormq" does not exist\nLINE 1: SELECT'),
            ProgrammingError("(1146, \"Table 'site.django_q_ormq' doesn't exist\")"),
            OperationalError("table django_q_ormq has no column named priority"),
        ],
    )
    def test_a_missing_table_names_the_command(self, error: Exception) -> None:
        with (
            pytest.raises(
                ConfigurationError, match=r"django_q_ormq .*`manage.py migrate`"
            ) as caught,
            explain_database_errors(),
        ):
            raise error

        assert caught.value.__cause__ is error

    def test_another_database_is_named_in_the_command(self) -> None:
        explained = readiness.explanation(OperationalError("no such table: django_q_x"), "queue")

        assert "manage.py migrate --database queue" in str(explained)

    @pytest.mark.parametrize(
        "error",
        [
            OperationalError("no such table: shop_order"),
            OperationalError("database is locked"),
            ValueError("no such table: django_q_ormq"),
        ],
    )
    def test_other_errors_pass_as_they_are(self, error: Exception) -> None:
        with pytest.raises(type(error)) as caught, explain_database_errors():
            raise error

        assert caught.value is error


class TestApp:
    def test_the_label_of_the_settings_is_the_apps_name_in_the_admin(self, settings: Any) -> None:
        from django_q.apps import DjangoQConfig

        settings.Q_CLUSTER = {"label": "Background work"}
        module = __import__("django_q")

        config = DjangoQConfig("django_q", module)

        assert (config.verbose_name, config.label, config.name) == (
            "Background work",
            "django_q",
            "django_q",
        )

    def test_wrong_settings_do_not_keep_the_apps_from_loading(self, settings: Any) -> None:
        from django_q.apps import DjangoQConfig

        settings.Q_CLUSTER = {"retry": 0}

        assert DjangoQConfig("django_q", __import__("django_q")).verbose_name == "Django Q2"
