"""What proves that a broker keeps Django Q's contract, and fixtures for testing what uses tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django_q_testkit.conformance import BrokerConformance

__all__ = ["BrokerConformance"]

pytest.register_assert_rewrite("django_q_testkit.conformance")


def __getattr__(name: str) -> Any:
    # On demand: pytest imports this package in every run, also where no broker is tested.
    if name == "BrokerConformance":
        from django_q_testkit.conformance import BrokerConformance

        return BrokerConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
