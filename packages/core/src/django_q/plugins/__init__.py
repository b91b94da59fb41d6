"""What third parties add to Django Q: brokers, error reporters and lifecycle hooks.

Everything that a plugin needs is imported from here; `hookspecs` says which hooks there are.
Nothing is discovered before it is first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_q.plugins.entries import BrokerEntry, ReporterEntry
from django_q.plugins.hookspecs import hookimpl
from django_q.plugins.manager import Manager, get_manager, report_error

__all__ = [
    "BrokerEntry",
    "Manager",
    "ReporterEntry",
    "call",
    "get_manager",
    "hookimpl",
    "listens",
    "report_error",
]


def call(hook_name: str, **arguments: Any) -> Sequence[BaseException]:
    """Call a lifecycle hook of every plugin; what one raises is logged, reported and returned."""
    return get_manager().call(hook_name, **arguments)


def listens(hook_name: str) -> bool:
    """Does any plugin implement this lifecycle hook?"""
    return get_manager().listens(hook_name)
