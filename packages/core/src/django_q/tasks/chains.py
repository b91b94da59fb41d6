"""Runs tasks one after the other: each link carries the rest of its chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from django_q import humanhash, package, records
from django_q.brokers import Broker, get_broker
from django_q.brokers.registry import settings_elsewhere
from django_q.conf import Settings, get_settings
from django_q.errors import TaskRefused
from django_q.tasks import enqueue
from django_q.tasks.enqueue import Func, TaskDict
from django_q.tasks.groups import count_group, delete_group, fetch_group, result_group, tally
from django_q.tasks.waiting import until

Link = Any
"""func, (func,), (func, args) or (func, args, kwargs); kwargs may hold options of async_task."""


def async_chain(
    chain: Iterable[Link],
    group: str | None = None,
    cached: bool | int | None = None,
    sync: bool | None = None,
    broker: Broker | None = None,
) -> str:
    """Queue tasks to run one after the other, and return the id of the group they form.

    A failed link ends the chain. `cached` and `sync` are as the settings say when None.
    """
    settings = enqueue.ready_settings()
    links = list(chain)
    _, new_group = package.new_id()
    group = group or new_group
    options = {
        "group": group,
        "cached": settings.cached if cached is None else cached,
        "sync": settings.sync if sync is None else sync,
    }
    _refuse_bad_links(links, options, settings)
    func, args, kwargs = _parts(links[0])
    enqueue.async_task(
        func, *args, **_with_options(kwargs, {**options, "chain": links[1:], "broker": broker})
    )
    return group


def next_link(task: TaskDict, settings: Settings, check: bool = False) -> records.Link | None:
    """The signed package of the link after `task`, and the queue it belongs to; None at the end.

    Its id follows from the id of `task`, so that whoever enqueues it again enqueues the same
    task; `check` marks one that may have run already.
    """
    if not task.get("chain"):
        return None
    following = _build_next(task, settings)
    list_key = following.get("cluster") or settings.cluster_name
    if check or settings_elsewhere(list_key) is not None:
        following["check"] = True
    return records.Link(list_key, enqueue.finish(following, settings))


def _build_next(task: TaskDict, settings: Settings) -> TaskDict:
    func, args, kwargs = _parts(task["chain"][0])
    options = {
        "chain": task["chain"][1:],
        "group": task.get("group"),
        "cached": task.get("cached", False),
        "sync": task.get("sync", False),
    }
    following = enqueue.build(func, args, _with_options(kwargs, options), settings)
    following.pop("broker", None)
    following["id"] = blake2b(task["id"].encode(), digest_size=16).hexdigest()
    following["name"] = _own_name(kwargs) or humanhash.humanize(following["id"])
    return following


def _refuse_bad_links(links: list[Link], options: dict[str, Any], settings: Settings) -> None:
    """Say now what would otherwise stop the chain in its middle."""
    if not links:
        raise TaskRefused("a chain needs at least one task; got an empty list.")
    for link in links:
        func, args, kwargs = _parts(link)
        enqueue.build(func, args, _with_options(kwargs, options), settings)


def _parts(link: Link) -> tuple[Func, tuple[Any, ...], dict[str, Any]]:
    parts = tuple(link) if isinstance(link, (tuple, list)) else (link,)
    if not 1 <= len(parts) <= 3:
        raise TaskRefused(
            f"a link of a chain is func, (func, args) or (func, args, kwargs); got {link!r:.200}."
        )
    func, *given = parts
    args = given[0] if given else ()
    kwargs = given[1] if len(given) > 1 else {}
    return func, tuple(args or ()), dict(kwargs or {})


def _with_options(kwargs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a link with the chain's options, where they will win."""
    q_options = kwargs.get("q_options")
    if q_options:
        return {**kwargs, "q_options": {**q_options, **options}}
    return {**kwargs, **options}


def _own_name(kwargs: dict[str, Any]) -> str | None:
    name: str | None = kwargs.get("task_name") or (kwargs.get("q_options") or {}).get("task_name")
    return name


class Chain:
    """A chain that is put together link by link and keeps its group for the results."""

    def __init__(
        self,
        chain: Sequence[Link] | None = None,
        group: str | None = None,
        cached: bool | int | None = None,
        sync: bool | None = None,
        broker: Broker | None = None,
    ) -> None:
        self.chain: list[Link] = list(chain or ())
        self.group = group or ""
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

    def append(self, func: Func, *args: Any, **kwargs: Any) -> int:
        """Add a task, given as to `async_task`, and return how many there are.

        The results of an earlier run are taken out of the group.
        """
        self.chain.append((func, args, kwargs))
        if self.started:
            delete_group(self.group, cached=self.cached)
            self.started = False
        return self.length()

    def run(self) -> str:
        """Queue the chain and return its group's id."""
        self.group = async_chain(
            self.chain,
            group=self.group,
            cached=self.cached,
            sync=self.sync,
            broker=self._broker,
        )
        self.started = True
        return self.group

    def result(self, wait: float = 0) -> Any:
        """The results of the links, once the chain has ended; None before it was run.

        Waits until all links have finished or one has failed, or for `wait` milliseconds if that
        is sooner; 0 and -1: for ever.
        """
        if not self.started:
            return None
        self._wait_for_the_end(wait)
        return result_group(self.group, cached=self.cached)

    def fetch(self, failures: bool = True, wait: float = 0) -> Any:
        """The finished Tasks of the links; waits like `result`."""
        if not self.started:
            return None
        self._wait_for_the_end(wait)
        return fetch_group(self.group, failures=failures, cached=self.cached)

    def _wait_for_the_end(self, wait: float) -> None:
        # Not for a count alone: behind a failed link it would never be reached.
        def ended() -> bool | None:
            finished, failed = tally(self.group, self.cached)
            return finished >= self.length() or failed > 0 or None

        until(ended, wait or -1)

    def current(self) -> int | None:
        """How many links have finished, which is the index of the one that runs."""
        return (count_group(self.group, cached=self.cached) or 0) if self.started else None

    def length(self) -> int:
        """How many links the chain has."""
        return len(self.chain)
