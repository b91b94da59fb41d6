"""Finds the installed plugins, keeps what is wrong with each, and calls their hooks.

pluggy's own loader stops at the first plugin that does not import. Here each is loaded by
itself, so that a broken plugin costs nothing to a site which uses another one.
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Any, NamedTuple, TypeVar, cast

import pluggy

from django_q.__about__ import __version__
from django_q.errors import PluginError, TimeoutException
from django_q.plugins import builtin, hookspecs
from django_q.plugins.entries import BrokerEntry, Entry, ReporterEntry

logger = logging.getLogger("django-q")

GROUP = "django_q"
"""The entry-point group of plugins."""

_BUILTIN_MODULE = builtin.__name__

_EntryType = TypeVar("_EntryType", bound=Entry)


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin, whether it works or not."""

    name: str
    distribution: str
    """Name and version of what was installed, or where the plugin was registered from."""
    error: PluginError | None = None
    """Why it cannot be used."""


class Offer(NamedTuple):
    """An entry, and the plugin that brings it."""

    plugin: Plugin
    entry: Entry

    def __str__(self) -> str:
        return f"{self.plugin.name!r} of {self.plugin.distribution} ({self.entry.path})"


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key of the settings to which several plugins answer, each with another class."""

    setting: str
    """Where the key stands: `Q_CLUSTER['redis']`."""
    offers: tuple[Offer, ...]

    @property
    def candidates(self) -> list[Offer]:
        """Those among which the settings cannot choose by the key; ours come before all others."""
        return [offer for offer in self.offers if offer.entry.is_ours] or list(self.offers)

    @property
    def is_contested(self) -> bool:
        """Is the key an error for whoever uses it?"""
        return len({offer.entry.path for offer in self.candidates}) > 1

    def __str__(self) -> str:
        if self.is_contested:
            named = " and ".join(map(str, self.candidates))
            return f"{self.setting} is claimed by {named}: it chooses none of them."
        winner = self.candidates[0]
        others = " and ".join(str(offer) for offer in self.offers if offer != winner)
        return f"{self.setting} is answered by {winner}, which comes before {others}."


class Listener(NamedTuple):
    """One plugin's implementation of a lifecycle hook."""

    plugin: str
    function: Callable[..., object]
    argnames: tuple[str, ...]


class Manager:
    """The plugins of this process; each is listed, and those that can be used are registered."""

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._offers: dict[str, tuple[tuple[str, Entry], ...]] = {}
        self.register(builtin, "builtin", f"django-q-core {__version__}")

    # Loading

    def load(self, entry_points: Iterable[EntryPoint]) -> None:
        """Load each entry point by itself, keeping the error of one that cannot be used."""
        seen = {_BUILTIN_MODULE}
        for entry_point in sorted(entry_points, key=_place):
            # An editable install and a copy on the path may both declare the same plugin.
            if entry_point.value not in seen:
                seen.add(entry_point.value)
                self._load_one(entry_point)

    def _load_one(self, entry_point: EntryPoint) -> None:
        name, origin = self._free_name(entry_point), _origin(entry_point)
        try:
            plugin = entry_point.load()
        except (Exception, SystemExit) as error:
            self._refuse(name, origin, f"could not be imported: {_described(error)}", error)
        else:
            with suppress(PluginError):  # kept and logged
                self.register(plugin, name, origin)

    def register(self, plugin: object, name: str, distribution: str = "this process") -> None:
        """Make a module or object with `@hookimpl` functions a plugin.

        A hook that does not exist, or arguments that the hook does not have, are refused with a
        PluginError, which is also kept in `plugins`.
        """
        if self._pluggy.has_plugin(name):
            raise PluginError(f"There is a plugin {name!r} already; unregister it first.")
        try:
            self._pluggy.register(plugin, name)
            self._refuse_wrappers(plugin)
            self._pluggy.check_pending()
        except Exception as error:  # its attributes are read, and may be lazy imports that fail
            # pluggy up to 1.6 leaves the plugin half registered.
            if self._pluggy.get_plugin(name) is plugin:
                self._pluggy.unregister(name=name)
            raise self._refuse(name, distribution, self._reason(plugin, error), error) from error
        self.plugins[name] = Plugin(name, distribution)
        self._plugins_changed()

    def unregister(self, name: str) -> None:
        """Forget a plugin."""
        self.plugins.pop(name, None)
        if self._pluggy.has_plugin(name):
            self._pluggy.unregister(name=name)
        self._plugins_changed()

    def _refuse_wrappers(self, plugin: object) -> None:
        # Implementations are called one by one, so that one which raises costs the others
        # nothing; there is nothing to wrap.
        for caller in self._pluggy.get_hookcallers(plugin) or ():
            for implementation in caller.get_hookimpls():
                wraps = implementation.wrapper or implementation.hookwrapper
                if implementation.plugin is plugin and wraps:
                    raise ValueError(f"hook {caller.name!r} cannot be wrapped")

    def _reason(self, plugin: object, error: Exception) -> str:
        if not isinstance(error, pluggy.PluginValidationError):
            return f"cannot be used: {_described(error)}"
        unknown = [name for name in self._implemented(plugin) if name not in _HOOKS]
        if not unknown:
            return f"cannot be used: {error}"
        near = get_close_matches(unknown[0], _HOOKS, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Hooks are: {', '.join(_HOOKS)}."
        return f"implements {unknown[0]!r}, which is no hook of Django Q. {hint}"

    def _implemented(self, plugin: object) -> list[str]:
        found = ((name, self._pluggy.parse_hookimpl_opts(plugin, name)) for name in dir(plugin))
        return [str(options.get("specname") or name) for name, options in found if options]

    def _refuse(
        self, name: str, distribution: str, reason: str, cause: BaseException
    ) -> PluginError:
        end = "" if reason.endswith((".", "?")) else "."
        error = PluginError(f"The plugin {name!r} of {distribution} {reason}{end}")
        error.__cause__ = cause
        self.plugins[name] = Plugin(name, distribution, error)
        self._plugins_changed()
        # Said once per process: nobody may ever choose a plugin that only listens.
        logger.warning("%s", error)
        return error

    def _free_name(self, entry_point: EntryPoint) -> str:
        if entry_point.name not in self.plugins:
            return entry_point.name
        return f"{entry_point.name} ({entry_point.value})"

    def _plugins_changed(self) -> None:
        self._offers.clear()
        self._listeners = {
            hook: listeners
            for hook in hookspecs.LIFECYCLE
            if (listeners := self._listeners_of(hook))
        }

    def _listeners_of(self, hook_name: str) -> tuple[Listener, ...]:
        # pluggy keeps what is called first at the end.
        return tuple(
            Listener(implementation.plugin_name, implementation.function, implementation.argnames)
            for implementation in reversed(getattr(self._pluggy.hook, hook_name).get_hookimpls())
        )

    # Entries

    @property
    def errors(self) -> dict[str, PluginError]:
        """What is wrong with the plugins that cannot be used, by plugin name."""
        return {plugin.name: plugin.error for plugin in self.plugins.values() if plugin.error}

    def raise_if_broken(self, key: str) -> None:
        """Raise what is wrong with the plugin of that name, or the one whose name begins the key.

        Nobody can ask a plugin that does not import for its keys.
        """
        for name, error in self.errors.items():
            if key == name or key.startswith(f"{name}_"):
                # Raised anew, so that no traceback grows with each time.
                raise PluginError(str(error)) from error.__cause__

    def brokers(self) -> list[BrokerEntry]:
        """Every broker that an installed plugin offers."""
        return [cast("BrokerEntry", entry) for _, entry in self.offers("django_q_brokers")]

    def reporters(self) -> list[ReporterEntry]:
        """Every error reporter that an installed plugin offers through the hook."""
        return [cast("ReporterEntry", entry) for _, entry in self.offers("django_q_reporters")]

    def offers(self, hook_name: str) -> tuple[tuple[str, Entry], ...]:
        """Pairs of plugin name and entry, in the order of the plugins."""
        if hook_name not in self._offers:
            kind = BrokerEntry if hook_name == "django_q_brokers" else ReporterEntry
            listeners = self._listeners_of(hook_name)[::-1]
            found = tuple(
                (listener.plugin, entry)
                for listener in listeners
                for entry in self._ask(listener, kind)
            )
            self._offers[hook_name] = found
        return self._offers[hook_name]

    def _ask(self, listener: Listener, kind: type[_EntryType]) -> list[_EntryType]:
        try:
            return _entries(listener.function(), kind)
        except (Exception, SystemExit) as error:
            origin = self.plugins[listener.plugin].distribution
            reason = f"could not name what it brings: {_described(error)}"
            self._refuse(listener.plugin, origin, reason, error)
            return []

    def shared_keys(self) -> list[SharedKey]:
        """The keys to which more than one class answers, whether one of ours wins or none can.

        Every plugin is asked what it brings, so `errors` is complete afterwards.
        """
        return [*self._shared("django_q_brokers"), *self._shared("django_q_reporters")]

    def contested_keys(self) -> list[SharedKey]:
        """The keys that choose nothing, for several plugins answer to them and none is ours."""
        return [shared for shared in self.shared_keys() if shared.is_contested]

    def _shared(self, hook_name: str) -> list[SharedKey]:
        where = _SETTINGS_OF[hook_name]
        answering: dict[str, list[Offer]] = {}
        for plugin, entry in self.offers(hook_name):
            for key in dict.fromkeys(entry.answers_to):
                answering.setdefault(key, []).append(Offer(self.plugins[plugin], entry))
        return [
            SharedKey(f"{where}[{key!r}]", tuple(offers))
            for key, offers in answering.items()
            if len({offer.entry.path for offer in offers}) > 1
        ]

    # Lifecycle

    def heard_by(self, plugin: str) -> list[str]:
        """The lifecycle hooks that a plugin implements."""
        return sorted(
            hook
            for hook, listeners in self._listeners.items()
            if plugin in {listener.plugin for listener in listeners}
        )

    def listens(self, hook_name: str) -> bool:
        """Does any plugin implement this lifecycle hook?"""
        return hook_name in self._listeners

    def call(self, hook_name: str, **arguments: Any) -> Sequence[BaseException]:
        """Call a lifecycle hook of every plugin; what one raises is logged, reported, returned."""
        raised: list[BaseException] = []
        task = arguments.get("task")  # error reporters look for a local of this name
        for listener in self._listeners.get(hook_name, ()):
            try:
                listener.function(*(arguments[name] for name in listener.argnames))
            except TimeoutException:
                raise  # the task's time is up, whoever was using it
            except (Exception, SystemExit) as error:
                logger.exception("The plugin %r failed in %s", listener.plugin, hook_name)
                report_error(task)
                raised.append(error)
        return raised


_SETTINGS_OF = {
    "django_q_brokers": "Q_CLUSTER",
    "django_q_reporters": 'Q_CLUSTER["error_reporter"]',
}
"""The hooks that ask for entries, and the setting whose keys choose among these."""

_HOOKS = sorted(hookspecs.LIFECYCLE | _SETTINGS_OF.keys())


def _entries(answer: object, kind: type[_EntryType]) -> list[_EntryType]:
    entries = [answer] if isinstance(answer, Entry) else list(cast("Iterable[object]", answer))
    for entry in entries:
        if not isinstance(entry, kind):
            raise TypeError(f"expected a list of {kind.__name__}, not {entry!r} in it")
    return cast("list[_EntryType]", entries)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _place(entry_point: EntryPoint) -> tuple[str, str]:
    # The order of sys.path is chance; the same plugins must be met in the same order anywhere.
    return entry_point.name, entry_point.value


def distribution_of(entry_point: EntryPoint) -> tuple[str, str] | None:
    """Name and version of what was installed; None where its metadata cannot be read."""
    try:
        distribution = entry_point.dist
        name, version = (distribution.name, distribution.version) if distribution else ("", "")
    except Exception:  # a half-removed distribution fails differently in each Python
        return None
    return (name, version) if name else None


def _origin(entry_point: EntryPoint) -> str:
    return " ".join(distribution_of(entry_point) or (entry_point.value,))


# The manager of this process

_lock = threading.RLock()
_manager: Manager | None = None
_loading: Manager | None = None


def get_manager() -> Manager:
    """The manager of this process; the first call discovers what is installed."""
    return _manager or _discover()


def reset() -> None:
    """Forget every plugin, so that the next need discovers anew; for tests."""
    global _manager  # noqa: PLW0603 - one per process
    _manager = None


def _discover() -> Manager:
    global _manager, _loading  # noqa: PLW0603 - one per process
    with _lock:
        if _manager or _loading:
            # A plugin that asks while it is being imported sees those before it.
            return cast("Manager", _manager or _loading)
        _loading = Manager()
        try:
            _loading.load(importlib.metadata.entry_points(group=GROUP))
            _manager = _loading
        finally:
            _loading = None
        return _manager


# Errors of plugins reach the error reporters, which stand above this floor and register here

_reporter: Callable[[dict[str, Any] | None], None] | None = None


def report_errors_to(reporter: Callable[[dict[str, Any] | None], None]) -> None:
    """Say who tells the error reporters of an exception that a handler raised."""
    global _reporter  # noqa: PLW0603 - one per process
    _reporter = reporter


def report_error(task: dict[str, Any] | None = None) -> None:
    """Tell the error reporters, if they are loaded, of the exception being handled."""
    if _reporter is not None:
        _reporter(task)
