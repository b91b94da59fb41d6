"""Every death on every database that may hold both queue and results."""

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def database_name(request: pytest.FixtureRequest) -> str:
    """Say which database the project has: one after the other."""
    name: str = request.param
    return name
