"""Makes the project that is put under stress, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.databases import Provider
from tests.harness import Project, temporary_folder
from tests.queues import Queue


@contextlib.contextmanager
def staged(
    databases: Provider, template: Path | None = None, queue: Queue | None = None
) -> Iterator[Project]:
    """Yield a project on a new database, a copy of the template or else migrated."""
    with temporary_folder() as folder:
        project = Project(folder, databases.new(folder, template), queue)
        try:
            if template is None:
                project.migrate()
            yield project
        finally:
            # What outlived its cluster is among the figures already; here it is ended.
            with contextlib.suppress(AssertionError):
                project.close()
            project.database.drop()
