"""Failures on SQLite, on PostgreSQL, and with the queue in Redis."""

import pytest

KINDS = ("sqlite", "postgresql", "redis")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make each test on one kind of site after the other, unless it says itself on which."""
    is_given = any(
        "database_name" in str(mark.args[0])
        for mark in metafunc.definition.iter_markers("parametrize")
    )
    if "database_name" not in metafunc.fixturenames or is_given:
        return
    metafunc.parametrize("database_name", KINDS, indirect=True)
