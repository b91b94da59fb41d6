"""A call of `async_task` as an object."""

from __future__ import annotations

from typing import Any

from django_q.brokers import Broker
from django_q.conf import get_settings
from django_q.tasks.enqueue import Func, async_task


class AsyncTask:
    """One call of `async_task` kept as an object, with its options as attributes.

    Changing anything after a run makes the result unknown until the next `run()`.
    """

    def __init__(self, func: Func, *args: Any, **kwargs: Any) -> None:
        self.id = ""
        self.started = False
        self._func = func
        self._args = args
        self._kwargs = kwargs

    @property
    def func(self) -> Func:
        """The function, or its dotted path."""
        return self._func

    @func.setter
    def func(self, value: Func) -> None:
        self._func = value
        self.started = False

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments of the function."""
        return self._args

    @args.setter
    def args(self, value: tuple[Any, ...]) -> None:
        self._args = value
        self.started = False

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments of the function, with the options among them."""
        return self._kwargs

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self._kwargs = value
        self.started = False

    @property
    def broker(self) -> Broker | None:
        """The broker to use; None: the configured one."""
        broker: Broker | None = self._get_option("broker")
        return broker

    @broker.setter
    def broker(self, value: Broker | None) -> None:
        self._set_option("broker", value)

    @property
    def sync(self) -> bool | None:
        """Run in the caller?"""
        sync: bool | None = self._get_option("sync")
        return sync

    @sync.setter
    def sync(self, value: bool | None) -> None:
        self._set_option("sync", value)

    @property
    def save(self) -> bool | None:
        """Save the result? None: as the settings say."""
        save: bool | None = self._get_option("save")
        return save

    @save.setter
    def save(self, value: bool | None) -> None:
        self._set_option("save", value)

    @property
    def hook(self) -> Any:
        """What to call with the finished task."""
        return self._get_option("hook")

    @hook.setter
    def hook(self, value: Any) -> None:
        self._set_option("hook", value)

    @property
    def group(self) -> str | None:
        """The group's label."""
        group: str | None = self._get_option("group")
        return group

    @group.setter
    def group(self, value: str | None) -> None:
        self._set_option("group", value)

    @property
    def cached(self) -> bool | int:
        """Keep the result in the cache instead of the database? A number: for so many seconds."""
        cached: bool | int = self._get_option("cached", get_settings().cached)
        return cached

    @cached.setter
    def cached(self, value: bool | int) -> None:
        self._set_option("cached", value)

    def run(self) -> str:
        """Queue the task and return its id."""
        self.id = async_task(self.func, *self.args, **self.kwargs)
        self.started = True
        return self.id

    def result(self, wait: int = 0) -> Any:
        """The result, waited for `wait` milliseconds (-1: for ever); None while not run."""
        from django_q.tasks.results import result  # results stand on the models

        return result(self.id, wait=wait, cached=self.cached) if self.started else None

    def fetch(self, wait: int = 0) -> Any:
        """The finished Task, waited for `wait` milliseconds (-1: for ever)."""
        from django_q.tasks.results import fetch

        return fetch(self.id, wait=wait, cached=self.cached) if self.started else None

    def result_group(self, failures: bool = False, wait: int = 0, count: int | None = None) -> Any:
        """The results of the task's group."""
        from django_q.tasks.groups import result_group

        if not self.started or not self.group:
            return None
        return result_group(
            self.group, failures=failures, wait=wait, count=count, cached=self.cached
        )

    def fetch_group(self, failures: bool = True, wait: int = 0, count: int | None = None) -> Any:
        """The finished Tasks of the task's group."""
        from django_q.tasks.groups import fetch_group

        if not self.started or not self.group:
            return None
        return fetch_group(
            self.group, failures=failures, wait=wait, count=count, cached=self.cached
        )

    def _set_option(self, key: str, value: Any) -> None:
        # q_options may be the caller's own dict: replaced, never changed.
        if "q_options" in self._kwargs:
            self._kwargs["q_options"] = {**(self._kwargs["q_options"] or {}), key: value}
        else:
            self._kwargs[key] = value
        self.started = False

    def _get_option(self, key: str, default: Any = None) -> Any:
        options = self._kwargs.get("q_options") or {}
        return options[key] if key in options else self._kwargs.get(key, default)
