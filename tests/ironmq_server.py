"""IronMQ for tests: our stub as a private process, or the service that the environment names."""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from urllib.request import Request, urlopen

from tests.harness import ROOT
from tests.ironmq_stub import PROJECT, TOKEN
from tests.servers import Server


class IronMQ(Server):
    """The stub, which forgets everything when it ends."""

    program = "ironmq"
    account = "root"

    def find(self) -> str:
        return sys.executable

    def command(self) -> list[str]:
        script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        script += f"from tests.ironmq_stub import main; main({self.port})"
        return [self.executable, "-c", script]

    def answers(self) -> Any:
        return self.ask("clock")

    def settings(self, **extra: Any) -> dict[str, Any]:
        """Return what `Q_CLUSTER["iron_mq"]` says of it."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "protocol": "http",
            "project_id": PROJECT,
            "token": TOKEN,
        } | extra

    def advance(self, seconds: float) -> None:
        """Let reservations and delays be so much older."""
        self.ask("clock", advance=seconds)

    def refuse(self, status: int, times: int = 1) -> None:
        """Answer the next requests so."""
        self.ask("refuse", status=status, times=times)

    def requests(self) -> list[dict[str, Any]]:
        """Return the lately answered requests."""
        found: list[dict[str, Any]] = self.ask("requests")
        return found

    def ask(self, name: str, **body: Any) -> Any:
        """Ask one of the stub's own questions."""
        request = Request(f"http://127.0.0.1:{self.port}/{name}", json.dumps(body).encode())
        with urlopen(request, timeout=5) as reply:
            return json.load(reply)

    def _as_account(self) -> list[str]:
        return ["setpriv", "--pdeathsig", "KILL"]


def real_service() -> dict[str, Any] | None:
    """Return `Q_CLUSTER["iron_mq"]` of the real service where the environment has credentials."""
    if not (os.environ.get("IRON_MQ_TOKEN") and os.environ.get("IRON_MQ_PROJECT_ID")):
        return None
    return {
        "token": os.environ["IRON_MQ_TOKEN"],
        "project_id": os.environ["IRON_MQ_PROJECT_ID"],
    }
