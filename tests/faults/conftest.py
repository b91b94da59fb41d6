"""Failures on SQLite, on PostgreSQL (but for single deaths), and with the queue in Redis."""

import pytest

KINDS = ("sqlite", "postgresql", "redis")
TWO_WILL_DO = ("test_deaths",)
"""Each death costs seconds; on PostgreSQL `test_chaos` kills every role once, under load."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make each test on one kind of site after the other, unless it says itself on which."""
    is_given = any(
        "database_name" in str(mark.args[0])
        for mark in metafunc.definition.iter_markers("parametrize")
    )
    if "database_name" not in metafunc.fixturenames or is_given:
        return
    module = metafunc.module.__name__.rpartition(".")[2]
    kinds = [kind for kind in KINDS if kind != "postgresql" or module not in TWO_WILL_DO]
    metafunc.parametrize("database_name", kinds, indirect=True)
