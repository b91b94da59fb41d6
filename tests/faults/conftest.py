"""Every death on every database that may hold queue and results, and with the queue in Redis."""

import pytest


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def database_name(request: pytest.FixtureRequest) -> str:
    """Say where the project has its results and its queue: one after the other."""
    name: str = request.param
    return name
