"""Keeps what tells how a stress test came to a bad end."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.harness import Project

FILES = ("ledger", "enqueued", "feed.log")


def keep(project: Project, figures: Any) -> Path:
    """Save ledgers, figures and the logs of all clusters, and return the folder."""
    folder = Path(tempfile.mkdtemp(prefix="django-q-stress-"))
    for name in FILES:
        if (project.path / name).exists():
            shutil.copy(project.path / name, folder)
    for number, cluster in enumerate(project.clusters):
        (folder / f"cluster-{number}-{cluster.pid}.log").write_text(f"{cluster.log}\n")
    (folder / "figures.json").write_text(json.dumps(asdict(figures), indent=2, default=list))
    return folder
