"""An import name of 1.x; `_moved` says where everything in it went."""

from __future__ import annotations

from typing import Any

from django_q._moved import attribute_of


def __getattr__(name: str) -> Any:
    return attribute_of(__name__, name)
