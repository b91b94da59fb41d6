"""What a worker says of a finished package, its columns encoded as the tables hold them."""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.utils import timezone
from picklefield.fields import _ObjectWrapper, wrap_conflictual_object

from django_q import package

if TYPE_CHECKING:
    from django_q.models import Task

REASON_KEEPS_ARGUMENTS_BELOW = 64 * 1024  # characters


class Row(NamedTuple):
    """The columns of django_q_task, ready for the database but for the datetimes."""

    id: str
    name: str
    func: str
    hook: str | None
    args: str | None
    kwargs: str | None
    result: str | None
    group: str | None
    cluster: str | None
    options: str | None
    """Those of `async_task` that have no column of their own; None: it was given none."""
    started: datetime
    stopped: datetime
    success: bool
    attempt_count: int


OPTIONS = ("save", "ack_failure", "timeout", "chain", "iter_length")
"""What a task may be told beside its columns, and must be told again when it is resubmitted; and
how many items the `async_iter` had whose results the row lists."""


class CacheEntry(NamedTuple):
    """A result that is kept in the cache."""

    key: str
    text: str
    timeout: float | None
    """Seconds; None: for ever."""
    group_key: str | None
    """Where the keys of the task's group are listed; None: it has no group."""


class Item(NamedTuple):
    """One finished item of an `async_iter`."""

    group: str
    index: int  # type: ignore[assignment]  # no use for the tuple's method
    count: int  # type: ignore[assignment]
    """How many items the group has."""
    final: bytes
    """The pickled task dict of the group's own Task, without its result. Without `args`, these
    are gathered from the items; `iter_wrapped` says that elements which were no tuples were made
    tuples of one."""


class Link(NamedTuple):
    """The next task of a chain, ready to be enqueued."""

    list_key: str
    package: str


class Outcome(NamedTuple):
    """What a worker says of one finished package."""

    row: Row
    saved: bool
    """Does it become a Task row?"""
    first: bool
    """Was there no earlier attempt and no lapse, so that a plain INSERT will do?"""
    worker_death: bool = False
    cache: CacheEntry | None = None
    item: Item | None = None
    hook: bytes | None = None
    """Pickled: a dotted path or a callable."""
    link: Link | None = None
    """Only set on success."""
    signal: bytes | None = None
    """The pickled task dict, when `post_execute` has receivers."""


class Recorded(Enum):
    """What `write` made of an outcome."""

    NEW = "new"
    """It is recorded now (or needs no record)."""
    SAME = "same"
    """This very result was recorded before: the same id, end and number of attempts."""
    SUPERSEDED = "superseded"
    """Another run of the task is recorded as its success; this one is discarded."""


def encode(value: Any) -> str | None:
    """Encode a value as `PickledObjectField` does; raise what its pickling raises.

    The field also makes a deep copy first, so that equal values become equal texts; that helps
    only lookups by value, and costs more than all the rest.
    """
    if value is None:
        return None
    return b64encode(pickle.dumps(wrap_conflictual_object(value), -1)).decode("ascii")


def decode(text: str | None) -> Any:
    """The value that `encode` was given; raises what its unpickling raises."""
    if text is None:
        return None
    value = pickle.loads(b64decode(text))
    return value._obj if isinstance(value, _ObjectWrapper) else value


def row_of(task: Mapping[str, Any], *, attempt_count: int) -> Row:
    """Encode a finished task dict; whatever is too long for its column is cut.

    Raises what the pickling of its arguments or its result raises.
    """
    hook = task.get("hook")
    return Row(
        id=_fit(task["id"], 32),
        name=_fit(task["name"], 100),
        func=_fit(package.func_repr(task["func"]), 256),
        hook=None if not hook else _fit(package.func_repr(hook), 256),
        args=encode(task.get("args")),
        kwargs=encode(task.get("kwargs")),
        result=encode(task.get("result")),
        group=_fit_or_none(task.get("group"), 100),
        cluster=_fit_or_none(task.get("cluster"), 100),
        options=encode({key: task[key] for key in OPTIONS if key in task} or None),
        started=_as_stored(task["started"]),
        stopped=_as_stored(task["stopped"]),
        success=bool(task["success"]),
        attempt_count=attempt_count,
    )


def _fit_or_none(text: Any, length: int) -> str | None:
    return None if text is None else _fit(text, length)


def _fit(value: object, length: int) -> str:
    """Cut a text to its column; what no database stores (NUL, lone surrogates) is replaced."""
    text = str(value)[:length]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "?") if "\0" in text else text


def _as_stored(moment: datetime) -> datetime:
    """Aware or naive as USE_TZ asks: a producer elsewhere may be set otherwise."""
    if (moment.tzinfo is not None) == settings.USE_TZ:
        return moment
    return timezone.make_aware(moment) if settings.USE_TZ else timezone.make_naive(moment)


def refusal(outcome: Outcome, error: BaseException) -> Outcome:
    """The failed task that takes the place of an outcome which the database refuses.

    An item of an `async_iter` stays one, so that its group completes.
    """
    reason = f"The result could not be recorded: {type(error).__name__}: {error}"
    row = outcome.row
    return outcome._replace(
        row=row._replace(
            args=_if_small(row.args),
            kwargs=_if_small(row.kwargs),
            options=_if_small(row.options),
            result=encode(reason),
            success=False,
        ),
        saved=outcome.item is None,
        first=False,
        cache=None,
        link=None,
        signal=None,
    )


def _if_small(text: str | None) -> str | None:
    return text if text is None or len(text) < REASON_KEEPS_ARGUMENTS_BELOW else None


def cautious(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same outcomes, each to be compared with what is recorded already.

    For a monitor that takes over from a dead one, and after an IntegrityError.
    """
    return [outcome._replace(first=False) for outcome in outcomes]


def load_task(outcome: Outcome) -> Task:
    """The Task that a hook receives; what cannot be unpickled here stays encoded."""
    from django_q.models import Task  # needs the app registry

    columns = outcome.row._asdict()
    for name in ("args", "kwargs", "result", "options"):
        field: Any = Task._meta.get_field(name)
        columns[name] = field.to_python(columns[name])
    task = Task(**columns, worker_deaths=int(outcome.worker_death))
    task._state.adding = not outcome.saved
    return task
