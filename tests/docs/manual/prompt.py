"""A Python prompt in a project, at which somebody types more slowly than the cluster works."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import subprocess
import sys
import threading
import traceback
from typing import Any

from tests.harness import POLL_SECONDS, Project

ANSWER_SECONDS = 60


class Prompt:
    """The prompt, seen from the test: a process that is told what to do, line by line."""

    def __init__(self, project: Project) -> None:
        self._process = subprocess.Popen(
            [project.interpreter, "-m", "tests.docs.manual.prompt"],
            cwd=project.path,
            env=project.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def type(self, code: str) -> str:
        """Run code by the statement, each after all that is queued is done; what was printed."""
        return self._ask("type", code)

    def run(self, code: str) -> str:
        """Run code as a script does, without a pause; return what was printed."""
        return self._ask("run", code)

    def value(self, expression: str) -> Any:
        """Return what an expression of literals is, after what was typed or run last."""
        return ast.literal_eval(self._ask("value", expression))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=ANSWER_SECONDS)

    def _ask(self, way: str, code: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([way, code]) + "\n")
        stdin.flush()
        alarm = threading.Timer(ANSWER_SECONDS, self._process.kill)
        alarm.start()
        line = stdout.readline()
        alarm.cancel()
        assert line, f"No answer within {ANSWER_SECONDS} s to:\n{code}"
        answer = json.loads(line)
        assert answer["error"] is None, f"{code}\n{answer['error']}"
        printed: str = answer["printed"]
        return printed


class Session:
    """The prompt, seen from inside."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def type(self, code: str) -> None:
        self.names = {"__name__": "__prompt__"}
        for statement in ast.parse(code).body:
            wait_until_all_is_done()
            self.execute(statement)
        wait_until_all_is_done()

    def run(self, code: str) -> None:
        self.names = {"__name__": "__prompt__"}
        self.execute(*ast.parse(code).body)

    def value(self, expression: str) -> None:
        print(repr(eval(expression, self.names)))

    def execute(self, *statements: ast.stmt) -> None:
        exec(compile(ast.Module(list(statements), []), "<snippet>", "exec"), self.names)


def wait_until_all_is_done() -> None:
    """A package leaves its table in the transaction that records its result, and the items of an
    iterable leave theirs in the one that records their list."""
    from django_q.models import IterItem, OrmQ  # need django.setup()

    while OrmQ.objects.exists() or IterItem.objects.exists():
        threading.Event().wait(POLL_SECONDS)


def main() -> None:
    """Answer what is asked on stdin, until that is closed."""
    import django

    django.setup()
    session = Session()
    for line in sys.stdin:
        way, code = json.loads(line)
        error = None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                getattr(session, way)(code)
            except Exception:  # whatever a snippet raises is answered to the test, which shows it
                error = traceback.format_exc()
        print(json.dumps({"printed": printed.getvalue(), "error": error}), flush=True)


if __name__ == "__main__":
    main()
