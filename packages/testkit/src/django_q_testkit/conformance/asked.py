"""What the running test has asked of a broker: what the capability report is made from."""

from __future__ import annotations

from typing import Any

from django_q.brokers.base import Broker

CAPABILITIES = tuple(
    name
    for name in Broker.__annotations__
    if name.startswith(("supports_", "max_", "is_", "counts_", "keeps_"))
)


class Asked:
    """The broker of one test, and the capabilities that the test is about."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.broker = ""
        self.info = ""
        self.declared: dict[str, str] = {}
        self.capabilities: set[str] = set()

    def made(self, broker: Broker) -> None:
        self.broker = type(broker).__name__
        self.declared = {name: word(getattr(broker, name)) for name in CAPABILITIES}

    def about(self, *capabilities: str) -> None:
        self.capabilities |= set(capabilities)

    def as_dict(self) -> dict[str, Any]:
        """In words that pass from one process of pytest-xdist to the other."""
        return {
            "broker": self.broker,
            "info": self.info,
            "declared": self.declared,
            "capabilities": sorted(self.capabilities),
        }


def word(declared: bool | float | None) -> str:
    if isinstance(declared, bool):
        return "yes" if declared else "no"
    return "no limit" if declared is None else str(declared)


asked = Asked()
