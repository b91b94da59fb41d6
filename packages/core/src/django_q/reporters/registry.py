"""Finds and builds the error reporters that `Q_CLUSTER["error_reporter"]` names.

They are looked for among the plugins, then in the entry-point group of 1.x, whose entries name
a class by the key that asks for it.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Any, NamedTuple, Protocol

from django_q.conf import Settings, get_settings
from django_q.errors import ConfigurationError, PluginError, UnknownReporter
from django_q.plugins import Manager, ReporterEntry, get_manager
from django_q.plugins.entries import cure
from django_q.plugins.manager import distribution_of

logger = logging.getLogger("django-q")

LEGACY_GROUP = "djangoq.errorreporters"
"""The entry-point group of Django Q and Django Q2."""

CORE_DISTRIBUTION = "django-q-core"


class Reporter(Protocol):
    """Anything that can tell someone of the exception being handled."""

    def report(self) -> Any:
        """Tell of `sys.exc_info()`."""


class _Candidate(NamedTuple):
    path: str
    install: str
    load: Callable[[], Any]


def configured() -> Mapping[str, Reporter]:
    """The reporters of the settings in force by key, each built once per process.

    One that cannot be had is logged, once, and left out: an error reporter is no reason to stop.
    """
    global _configured  # noqa: PLW0603 - one per process; replaced whole, so threads may share it
    known, settings = _configured, get_settings()
    if not settings.error_reporter:
        return {}
    manager = get_manager()
    if known is None or known[0] is not settings or known[1] is not manager:
        known = (settings, manager, _build_all(settings))
        _configured = known
    return known[2]


_configured: tuple[Settings, Manager, dict[str, Reporter]] | None = None


def problems(settings: Settings) -> list[ConfigurationError]:
    """What is wrong with the reporters that the settings name; none of them is built."""
    return [error for key in settings.error_reporter if (error := _problem(key))]


def reporter_class(key: str) -> Callable[..., Reporter]:
    """What builds the reporter of that key.

    Raises UnknownReporter when no installed distribution provides it, PluginError when one does
    but cannot be imported.
    """
    path, install, load = _chosen(key)
    title = f"{_title(key)} ({path})"
    try:
        found: Callable[..., Reporter] = load()
    except (Exception, SystemExit) as error:
        kind = UnknownReporter if _is_absent(path, error) else PluginError
        raise kind(f"{title} cannot be imported: {error}.{cure(install)}") from error
    if not callable(getattr(found, "report", None)):
        raise PluginError(f"{title} has no method report().")
    return found


def _is_absent(path: str, error: BaseException) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name == path.split(".", maxsplit=1)[0]


def _problem(key: str) -> ConfigurationError | None:
    try:
        reporter_class(key)
    except ConfigurationError as error:
        return error
    return None


def _build_all(settings: Settings) -> dict[str, Reporter]:
    built: dict[str, Reporter] = {}
    for key, options in settings.error_reporter.items():
        try:
            built[key] = reporter_class(key)(**options)
        except ConfigurationError as error:
            logger.error("Errors are not reported: %s", error)
        except (Exception, SystemExit):
            logger.exception("Errors are not reported: %s cannot be set up", _title(key))
    return built


# Choosing: ours, else the one of a third party, else the two that Django Q2 declared


def _chosen(key: str) -> _Candidate:
    entries = [entry for entry in get_manager().reporters() if key in entry.answers_to]
    legacy = list(importlib.metadata.entry_points(group=LEGACY_GROUP, name=key))
    ours = [entry for entry in entries if entry.is_ours]
    theirs = [entry_point for entry_point in legacy if not _is_declared_by_core(entry_point)]
    if ours:
        return _the_one(key, map(_from_entry, ours))
    if entries or theirs:
        return _the_one(key, [*map(_from_entry, entries), *map(_from_legacy, theirs)])
    get_manager().raise_if_broken(key)
    if legacy:
        return _from_legacy(legacy[0])
    raise UnknownReporter(_unknown(key))


def _the_one(key: str, candidates: Iterable[_Candidate]) -> _Candidate:
    # A distribution may declare the same class both ways, and be found twice.
    found: dict[str, _Candidate] = {}
    for candidate in candidates:
        found.setdefault(candidate.path, candidate)
    if len(found) > 1:
        raise PluginError(
            f"Two installed error reporters answer to {_title(key)}: "
            f"{' and '.join(sorted(found))}. Uninstall one of them."
        )
    return next(iter(found.values()))


def _from_entry(entry: ReporterEntry) -> _Candidate:
    module, _, name = entry.path.rpartition(".")
    entry_point = EntryPoint(entry.name, f"{module}:{name}", LEGACY_GROUP)
    return _Candidate(entry.path, entry.install, entry_point.load)


def _from_legacy(entry_point: EntryPoint) -> _Candidate:
    extra = f"{CORE_DISTRIBUTION}[{entry_point.name}]"
    install = extra if _is_declared_by_core(entry_point) else ""
    return _Candidate(entry_point.value.replace(":", "."), install, entry_point.load)


def _is_declared_by_core(entry_point: EntryPoint) -> bool:
    name, _ = distribution_of(entry_point) or ("", "")
    return name == CORE_DISTRIBUTION


# Words


def _title(key: str) -> str:
    return f'Q_CLUSTER["error_reporter"][{key!r}]'


def _unknown(key: str) -> str:
    offered = {name for entry in get_manager().reporters() for name in entry.answers_to}
    offered |= {each.name for each in importlib.metadata.entry_points(group=LEGACY_GROUP)}
    names = ", ".join(sorted(offered)) or "none"
    near = get_close_matches(key, offered, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{_title(key)} names no error reporter that is installed. Known: {names}.{hint}"
