"""Tells which files of a site have changed: its code, and what else Django would reload for."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

import django.template  # noqa: F401 - it asks for the directories of templates
from django.apps import apps
from django.conf import settings
from django.utils.autoreload import (
    BaseReloader,
    autoreload_started,
    iter_all_python_module_files,
)

Snapshot = dict[Path, tuple[int, int]]
"""Time of change and size of every watched file."""

YOUNG_NANOSECONDS = 2 * 10**9
"""A directory that has just changed is listed again: another change may bear the same time."""

_INSTALLED = {"site-packages", "dist-packages"}
_NEVER_ENTERED = _INSTALLED | {"__pycache__", "node_modules"}


class Watch(BaseReloader):
    """The files that a restart is wanted for.

    A reloader of Django's, so that whoever asks one to watch more, by `autoreload_started`, is
    heard here too. Its own way of looking is not used: it misses what is deleted or new, and
    walks every directory again each second.
    """

    def __init__(self) -> None:
        super().__init__()
        uploads = _uploads()
        self._modules = [file for file in iter_all_python_module_files() if not is_installed(file)]
        self._trees = [Tree(folder, "*.py", uploads, _is_importable) for folder in code_folders()]
        autoreload_started.send(sender=self)
        self._globs: list[tuple[Path, str]] = []
        for folder, patterns in self.directory_globs.items():
            if not is_installed(folder):
                for pattern in patterns:
                    self._add_glob(folder, pattern, uploads)

    def _add_glob(self, folder: Path, pattern: str, uploads: frozenset[Path]) -> None:
        every, _, name = pattern.rpartition("/")
        if every == "**":
            self._trees.append(Tree(folder, name, uploads))
        else:
            self._globs.append((folder, pattern))

    def watched_files(self, include_globs: bool = True) -> Iterator[Path]:
        """Whatever is watched and exists, some of it more than once."""
        yield from self._modules
        yield from self.extra_files
        if include_globs:
            for tree in self._trees:
                yield from tree.files()
            for folder, pattern in self._globs:
                yield from folder.glob(pattern)

    def snapshot(self) -> Snapshot:
        """How the files are now."""
        found: Snapshot = {}
        for file in self.watched_files():
            if file not in found:
                with contextlib.suppress(OSError):
                    facts = os.stat(file)
                    if stat.S_ISREG(facts.st_mode):
                        found[file] = (facts.st_mtime_ns, facts.st_size)
        return found


def changes(before: Snapshot, after: Snapshot) -> list[Path]:
    """The files that are new, gone, or no longer what they were."""
    return sorted(
        file for file in before.keys() | after.keys() if before.get(file) != after.get(file)
    )


# Where the site's own code is


def code_folders() -> list[Path]:
    """Where code that is not an installed package can be imported from: parts of `sys.path`, and
    apps that are found by other means. Tasks are imported late and by workers alone, so what this
    process has imported says too little."""
    places = [*sys.path, *(config.path for config in apps.get_app_configs())]
    folders = {Path(place).resolve() for place in places}
    # Never the whole machine: of a manage.py in "/", the apps are found all the same.
    return _outermost(
        folder
        for folder in folders
        if folder.is_dir() and folder != folder.parent and not is_installed(folder)
    )


def _outermost(folders: Iterator[Path]) -> list[Path]:
    """Without those that the walk through another one reaches."""
    chosen: list[Path] = []
    for folder in sorted(folders, key=lambda folder: len(folder.parts)):
        if not any(_reaches(other, folder) for other in chosen):
            chosen.append(folder)
    return chosen


def _reaches(folder: Path, inner: Path) -> bool:
    if not inner.is_relative_to(folder):
        return False
    steps = [inner, *inner.parents][: len(inner.parts) - len(folder.parts)]
    uploads = _uploads()
    return all(_is_importable(step) and step not in uploads for step in steps)


def is_installed(path: Path) -> bool:
    """Is this a part of Python, or of a package that was installed?

    Not by `sys.prefix`: in a container that is /usr, and the site is in /usr/src/app.
    """
    return not _INSTALLED.isdisjoint(path.parts) or any(
        path.is_relative_to(folder) for folder in _python_folders()
    )


@cache
def _python_folders() -> frozenset[Path]:
    names = ("stdlib", "platstdlib", "scripts")
    folders = [Path(sysconfig.get_path(name)) for name in names]
    return frozenset([*folders, *(folder.resolve() for folder in folders)])


def _uploads() -> frozenset[Path]:
    """What users and `collectstatic` write, which may be huge and is no code."""
    places = (settings.MEDIA_ROOT, settings.STATIC_ROOT)
    return frozenset(Path(place).resolve() for place in places if place)


def _is_importable(folder: Path) -> bool:
    return folder.name.isidentifier() and not (folder / "pyvenv.cfg").exists()


# Directories


class Listing(NamedTuple):
    """What a directory held when it had changed at that time."""

    changed_ns: int
    files: list[Path]
    folders: list[Path]


_NOTHING = Listing(0, [], [])


class Tree:
    """The files of one kind in a directory and below it.

    A directory is listed again only when something was added to it or removed; otherwise looking
    costs one `stat` for each.
    """

    def __init__(
        self,
        root: Path,
        pattern: str,
        left_out: frozenset[Path] = frozenset(),
        enters: Callable[[Path], bool] = lambda folder: True,
    ) -> None:
        self.root = root
        self._pattern = pattern
        self._left_out = left_out
        self._enters = enters
        self._listings: dict[Path, Listing] = {}

    def files(self) -> Iterator[Path]:
        """Those that exist now."""
        waiting = [self.root]
        while waiting:
            listing = self._look(waiting.pop())
            waiting += listing.folders
            yield from listing.files

    def _look(self, folder: Path) -> Listing:
        try:
            changed_ns = os.stat(folder).st_mtime_ns
            known = self._listings.get(folder)
            if known is None or known.changed_ns != changed_ns or _is_young(changed_ns):
                known = self._listings[folder] = self._list(folder, changed_ns)
        except OSError:
            self._listings.pop(folder, None)
            return _NOTHING
        return known

    def _list(self, folder: Path, changed_ns: int) -> Listing:
        files, folders = [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_hidden(entry.name):
                    continue
                path = folder / entry.name
                if entry.is_dir(follow_symlinks=False):
                    if self._is_entered(path):
                        folders.append(path)
                elif fnmatch(entry.name, self._pattern):
                    files.append(path)
        return Listing(changed_ns, files, folders)

    def _is_entered(self, folder: Path) -> bool:
        return (
            folder.name not in _NEVER_ENTERED
            and folder not in self._left_out
            and self._enters(folder)
        )


def _is_young(changed_ns: int) -> bool:
    return time.time_ns() - changed_ns < YOUNG_NANOSECONDS


def _is_hidden(name: str) -> bool:
    """Also what an editor puts beside a file while it is open."""
    return name.startswith((".", "#")) or name.endswith("~")
