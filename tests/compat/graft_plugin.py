"""The pytest plugin of the grafted run, in an environment of its own: see graft.py.

Django Q2's tests are found as `django_q.tests`, beside our modules, and nothing else of it is.
"""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

import django_q

# Before pytest-django imports the settings, which are there.
django_q.__path__.append(os.environ["GRAFT_FOLDER"])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the list of names, which to run of both parts, and where to write what came out."""
    parser.addoption("--listed", type=Path, help="the names of the tests on the list, as JSON")
    parser.addoption("--part", choices=["listed", "others"], help="which tests to run")
    parser.addoption("--outcomes", type=Path, help="where to write what came out, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Run one part of the tests, and write down what comes out."""
    config.pluginmanager.register(Graft(config), "graft")


class Graft:
    """What becomes of every test, by its name without parameters."""

    def __init__(self, config: pytest.Config) -> None:
        self.listed = set(json.loads(config.getoption("--listed").read_text()))
        self.wanted = config.getoption("--part") == "listed"
        self.file: Path = config.getoption("--outcomes")
        self.found: list[str] = []
        self.passed: dict[str, bool] = {}
        self.reports: dict[str, str] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Deselect the other part."""
        parts: dict[bool, list[pytest.Item]] = {True: [], False: []}
        for item in items:
            parts[name_of(item.nodeid) in self.listed].append(item)
        self.found = sorted({name_of(item.nodeid) for item in items})
        items[:] = parts[self.wanted]
        config.hook.pytest_deselected(items=parts[not self.wanted])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has passed if every phase of each of its cases has."""
        name = name_of(report.nodeid)
        self.passed[name] = self.passed.get(name, True) and report.passed
        if not report.passed:
            self.reports[report.nodeid] = f"{report.outcome}\n{report.longrepr}\n{report.capstdout}"

    def pytest_sessionfinish(self) -> None:
        """Write it down, and end the clusters of tests that ended before they stopped them."""
        outcomes = {"found": self.found, "passed": self.passed, "reports": self.reports}
        self.file.write_text(json.dumps(outcomes))
        for child in multiprocessing.active_children():
            child.kill()


def name_of(node_id: str) -> str:
    """Return the name under which all cases of a test are listed."""
    return node_id.partition("[")[0]
