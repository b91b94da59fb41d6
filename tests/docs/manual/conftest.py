"""One site for the snippets of all chapters: starting a cluster takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartedProject
from tests.databases import SQLite
from tests.docs.manual.manual_site import Site
from tests.docs.manual.prompt import Prompt
from tests.harness import DATABASE_FILE, temporary_folder


@pytest.fixture(scope="session")
def site(template_database: Path) -> Iterator[Site]:
    """Yield a project with the snippets' modules and a running cluster; tests leave it running."""
    with temporary_folder() as folder:
        project = StartedProject(folder, SQLite(folder / DATABASE_FILE, template_database))
        try:
            site = Site(project)
            yield site
            site.close()
        finally:
            project.close()


@pytest.fixture
def prompt(site: Site) -> Prompt:
    """Return the site's prompt."""
    return site.prompt
