"""What proves that a broker or a reporter keeps Django Q's contract, and fixtures for testing what
uses tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django_q_testkit.conformance import BrokerConformance
    from django_q_testkit.reporters import ReporterConformance

__all__ = ["BrokerConformance", "ReporterConformance"]

pytest.register_assert_rewrite("django_q_testkit.conformance", "django_q_testkit.reporters")


def __getattr__(name: str) -> Any:
    # On demand: pytest imports this package in every run, also where no broker is tested.
    if name == "BrokerConformance":
        from django_q_testkit.conformance import BrokerConformance

        return BrokerConformance
    if name == "ReporterConformance":
        from django_q_testkit.reporters import ReporterConformance

        return ReporterConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
