"""The brokers that the demo can run on, and what each adds to `Q_CLUSTER`."""

from typing import Any

BROKERS: dict[str, dict[str, Any]] = {"orm": {"orm": "default"}}
