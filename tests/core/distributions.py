"""Installs small distributions that exist for one test, found as real ones are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from django_q.plugins import manager


class SitePackages:
    """A folder in which to install distributions; on `sys.path`, they are found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        distribution: str,
        modules: Mapping[str, str] | None = None,
        *,
        plugins: Mapping[str, str] | None = None,
        reporters: Mapping[str, str] | None = None,
        version: str = "1.0",
    ) -> None:
        """Write modules by dotted name, and entry points of both groups by name."""
        for name, source in (modules or {}).items():
            self._write_module(name, source)
        groups = {"django_q": plugins or {}, "djangoq.errorreporters": reporters or {}}
        metadata = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (metadata / "entry_points.txt").write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
                for group, entries in groups.items()
            )
        )
        importlib.invalidate_caches()
        manager.reset()

    def _write_module(self, name: str, source: str) -> None:
        *packages, module = name.split(".")
        folder = self.folder
        for package in packages:
            folder /= package
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
        (folder / f"{module}.py").write_text(dedent(source))


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePackages]:
    """Yield an empty folder to install into; afterwards nothing of it is remembered."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield SitePackages(tmp_path)
    for name, module in list(sys.modules.items()):
        if name not in known and (getattr(module, "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]
    manager.reset()
