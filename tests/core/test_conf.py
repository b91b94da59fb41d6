"""Q_CLUSTER: read once, validated, merged per cluster, and seen through Conf as in 1.x."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.test import override_settings

from django_q import conf
from django_q.conf import Conf, Settings, configure_logging, get_settings, select_cluster
from django_q.errors import ConfigurationError
from django_q.rules import RULES


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # setenv before delenv, so that what select_cluster() sets is undone as well.
    monkeypatch.setenv("Q_CLUSTER_NAME", "")
    monkeypatch.delenv("Q_CLUSTER_NAME")
    conf.reset_settings()
    yield
    monkeypatch.undo()
    conf.reset_settings()


class TestReading:
    def test_the_same_object_is_given_until_something_changes(self) -> None:
        assert get_settings() is get_settings()

    def test_override_settings_is_seen(self) -> None:
        with override_settings(Q_CLUSTER={"retry": 7}):
            assert (get_settings().retry, Conf.RETRY) == (7, 7)

        assert get_settings().retry == 60

    def test_no_q_cluster_means_the_defaults(self, settings: Any) -> None:
        del settings.Q_CLUSTER

        assert (get_settings().name, get_settings().save_limit) == ("default", 250)

    def test_the_documented_defaults(self, settings: Any) -> None:
        settings.Q_CLUSTER = {}
        expected = {
            "name": "default",
            "cluster_name": "default",
            "workers": os.cpu_count(),
            "daemonize_workers": True,
            "recycle": 500,
            "recycle_is_explicit": False,
            "max_rss": None,
            "timeout": None,
            "time_zone": "UTC",
            "ack_failures": False,
            "max_attempts": 0,
            "max_worker_deaths": 2,
            "retry": 60,
            "compress": False,
            "save_limit": 250,
            "save_limit_per": None,
            "failure_limit": 0,
            "guard_cycle": 0.5,
            "sync": False,
            "queue_limit": None,
            "bulk": None,
            "poll": 0.2,
            "label": "Django Q2",
            "catch_up": True,
            "cache": "default",
            "cached": False,
            "scheduler": True,
            "error_reporter": {},
            "cpu_affinity": 0,
            "has_replica": False,
            "log_level": "INFO",
            "stop_timeout": 30,
            "broker_class": None,
            "orm": None,
            "broker_options": {},
        }

        assert {key: getattr(get_settings(), key) for key in expected} == expected

    def test_broker_keys_are_handed_to_the_brokers_as_they_are(self, settings: Any) -> None:
        options = {"redis": None, "orm": "default", "kafka": {"hosts": ["a"]}}
        settings.Q_CLUSTER = {"name": "n", **options}

        assert get_settings().broker_options == options
        assert get_settings().orm == "default"

    def test_secrets_are_not_in_the_repr(self, settings: Any) -> None:
        settings.Q_CLUSTER = {
            "redis": {"password": "hunter2"},
            "error_reporter": {"rollbar": {"access_token": "hunter2"}},
            "ALT_CLUSTERS": {"long": {"redis": "redis://:hunter2@host"}},
        }

        assert "hunter2" not in repr(get_settings())

    def test_integers_0_and_1_are_flags(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"sync": 1, "catch_up": 0}

        assert (get_settings().sync, get_settings().catch_up) == (True, False)

    @pytest.mark.parametrize(
        ("options", "stop_timeout"),
        [({}, 30), ({"timeout": 90}, 95), ({"timeout": 3}, 30), ({"stop_timeout": 8}, 8)],
    )
    def test_a_stop_gives_a_task_its_timeout(
        self, settings: Any, options: dict[str, Any], stop_timeout: float
    ) -> None:
        settings.Q_CLUSTER = options

        assert get_settings().stop_timeout == stop_timeout

    def test_recycle_0_means_never(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"recycle": 0}

        assert get_settings().recycle == sys.maxsize

    def test_an_explicit_recycle_is_told_from_the_default(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"recycle": 500}

        assert get_settings().recycle_is_explicit

    def test_without_use_tz_there_is_no_time_zone(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"time_zone": "Europe/Paris"}

        with override_settings(USE_TZ=False):
            assert get_settings().time_zone is None

        assert get_settings().time_zone == "Europe/Paris"


class TestValidation:
    @pytest.mark.parametrize(
        ("key", "value", "sentence"),
        [
            ("guard_cycle", 0, "a number greater than 0 and less than 60, not 0."),
            ("guard_cycle", 60, "a number greater than 0 and less than 60, not 60."),
            ("bulk", 0, "a whole number of at least 1, or None, not 0."),
            ("save_limit", -2, "a whole number of at least -1, not -2."),
            ("save_limit", None, "a whole number of at least -1, not None."),
            ("workers", 0, "a whole number of at least 1, or None, not 0."),
            ("workers", "4", "a whole number of at least 1, or None, not '4'."),
            ("workers", True, "a whole number of at least 1, or None, not True."),
            ("timeout", 0, "a number of seconds greater than 0, or None for no limit, not 0."),
            ("timeout", -1, "a number of seconds greater than 0, or None for no limit, not -1."),
            ("timeout", float("inf"), "or None for no limit, not inf."),
            ("retry", 0, "a number greater than 0, not 0."),
            ("poll", 0, "a number greater than 0, not 0."),
            ("save_limit_per", "task", "'group', 'func', 'name' or None, not 'task'."),
            ("log_level", "LOUD", "the name of a logging level such as \"INFO\", not 'LOUD'."),
            ("cached", -1, "True, False, or a whole number of seconds, not -1."),
            ("cached", 1.5, "True, False, or a whole number of seconds, not 1.5."),
            ("has_replica", "no", "True or False, not 'no'."),
            ("sync", "False", "True or False, not 'False'."),
            ("serializer", "yaml", "'pickle' or 'json', not 'yaml'."),
            ("stop_timeout", 0, "a number of at least 1, or None, not 0."),
            ("max_attempts", -1, "a whole number of at least 0, not -1."),
            ("time_zone", "Mars/Base", "the name of a time zone"),
            ("name", "", "a non-empty string of at most 100 characters, not ''."),
            ("name", "n" * 101, "a non-empty string of at most 100 characters"),
            ("backoff", "linear", "\"exponential\", or None, not 'linear'."),
            ("broker_class", "Broker", "the dotted path of a class"),
            ("orm", True, "the alias of a database"),
            ("queue_limit", -1, "a whole number of at least 0"),
        ],
    )
    def test_a_wrong_value_is_named_with_what_was_expected(
        self, settings: Any, key: str, value: object, sentence: str
    ) -> None:
        settings.Q_CLUSTER = {key: value}

        with pytest.raises(ConfigurationError) as caught:
            get_settings()

        assert str(caught.value).startswith(f'Q_CLUSTER["{key}"] must be ')
        assert sentence in str(caught.value)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("guard_cycle", 0.01),
            ("timeout", 0.5),
            ("cached", 60),
            ("save_limit", -1),
            ("backoff", [1, 2.5]),
            ("backoff", "exponential"),
            ("queue_limit", 0),
            ("log_level", "debug"),
            ("workers", None),
            ("error_reporter", None),
            ("ALT_CLUSTERS", None),
            ("redis", "redis://localhost"),
            ("disque_nodes", ["a:1"]),
            ("unknown", object()),
        ],
    )
    def test_a_right_value_passes(self, settings: Any, key: str, value: object) -> None:
        settings.Q_CLUSTER = {key: value}

        assert isinstance(get_settings(), Settings)

    def test_every_mistake_is_said_at_once(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"retry": -1, "bulk": 0}

        with pytest.raises(ConfigurationError, match=r'(?s)"retry".*"bulk"'):
            get_settings()

    @pytest.mark.parametrize("value", ["default", [], 7])
    def test_q_cluster_itself_must_be_a_dict(self, settings: Any, value: object) -> None:
        settings.Q_CLUSTER = value

        with pytest.raises(ConfigurationError, match="Q_CLUSTER must be a dict"):
            get_settings()

    @pytest.mark.parametrize("key", [key for key, rule in RULES.items() if rule.is_secret])
    def test_what_may_be_secret_is_not_repeated(self, settings: Any, key: str) -> None:
        settings.Q_CLUSTER = {key: {"hunter2"}}

        with pytest.raises(ConfigurationError) as caught:
            get_settings()

        assert "a value of type set" in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_an_alternative_clusters_mistake_is_found_though_it_is_not_chosen(
        self, settings: Any
    ) -> None:
        settings.Q_CLUSTER = {"ALT_CLUSTERS": {"long": {"retry": 0}}}

        with pytest.raises(ConfigurationError, match=r'\["ALT_CLUSTERS"\]\["long"\]\["retry"\]'):
            get_settings()

    def test_the_same_mistake_is_said_each_time(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"retry": 0}

        for _ in range(2):
            with pytest.raises(ConfigurationError, match="retry"):
                get_settings()


class TestClusters:
    ALTERNATIVES = {
        "name": "site",
        "retry": 60,
        "ALT_CLUSTERS": {
            "long": {"retry": 3600, "timeout": 3000, "name": "x", "cluster_name": "y"},
        },
    }

    def test_the_chosen_cluster_overrides_the_root(self, settings: Any) -> None:
        settings.Q_CLUSTER = self.ALTERNATIVES

        select_cluster("long")

        chosen = get_settings()
        assert (chosen.retry, chosen.timeout) == (3600, 3000)
        assert (chosen.name, chosen.cluster_name) == ("site", "long")

    def test_children_inherit_the_choice(self, settings: Any) -> None:
        select_cluster("long")

        assert os.environ["Q_CLUSTER_NAME"] == "long"

    def test_a_name_without_alternatives_is_just_another_queue(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"name": "site", "retry": 9}

        select_cluster("elsewhere")

        assert (get_settings().cluster_name, get_settings().retry) == ("elsewhere", 9)

    @pytest.mark.parametrize("name", ["site", "main"])
    def test_the_roots_own_names_choose_the_root(self, settings: Any, name: str) -> None:
        settings.Q_CLUSTER = {**self.ALTERNATIVES, "cluster_name": "main"}

        select_cluster(name)

        assert (get_settings().cluster_name, get_settings().retry) == ("main", 60)

    def test_a_name_too_long_for_a_queue_is_refused(self) -> None:
        select_cluster("q" * 101)

        with pytest.raises(ConfigurationError, match=r"at most 100 .* Q_CLUSTER_NAME or --name"):
            get_settings()

    def test_users_settings_are_not_changed(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"ALT_CLUSTERS": {"long": {"retry": 5, "name": "x"}}}

        select_cluster("long")
        get_settings()

        assert settings.Q_CLUSTER == {"ALT_CLUSTERS": {"long": {"retry": 5, "name": "x"}}}

    def test_settings_of_tells_what_a_cluster_runs_with(self, settings: Any) -> None:
        settings.Q_CLUSTER = self.ALTERNATIVES

        assert conf.settings_of("long").retry == 3600

    @pytest.mark.parametrize("chosen", [None, "short"])
    def test_another_queues_settings_are_in_force_for_a_while(
        self, settings: Any, chosen: str | None
    ) -> None:
        settings.Q_CLUSTER = self.ALTERNATIVES
        if chosen:
            select_cluster(chosen)
        before = get_settings()

        with conf.in_force(conf.settings_of("long")):
            inside = get_settings().cluster_name, Conf.RETRY, os.environ["Q_CLUSTER_NAME"]
            conf.reset_settings()
            anew = get_settings()

        assert inside == ("long", 3600, "long")
        assert anew == conf.settings_of("long")
        assert get_settings() == before
        assert os.environ.get("Q_CLUSTER_NAME") == chosen

    def test_the_queues_that_are_named_are_known(self, settings: Any) -> None:
        settings.Q_CLUSTER = {**self.ALTERNATIVES, "cluster_name": "main"}
        select_cluster("long")

        assert conf.queue_names() == ["main", "site", "long"]


class TestConf:
    def test_reads_every_1x_attribute(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"name": "n", "workers": 3, "sqs": {}, "save_limit_per": "func"}
        expected = {
            "PREFIX": "n",
            "CLUSTER_NAME": "n",
            "REDIS": {},
            "DJANGO_REDIS": None,
            "IRON_MQ": None,
            "SQS": {},
            "ORM": None,
            "BROKER_CLASS": None,
            "POLL": 0.2,
            "MONGO": None,
            "MONGO_DB": None,
            "LOG_LEVEL": "INFO",
            "SAVE_LIMIT": 250,
            "SAVE_LIMIT_PER": "func",
            "GUARD_CYCLE": 0.5,
            "SCHEDULER": True,
            "WORKERS": 3,
            "DAEMONIZE_WORKERS": True,
            "QUEUE_LIMIT": 9,
            "COMPRESSED": False,
            "RECYCLE": 500,
            "MAX_RSS": None,
            "TIMEOUT": None,
            "ACK_FAILURES": False,
            "RETRY": 60,
            "BULK": 1,
            "LABEL": "Django Q2",
            "CPU_AFFINITY": 0,
            "SYNC": False,
            "CACHE": "default",
            "CACHED": False,
            "CATCH_UP": True,
            "ERROR_REPORTER": {},
            "MAX_ATTEMPTS": 0,
            "TESTING": False,
            "TIME_ZONE": "UTC",
            "SECRET_KEY": settings.SECRET_KEY,
            "Q_STAT": "django_q:n:cluster",
            "_Q_CLUSTER_NAME": None,
            "conf": settings.Q_CLUSTER,
        }

        assert {name: getattr(Conf, name) for name in expected} == expected
        assert str(Conf.STOPPING) == "Stopping"
        assert Conf.SIGNAL_NAMES[15] == "SIGTERM"
        assert Conf.QSIZE in (True, False)

    def test_an_unknown_attribute_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="NO_SUCH"):
            _ = Conf.NO_SUCH

    def test_an_assignment_reaches_the_settings_until_it_is_deleted(self) -> None:
        Conf.SYNC = True
        assigned = get_settings().sync
        del Conf.SYNC

        assert (assigned, get_settings().sync, Conf.SYNC) == (True, False, False)

    def test_monkeypatch_leaves_nothing_behind(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Conf, "RETRY", 5)
            assert (Conf.RETRY, get_settings().retry) == (5, 5)

        with override_settings(Q_CLUSTER={"retry": 8}):
            assert (Conf.RETRY, get_settings().retry) == (8, 8)

    def test_mock_patch_leaves_nothing_behind(self) -> None:
        with mock.patch.object(Conf, "SAVE_LIMIT", -1):
            assert get_settings().save_limit == -1

        assert (get_settings().save_limit, Conf.SAVE_LIMIT) == (250, 250)

    def test_an_assignment_is_validated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Conf, "BULK", 0)

        with pytest.raises(ConfigurationError, match="bulk"):
            get_settings()

    def test_broker_options_can_be_assigned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Conf, "REDIS", {"host": "h"})

        assert get_settings().broker_options["redis"] == {"host": "h"}

    def test_a_missing_secret_key_is_none(self, settings: Any) -> None:
        settings.SECRET_KEY = ""

        assert Conf.SECRET_KEY is None


class TestLogging:
    @pytest.fixture(autouse=True)
    def _bare_logger(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # One of its own: pytest hangs handlers on the real one.
        monkeypatch.setattr(conf, "logger", logging.Logger("django-q"))
        monkeypatch.setattr(conf, "_handler", None)
        monkeypatch.setattr(conf, "_level_is_theirs", False)

    @pytest.mark.parametrize(
        ("verbosity", "level"),
        [(0, logging.WARNING), (1, logging.ERROR), (2, logging.DEBUG), (3, logging.DEBUG)],
    )
    def test_verbosity_sets_the_level(self, settings: Any, verbosity: int, level: int) -> None:
        settings.Q_CLUSTER = {"log_level": "error"}

        configure_logging(verbosity)

        assert conf.logger.level == level

    def test_the_line_has_the_form_of_1x(self) -> None:
        configure_logging()
        (handler,) = conf.logger.handlers
        record = conf.logger.makeRecord("django-q", logging.INFO, "", 0, "hello", (), None)

        assert handler.format(record)[8:] == " [Q] INFO hello"

    def test_twice_attaches_once(self) -> None:
        configure_logging()
        configure_logging(2)

        assert len(conf.logger.handlers) == 1

    def test_a_sites_own_handlers_and_level_are_kept(self) -> None:
        own = logging.NullHandler()
        conf.logger.addHandler(own)
        conf.logger.setLevel(logging.ERROR)

        configure_logging()

        assert (conf.logger.handlers, conf.logger.level) == ([own], logging.ERROR)

    def test_our_own_level_is_that_of_the_settings_in_force(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"ALT_CLUSTERS": {"long": {"log_level": "ERROR"}}}
        levels = []

        for verbosity in (1, 2):
            configure_logging(verbosity)
            with conf.in_force(conf.settings_of("long")):
                levels.append(conf.logger.level)
            levels.append(conf.logger.level)

        assert levels == [logging.ERROR, logging.INFO, logging.DEBUG, logging.DEBUG]


class TestImporting:
    def test_needs_no_settings_and_touches_no_logging(self) -> None:
        modules = "conf, signing, package, humanhash, timeout, queues, exceptions, readiness"
        code = (
            f"from django_q import {modules}; import logging, django_q.conf as c; "
            "assert not logging.getLogger('django-q').handlers; "
            "from django.conf import settings; assert not settings.configured"
        )
        environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}

        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=False
        )

        assert done.returncode == 0, done.stderr.decode()

    @pytest.mark.parametrize("name", ["psutil", "setproctitle", "resource", "croniter"])
    def test_optional_modules_resolve_as_in_1x(self, name: str) -> None:
        assert getattr(conf, name) is not None

    def test_a_missing_optional_module_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psutil", None)
        monkeypatch.setitem(sys.modules, "croniter", None)

        assert (conf.psutil, conf.croniter) == (None, None)

    def test_error_reporters_resolve_as_in_1x(self) -> None:
        assert callable(conf.ErrorReporter([]).report)
        assert callable(conf.error_reporter.report)

    def test_the_parents_pid(self) -> None:
        assert conf.get_ppid() == os.getppid()
