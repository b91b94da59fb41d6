"""How a process of the cluster begins: forked, or started anew and told everything by pickle.

Under "spawn" and "forkserver" the sentinel is spawned by main, and under "forkserver" its children
come from a fork server of the sentinel's own: what main does with multiprocessing is its own
affair, and the server goes when the cluster goes. Nothing here needs Django to be set up, since a
new process imports this module before it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from types import FrameType, ModuleType
from typing import Any

import django
from django.conf import ENVIRONMENT_VARIABLE
from django.db import connections

from django_q.conf import configure_logging, get_settings, logger
from django_q.errors import ConfigurationError

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)

FORK, FORK_SERVER = "fork", "forkserver"

_PR_SET_PDEATHSIG = 1

_PRELOADED = ["django.db.models", "django_q.cluster.birth"]
"""What the fork server imports: nothing that needs settings, nothing of the site, so that it has
no thread and no connection which its forks would share."""


class Parcel:
    """A function and its arguments, to be opened in the process that runs it.

    A forked process finds them as they are. Another gets them sealed: they may name models, which
    can only be imported once Django is set up.
    """

    _sealed: bytes
    _logs: bool
    """Can the log of the process that sent it be seen?"""
    _level: int

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._content: Any = (work, arguments)

    def __getstate__(self) -> dict[str, Any]:
        try:
            sealed = bytes(ForkingPickler.dumps(self._content))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"A process that is not forked must be sent what it works with, and that cannot "
                f'be pickled: {error}. Change it, or set Q_CLUSTER["start_method"] to "fork".'
            ) from error
        return {
            "_content": None,
            "_sealed": sealed,
            "_logs": logger.hasHandlers(),
            "_level": logger.level,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def open(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """What is to be called with what; sets Django up where that is not done yet."""
        if self._content is None:
            django.setup()
            if self._logs:
                configure_logging()
            logger.setLevel(self._level)
            self._content = pickle.loads(self._sealed)
        content: tuple[Callable[..., None], tuple[Any, ...]] = self._content
        return content


# In the process that starts another


def get_mp_context() -> Any:
    """What starts the cluster's processes, as `start_method` says."""
    return context_for(_wanted_method())


def chosen_method() -> str:
    """The start method of this site: fork wherever that is possible, unless it says otherwise."""
    return _wanted_method() or multiprocessing.get_context().get_start_method()


def _wanted_method() -> str | None:
    """None for the platform's default, which with Python 3.14 is no longer fork on Linux."""
    possible = multiprocessing.get_all_start_methods()
    chosen = get_settings().start_method
    if chosen is None:
        return FORK if FORK in possible else None
    if chosen not in possible:
        raise ConfigurationError(
            f'Q_CLUSTER["start_method"] is {chosen!r}, which this platform does not have. '
            f"It has: {', '.join(possible)}."
        )
    return chosen


def context_for(method: str | None) -> Any:
    """The multiprocessing context of a start method; None for the platform's own."""
    context = multiprocessing.get_context(method)
    if context.get_start_method() == FORK_SERVER:
        context.set_forkserver_preload(_PRELOADED)
    return context


def context_for_sentinel(method: str) -> Any:
    """The same for the sentinel, which is always main's own child."""
    return context_for(FORK if method == FORK else "spawn")


def require_settings_module(method: str) -> None:
    """Raise ConfigurationError where a process that begins with nothing would find no settings."""
    if method != FORK and not os.environ.get(ENVIRONMENT_VARIABLE):
        raise ConfigurationError(
            f'Q_CLUSTER["start_method"] {method!r} needs {ENVIRONMENT_VARIABLE} in the '
            'environment: settings.configure() reaches forked processes alone (set it to "fork").'
        )


def start(process: BaseProcess, method: str) -> None:
    """Start a process of the cluster, which a signal to the group does not hit unprepared."""
    if method == FORK:
        with _connections_kept_back():
            process.start()  # it inherits handlers
        return
    with _deaf(), _without_main_program():
        process.start()


@contextlib.contextmanager
def _connections_kept_back() -> Iterator[None]:
    """What is open, because a transaction of the caller's is, is not for the child to use or to
    close: it finds nothing under these names, and opens connections of its own."""
    kept = {connection.alias: connection for connection in connections.all(initialized_only=True)}
    for alias in kept:
        del connections[alias]
    try:
        yield
    finally:
        for alias, connection in kept.items():
            connections[alias] = connection


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Hold the signals of a stop back; here for a moment, in what is started until it hears them.

    A fork server never does: one that a signal to the group has ended would report all its
    children as dead.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # not on Windows

    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        # Before it is needed, since it opens the mask again when it starts.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main_program() -> Iterator[None]:
    """Keep a new process from running the main program too, as multiprocessing has it do.

    It needs nothing from there, and a script that starts a cluster would start another.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# In the process that was started


def begin(parcel: Parcel, method: str | None) -> None:
    """The first function of every process: to hear no signals, to follow the process that started
    it by that method (None: it follows nobody), and then what it is for."""
    stay_deaf()
    if method is not None:
        follow_parent(method)
    work, arguments = parcel.open()
    work(*arguments)


def stay_deaf() -> None:
    """Hear the signals of a stop and do nothing."""
    for number in SIGNALS:
        # An empty handler and not SIG_IGN, which programs started by a task would inherit.
        signal.signal(number, _ignore)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def hear_signals() -> None:
    """Give what a task forks the default handlers back."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The main process acts on signals and tells its children through the board."""


def follow_parent(method: str) -> None:
    """Die with the sentinel: by the kernel's hand on Linux, by a thread's elsewhere.

    A fork server's child has the server for a parent, whose end the kernel watches for; so it needs
    the thread everywhere.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "Main follows nobody."
    hear_parents_end(signal.SIGKILL)
    if method == FORK_SERVER or sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent, method), daemon=True).start()
    if method != FORK_SERVER and os.getppid() != parent.pid:
        # It died before the kernel was told; whoever adopted us is not to be followed.
        os._exit(1)


def hear_parents_end(number: int) -> None:
    """Be sent this signal when the parent ends, where the kernel can do that."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _watch(parent: Any, method: str) -> None:
    if method == FORK:
        # Siblings that were forked hold copies of the pipe, which thus outlives the parent.
        while os.getppid() == parent.pid:
            threading.Event().wait(0.5)
    else:
        wait([parent.sentinel])
    os._exit(1)
