"""The hooks that a plugin may implement, each with its exact signature.

A plugin is a module named by an entry point of the group `django_q`:

    # pyproject.toml
    [project.entry-points.django_q]
    kafka = "django_q_kafka.plugin"

    # django_q_kafka/plugin.py
    from django_q.plugins import BrokerEntry, hookimpl

    @hookimpl
    def django_q_brokers():
        return [
            BrokerEntry(
                name="kafka",
                path="django_q_kafka.broker.Kafka",
                keys=("kafka",),
                install="django-q-kafka",
            )
        ]

Keep the module light: it is imported in every process that uses Django Q, whichever broker it
uses, so the client library belongs into the module of the class. An implementation may leave
out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pluggy

from django_q.plugins.entries import BrokerEntry, ReporterEntry

PROJECT = "django_q"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def django_q_brokers() -> Iterable[BrokerEntry]:  # type: ignore[empty-body]
    """Name the brokers that this distribution brings.

    Called once per process, when a broker is first needed.
    """


@hookspec
def django_q_reporters() -> Iterable[ReporterEntry]:  # type: ignore[empty-body]
    """Name the error reporters that this distribution brings.

    Called once per process, when an error is first reported.
    """


@hookspec
def post_spawn(proc_name: str) -> None:
    """A worker process has started; called in it, before its first task."""


@hookspec
def pre_enqueue(task: dict[str, Any]) -> None:
    """A task is about to be signed and enqueued; called in the process that enqueues it.

    What is changed in `task` travels with it.
    """


@hookspec
def pre_execute(func: Callable[..., Any], task: dict[str, Any]) -> None:
    """A task's function is about to be called; called in the worker.

    Where this raises, the function is not called and the task has failed.
    """


@hookspec
def post_execute_in_worker(func: Callable[..., Any], task: dict[str, Any]) -> None:
    """A task's function has returned or raised; called in the worker.

    `task` has the keys `result` and `success`.
    """


@hookspec
def post_execute(task: dict[str, Any]) -> None:
    """A task's result has been recorded; called in the monitor process."""


LIFECYCLE = frozenset(
    {"post_spawn", "pre_enqueue", "pre_execute", "post_execute_in_worker", "post_execute"}
)
"""The hooks that tell of something; the others ask for entries."""
