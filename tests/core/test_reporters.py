"""Error reporters are told of failures, are found wherever they are, and never do harm."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from django_q import conf, reporters
from django_q.conf import get_settings
from django_q.errors import PluginError, UnknownReporter
from django_q.plugins import get_manager, hookimpl
from django_q.reporters import registry
from tests.core.distributions import SitePackages

PAGER = """
    import sys

    class Pager:
        built = []

        def __init__(self, **options):
            self.options = options
            self.heard = []
            self.built.append(self)

        def report(self):
            self.heard.append(sys.exc_info()[1])
"""

PLUGIN = """
    from django_q.plugins import ReporterEntry, hookimpl

    @hookimpl
    def django_q_reporters():
        return ReporterEntry("pager", "{path}", ("pager",), "pager")
"""


def configure(settings: Any, **error_reporter: Any) -> None:
    settings.Q_CLUSTER = {"orm": "default", "error_reporter": error_reporter}


def report_a_failure(task: dict[str, Any] | None = None) -> ZeroDivisionError:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        reporters.report(task)
        return error
    raise AssertionError


# Being found


@pytest.mark.parametrize("declared", ["as a plugin", "as in 1.x", "both ways"])
def test_an_installed_reporter_is_built_with_its_options_and_told(
    declared: str, settings: Any, site_packages: SitePackages
) -> None:
    modules = {"pager": PAGER, "pager_plugin": PLUGIN.format(path="pager.Pager")}
    site_packages.install(
        "pager",
        modules,
        plugins={} if declared == "as in 1.x" else {"pager": "pager_plugin"},
        reporters={} if declared == "as a plugin" else {"pager": "pager:Pager"},
    )
    configure(settings, pager={"number": "555-0100"})

    first, second = report_a_failure(), report_a_failure()

    [pager] = sys.modules["pager"].Pager.built
    assert pager.options == {"number": "555-0100"}
    assert pager.heard == [first, second]


def test_every_configured_reporter_is_told(settings: Any, site_packages: SitePackages) -> None:
    site_packages.install("one", {"one": PAGER}, reporters={"one": "one:Pager"})
    site_packages.install("two", {"two": PAGER}, reporters={"two": "two:Pager"})
    configure(settings, one={}, two={})

    error = report_a_failure()

    assert sys.modules["one"].Pager.built[0].heard == [error]
    assert sys.modules["two"].Pager.built[0].heard == [error]


def test_ours_is_used_where_one_of_1_x_answers_to_the_same_key(
    settings: Any, site_packages: SitePackages
) -> None:
    ours = PLUGIN.replace('"pager"', '"sentry"').format(path="django_q_reporter_sentry.sdk.Pager")
    site_packages.install(
        "django-q-reporter-sentry",
        {"django_q_reporter_sentry.sdk": PAGER, "django_q_reporter_sentry.plugin": ours},
        plugins={"sentry": "django_q_reporter_sentry.plugin"},
    )
    site_packages.install("theirs", {"theirs": PAGER}, reporters={"sentry": "theirs:Pager"})
    configure(settings, sentry={})

    assert registry.reporter_class("sentry").__module__ == "django_q_reporter_sentry.sdk"


@pytest.mark.parametrize("key", ["rollbar", "sentry"])
def test_the_published_reporters_of_1_x_work_as_they_are(
    key: str, site_packages: SitePackages
) -> None:
    source = PAGER.replace("Pager", key.title())
    site_packages.install(f"django-q-{key}", {f"django_q_{key}": source})

    assert registry.reporter_class(key).__module__ == f"django_q_{key}"


def test_another_distribution_may_declare_a_key_of_core(site_packages: SitePackages) -> None:
    site_packages.install("theirs", {"theirs": PAGER}, reporters={"rollbar": "theirs:Pager"})

    assert registry.reporter_class("rollbar").__module__ == "theirs"


def test_two_third_parties_that_answer_to_one_key_are_an_error(
    site_packages: SitePackages,
) -> None:
    site_packages.install("one", {"one": PAGER}, reporters={"pager": "one:Pager"})
    site_packages.install("two", {"two": PAGER}, reporters={"pager": "two:Pager"})

    with pytest.raises(PluginError, match=r"one\.Pager and two\.Pager"):
        registry.reporter_class("pager")


# Not being found


@pytest.mark.parametrize("key", ["rollbar", "sentry"])
def test_a_reporter_that_is_not_installed_names_its_extra(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"django_q_{key}", None)

    with pytest.raises(UnknownReporter) as caught:
        registry.reporter_class(key)

    assert f'pip install "django-q-core[{key}]"' in str(caught.value)


def test_an_unknown_reporter_names_the_nearest() -> None:
    with pytest.raises(UnknownReporter, match=r"\['sentri'\].*Did you mean 'sentry'\?"):
        registry.reporter_class("sentri")


def test_the_plugin_of_a_reporter_that_does_not_import_is_named(
    site_packages: SitePackages,
) -> None:
    site_packages.install("pager", {"pager_plugin": "1 / 0"}, plugins={"pager": "pager_plugin"})

    with pytest.raises(PluginError, match=r"'pager' of pager .*ZeroDivisionError"):
        registry.reporter_class("pager")


@pytest.mark.parametrize("value", ["pager:Absent", "pager", "decimal:Decimal"])
def test_what_is_no_reporter_is_refused_by_name(value: str, site_packages: SitePackages) -> None:
    site_packages.install("pager", {"pager": ""}, reporters={"pager": value})

    with pytest.raises(PluginError, match=r"\['pager'\]"):
        registry.reporter_class("pager")


def test_problems_are_told_without_building_anything(
    settings: Any, site_packages: SitePackages
) -> None:
    site_packages.install("pager", {"pager": PAGER}, reporters={"pager": "pager:Pager"})
    configure(settings, pager={}, pigeon={})

    [problem] = reporters.problems(get_settings())

    assert "['pigeon']" in str(problem)
    assert sys.modules["pager"].Pager.built == []


# Doing no harm


@pytest.mark.parametrize("how", ["raise ValueError('no network')", "raise SystemExit(1)"])
def test_a_reporter_that_raises_is_logged_and_the_others_are_told(
    how: str, settings: Any, site_packages: SitePackages, caplog: pytest.LogCaptureFixture
) -> None:
    clumsy = f"class Pager:\n    def report(self):\n        {how}\n"
    site_packages.install("clumsy", {"clumsy": clumsy}, reporters={"clumsy": "clumsy:Pager"})
    site_packages.install("pager", {"pager": PAGER}, reporters={"pager": "pager:Pager"})
    configure(settings, clumsy={}, pager={})

    error = report_a_failure()

    assert "The error reporter 'clumsy' failed" in caplog.text
    assert sys.modules["pager"].Pager.built[0].heard == [error]


def test_a_reporter_that_cannot_be_had_is_logged_once_and_the_others_are_told(
    settings: Any, site_packages: SitePackages, caplog: pytest.LogCaptureFixture
) -> None:
    site_packages.install("pager", {"pager": PAGER}, reporters={"pager": "pager:Pager"})
    configure(settings, absent={}, pager={})

    with caplog.at_level(logging.ERROR, "django-q"):
        errors = [report_a_failure(), report_a_failure()]

    assert caplog.text.count("Errors are not reported") == 1
    assert sys.modules["pager"].Pager.built[0].heard == errors


def test_a_reporter_that_refuses_its_options_is_logged(
    settings: Any, site_packages: SitePackages, caplog: pytest.LogCaptureFixture
) -> None:
    source = "class Pager:\n    def __init__(self): pass\n    def report(self): pass\n"
    site_packages.install("pager", {"pager": source}, reporters={"pager": "pager:Pager"})
    configure(settings, pager={"nummer": 1})

    report_a_failure()

    assert "['pager'] cannot be set up" in caplog.text
    assert "nummer" in caplog.text


def test_without_reporters_nothing_is_discovered(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(settings)
    monkeypatch.setattr(registry, "get_manager", lambda: pytest.fail("discovered"))

    report_a_failure()


# What reporters of 1.x count on


def test_a_reporter_finds_the_task_in_a_frame_above_the_failure(
    settings: Any, site_packages: SitePackages
) -> None:
    walker = """
        import sys

        class Walker:
            found = []

            def report(self):
                traceback = sys.exc_info()[2]
                while traceback.tb_next:
                    traceback = traceback.tb_next
                frame = traceback.tb_frame
                while frame:
                    if isinstance(frame.f_locals.get("task"), dict):
                        self.found.append(frame.f_locals["task"])
                    frame = frame.f_back
    """
    site_packages.install("walker", {"walker": walker}, reporters={"walker": "walker:Walker"})
    configure(settings, walker={})
    task = {"id": "1", "func": "math.floor"}

    report_a_failure(task)

    assert task in sys.modules["walker"].Walker.found


def test_a_failing_hook_of_a_plugin_is_reported(settings: Any, site_packages: SitePackages) -> None:
    site_packages.install("pager", {"pager": PAGER}, reporters={"pager": "pager:Pager"})
    configure(settings, pager={})

    def fails() -> None:
        raise LookupError("the hook's")

    get_manager().register(SimpleNamespace(post_execute=hookimpl(fails)), "clumsy")

    get_manager().call("post_execute", task={"id": "1"})

    [heard] = sys.modules["pager"].Pager.built[0].heard
    assert repr(heard) == 'LookupError("the hook\'s")'


def test_the_1_x_names_report_to_those_configured(
    settings: Any, site_packages: SitePackages
) -> None:
    site_packages.install("pager", {"pager": PAGER}, reporters={"pager": "pager:Pager"})

    configure(settings)
    assert not conf.error_reporter

    configure(settings, pager={})
    assert conf.error_reporter
    conf.error_reporter.report()

    [pager] = conf.error_reporter.targets
    assert pager.heard == [None]


def test_the_1_x_group_tells_each_of_its_targets(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    silent, loud = SimpleNamespace(), SimpleNamespace(report=lambda: told.append("loud"))

    conf.ErrorReporter([silent, loud]).report()

    assert told == ["loud"]
    assert "SimpleNamespace" in caplog.text
