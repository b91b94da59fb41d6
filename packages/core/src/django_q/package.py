"""The task dict: named, checked, packed and read in one place.

The producer builds it and `dumps` packs it; the broker and the pusher carry it as text; the
worker reads it with `loads`, the only place where a payload's code may be imported. Whoever
must know what a package was without running any of it (the monitor, after a worker's death;
the admin) reads it with `inspect`.
"""

from __future__ import annotations

import builtins
import copyreg
import inspect as python_inspect
import io
import pickle
import re
import sys
import zoneinfo
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from math import isfinite
from typing import Any, Self
from uuid import UUID, SafeUUID

from django_q import humanhash
from django_q.conf import get_settings
from django_q.errors import BadPackage
from django_q.signing import (
    BadSignature,
    JSONSerializer,
    SignedPackage,
    deserialize,
    signed_at,
    unsign,
)

__all__ = [
    "BadSignature",
    "TaskDict",
    "dumps",
    "func_repr",
    "inspect",
    "loads",
    "new_id",
    "problem",
]

TaskDict = dict[str, Any]
"""id, name, func, args, kwargs, started, and the options that were given (see docs/tasks.md)."""

MAX_ID = 32
MAX_NAME = 100
MAX_FUNC = 256

_REQUIRED = ("id", "name", "func", "args", "kwargs", "started")

new_id: Callable[[], tuple[str, str]] = humanhash.uuid
"""A new task's name in four words, and its id of 32 hex digits."""


def func_repr(func: Any) -> str | None:
    """How a function is written down: its dotted path, where it has one."""
    if not func:
        return None
    if isinstance(func, str):
        return func
    if python_inspect.isfunction(func):
        return f"{func.__module__}.{func.__name__}"
    if python_inspect.ismethod(func) and hasattr(func.__self__, "__name__"):
        owner = func.__self__
        return f"{owner.__module__}.{owner.__name__}.{func.__name__}"
    return str(func)


def dumps(task: TaskDict) -> str:
    """Serialize and sign a task."""
    if get_settings().serializer == "json":
        task = _with_dotted_paths(task)
    return SignedPackage.dumps(task)


def loads(text: str | bytes) -> TaskDict:
    """Verify and read a task, importing what it names.

    Raises BadSignature for what was never ours (nobody's task), and BadPackage for a task of
    ours that cannot be read here: `inspect` still tells which one it was.
    """
    data = unsign(text)
    try:
        task = deserialize(data)
    except Exception as error:
        raise BadPackage(f"The package cannot be read: {_told(error)}") from error
    return _checked(task)


def inspect(text: str | bytes) -> TaskDict:
    """Verify a task and read it without importing or running anything that it names.

    Functions, classes and objects come as inert stand-ins that print (and pickle) as their
    dotted path; plain values come as they are. What a damaged task lacks is filled in.
    """
    data = unsign(text)
    try:
        task = _read_inertly(data)
    except Exception as error:
        raise BadPackage(f"The package cannot be read: {_told(error)}") from error
    if not isinstance(task, dict) or not isinstance(task.get("id"), str):
        raise BadPackage(f"The package holds no task but {type(task).__name__}.")
    return _completed(task, signed_at(text))


def problem(task: TaskDict) -> str | None:
    """What keeps this task from being run or recorded, as a sentence; None when nothing does."""
    for key, longest in _LIMITS:
        value = task.get(key)
        if value is not None and len(str(value)) > longest:
            return (
                f"The {key} of a task has at most {longest} characters, not {len(str(value))}: "
                f"{_cut(str(value))!r}."
            )
    return _func_problem(task["func"]) or _hook_problem(task) or _timeout_problem(task)


_LIMITS = (("id", MAX_ID), ("name", MAX_NAME), ("group", MAX_NAME), ("cluster", MAX_NAME))


def _func_problem(func: Any) -> str | None:
    if isinstance(func, str):
        if not _is_dotted_path(func):
            return f"func must be a callable or a dotted path, not {_cut(func)!r}."
    elif not callable(func):
        return f"func must be a callable or a dotted path, not {_cut(repr(func))}."
    return _length_problem("func", func)


def _hook_problem(task: TaskDict) -> str | None:
    hook = task.get("hook")
    return _length_problem("hook", hook) if hook else None


def _length_problem(key: str, func: Any) -> str | None:
    written = func_repr(func) or ""
    if len(written) <= MAX_FUNC:
        return None
    return (
        f"The {key} of a task has at most {MAX_FUNC} characters, not {len(written)}: "
        f"{_cut(written)!r}."
    )


def _timeout_problem(task: TaskDict) -> str | None:
    timeout = task.get("timeout")
    if timeout is None:
        return None
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if is_number and isfinite(timeout) and timeout > 0:
        return None
    return f"timeout must be a number of seconds greater than 0, or None, not {timeout!r}."


# Not only identifiers: `0001_initial` and `my-module` can be imported by name.
_PATH = re.compile(r"[\w-]+(\.[\w-]+)+")


def _is_dotted_path(text: str) -> bool:
    return bool(_PATH.fullmatch(text)) or callable(getattr(builtins, text, None))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _checked(task: Any) -> TaskDict:
    if not isinstance(task, dict):
        raise BadPackage(f"The package holds no task but {type(task).__name__}.")
    missing = [key for key in _REQUIRED if key not in task]
    if missing:
        raise BadPackage(f"The task in the package lacks {', '.join(missing)}.")
    if not isinstance(task["args"], (tuple, list)) or not isinstance(task["kwargs"], dict):
        raise BadPackage("The task in the package has args that are no tuple or kwargs no dict.")
    if not isinstance(task["id"], str):
        raise BadPackage(f"The task in the package has an id that is no string: {task['id']!r}.")
    if not isinstance(task["started"], datetime):
        raise BadPackage(f"The task in the package was started at no time: {task['started']!r}.")
    return task


def _completed(task: TaskDict, signed: float) -> TaskDict:
    completed = {
        "name": task["id"],
        "args": (),
        "kwargs": {},
        "started": datetime.fromtimestamp(signed, UTC),
        **task,
    }
    if not isinstance(completed["started"], datetime):
        completed["started"] = datetime.fromtimestamp(signed, UTC)
    completed["func"] = func_repr(task.get("func")) or ""
    if task.get("hook"):
        completed["hook"] = func_repr(task["hook"])
    return completed


def _with_dotted_paths(task: TaskDict) -> TaskDict:
    """The same task, its functions by name: JSON carries no code."""
    changed = dict(task)
    for key in ("func", "hook"):
        if callable(changed.get(key)):
            changed[key] = _importable_path(changed[key])
    if changed.get("chain"):
        changed["chain"] = [_link_with_dotted_path(link) for link in changed["chain"]]
    return changed


def _link_with_dotted_path(link: Any) -> Any:
    if isinstance(link, (tuple, list)) and link and callable(link[0]):
        return (_importable_path(link[0]), *link[1:])
    return _importable_path(link) if callable(link) else link


def _importable_path(func: Any) -> Any:
    """Where the worker will find the function; itself, for JSON to refuse, where nowhere."""
    module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", "")
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}.{name}" if found == func else func


# Reading without importing


class _Inert(type):
    """The class of stand-ins, one per dotted path; calling one runs nothing."""

    path: str

    def __repr__(cls) -> str:
        return cls.path

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)  # type: ignore[arg-type]


class _StandIn(metaclass=_Inert):
    """Takes the place of a function, a class, or an object of one."""

    path = "?"

    def __repr__(self) -> str:
        return type(self).path

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (type(self).path,)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return object.__new__(cls)

    @staticmethod
    def _ignore(*args: Any) -> None:
        """Whatever a pickle does to build its object."""

    __setstate__ = append = extend = add = update = __setitem__ = _ignore


# A stand-in is written down as the text of its path, wherever it is pickled again.
copyreg.pickle(_Inert, lambda cls: (str, (cls.path,)))  # type: ignore[arg-type, return-value]


def _stand_in(path: str) -> _Inert:
    return _Inert(path.rpartition(".")[2] or path, (_StandIn,), {"path": path})


def _inert_attribute(owner: Any, name: str = "?", *default: Any) -> Any:
    """`getattr`, as the pickle of a bound method, and of a ZoneInfo, calls it."""
    if repr(owner) == "zoneinfo.ZoneInfo" and name == "_unpickle":
        return zoneinfo.ZoneInfo._unpickle  # type: ignore[attr-defined]
    return _stand_in(f"{owner!r}.{name}" if isinstance(owner, (_Inert, _StandIn)) else str(name))


def _tolerant_datetime(state: Any, zone: Any = None, *more: Any) -> datetime:
    """A datetime whose zone is of a foreign class (pytz, dateutil) is read as its wall time."""
    if more:
        return datetime(state, zone, *more)
    return datetime(state, zone) if isinstance(zone, tzinfo) else datetime(state)  # type: ignore[call-arg, arg-type]


_REALLY_BUILT: dict[tuple[str, str], Any] = {
    ("datetime", "datetime"): _tolerant_datetime,
    ("builtins", "getattr"): _inert_attribute,
    **{
        (each.__module__, each.__name__): each
        for each in (
            *(date, time, timedelta, timezone, Decimal, UUID, SafeUUID, OrderedDict, deque),
            *(set, frozenset, list, tuple, dict, bytes, bytearray, complex, range, slice),
        )
    },
}


class _InertUnpickler(pickle.Unpickler):
    """Builds plain values and puts stand-ins for all else: no import, no code."""

    def find_class(self, module: str, name: str) -> Any:
        built = _REALLY_BUILT.get((module, name))
        return built if built is not None else _stand_in(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return _stand_in(f"persistent.{pid}")


def _read_inertly(data: bytes) -> Any:
    if data[:1] == b"{":
        return JSONSerializer.loads(data)
    return _InertUnpickler(io.BytesIO(data), fix_imports=True).load()
