"""Queues one function over many arguments and collates the results into one."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django_q import humanhash, package
from django_q.brokers import Broker, get_broker
from django_q.conf import Settings, get_settings
from django_q.tasks import enqueue
from django_q.tasks.enqueue import Func, TaskDict
from django_q.tasks.results import fetch, result

if TYPE_CHECKING:
    from django_q.models import Task


def async_iter(func: Func, args_iter: Iterable[Any], **kwargs: Any) -> str:
    """Queue `func` once for each of the arguments and return one id for the list of results.

    An argument that is not a tuple is the function's only one. Takes the options of `async_task`
    but for hook; with `cached` the list goes to the cache. It is complete once every item has
    finished, and holds the reason in the place of one that failed.
    """
    settings = enqueue.ready_settings()
    _, group = package.new_id()
    arguments = list(args_iter)
    base = _base(func, kwargs, settings, group, len(arguments))
    broker = base.pop("broker", None)
    if _are_wrapped(arguments):
        base["iter_wrapped"] = True
    tasks = [_item(base, index, args) for index, args in enumerate(arguments)] or [_nothing(base)]
    if base.get("sync"):
        _run_here(tasks, settings)
        return group
    signed = [enqueue.finish(task, settings) for task in tasks]
    enqueue.deliver(tasks, signed, broker, settings)
    return group


def _run_here(tasks: list[TaskDict], settings: Settings) -> None:
    """Run all items, so that their group is complete before the first failure is raised."""
    failures: list[Exception] = []
    for task in tasks:
        try:
            enqueue._sync(enqueue.finish(task, settings))
        except Exception as failure:  # what the caller's function raises
            failures.append(failure)
    if failures:
        raise failures[0]


def final_template(task: TaskDict) -> bytes:
    """What an item knows of the row that its group is collated into, pickled."""
    final = {key: task[key] for key in _KEPT if key in task}
    final["id"] = task["group"]
    final["name"] = _final_name(task)
    if task.get("iter_cached"):
        final["cached"] = task["iter_cached"]
    return pickle.dumps(final)


_KEPT = ("func", "kwargs", "started", "cluster", "save", "iter_wrapped")
"""Not the arguments: `records.collate` gathers those of all items."""


def _base(
    func: Func, kwargs: dict[str, Any], settings: Settings, group: str, count: int
) -> TaskDict:
    """What all items have in common."""
    keywords = {key: value for key, value in kwargs.items() if key != "hook"}
    if keywords.get("q_options"):
        q_options = keywords["q_options"]
        keywords["q_options"] = {key: q_options[key] for key in q_options if key != "hook"}
    base = enqueue.build(func, (), keywords, settings)
    wanted = base.get("cached")
    base["group"] = group
    base["iter_count"] = count
    if wanted:
        base["iter_cached"] = wanted
    # Django Q2 keeps the items of an iterable in the cache, and its workers may read these.
    base["cached"] = True
    if not _is_named(kwargs):
        base["name"] = None
    return base


def _item(base: TaskDict, index: int, args: Any) -> TaskDict:
    name, task_id = package.new_id()
    return {
        **base,
        "id": task_id,
        "name": base["name"] or name,
        "args": args if isinstance(args, tuple) else (args,),
        "iter_index": index,
    }


def _are_wrapped(arguments: list[Any]) -> bool:
    """Were all tuples of one made here, so that the final row may show the caller's elements?"""
    given = [args for args in arguments if isinstance(args, tuple)]
    return len(given) < len(arguments) and all(len(args) != 1 for args in given)


def _nothing(base: TaskDict) -> TaskDict:
    """Without arguments nothing would ever complete the group: a task that is its empty list."""
    nothing = {**base, "id": base["group"], "func": "builtins.list", "args": (), "kwargs": {}}
    nothing["name"] = base["name"] or humanhash.humanize(base["group"])
    nothing["cached"] = nothing.pop("iter_cached", False)
    del nothing["group"], nothing["iter_count"]
    return nothing


def _is_named(kwargs: dict[str, Any]) -> bool:
    return bool(kwargs.get("task_name") or (kwargs.get("q_options") or {}).get("task_name"))


def _final_name(task: TaskDict) -> str:
    """The name that the caller gave to all items, or the group's own."""
    name: str = task["name"]
    return humanhash.humanize(task["group"]) if name == humanhash.humanize(task["id"]) else name


class Iter:
    """An `async_iter` that is put together argument by argument and keeps its id."""

    def __init__(
        self,
        func: Func | None = None,
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        cached: bool | int | None = None,
        sync: bool | None = None,
        broker: Broker | None = None,
    ) -> None:
        self.func = func
        self.args: list[Any] = list(args or ())
        self.kwargs = kwargs or {}
        self.id = ""
        self._broker = broker
        self.cached = get_settings().cached if cached is None else cached
        self.sync = get_settings().sync if sync is None else sync
        self.started = False

    @property
    def broker(self) -> Broker:
        """The broker that was given, or the configured one."""
        return self._broker or get_broker()

    @broker.setter
    def broker(self, value: Broker | None) -> None:
        self._broker = value

    def append(self, *args: Any) -> int:
        """Add the arguments of one call and return how many calls there are."""
        self.args.append(args)
        self.started = False
        return self.length()

    def run(self) -> str:
        """Queue all calls and return the id of the list of results."""
        options = {
            **self.kwargs,
            "cached": self.cached,
            "sync": self.sync,
            "broker": self._broker,
        }
        self.id = async_iter(self.func or "", self.args, **options)
        self.started = True
        return self.id

    def result(self, wait: float = 0) -> Any:
        """The list of results, waited for `wait` milliseconds; None while it is incomplete."""
        return result(self.id, wait=wait, cached=self.cached) if self.started else None

    def fetch(self, wait: float = 0) -> Task | None:
        """The finished Task that holds the list of results."""
        return fetch(self.id, wait=wait, cached=self.cached) if self.started else None

    def length(self) -> int:
        """How many calls there are."""
        return len(self.args)
