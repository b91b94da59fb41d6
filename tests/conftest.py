"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Project, make_template, temporary_folder


@pytest.fixture(scope="session")
def template_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite database to copy."""
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def project(template_database: Path) -> Iterator[Project]:
    """Yield a Django project in a folder of its own; nothing of it survives the test."""
    with temporary_folder() as folder:
        project = Project(folder, template_database)
        yield project
        project.close()
