"""A terminal for tests: a pane of a tmux server that nobody else uses."""

import subprocess
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tests.harness import Project
from tests.servers import find


class Pane:
    """A shell in a pane of `size`, in the folder of a project; gone with its server."""

    def __init__(self, project: Project, size: tuple[int, int] = (80, 24)) -> None:
        self.project = project
        self.size = size
        self._socket = project.path / "tmux"

    def __enter__(self) -> "Pane":
        width, height = map(str, self.size)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, "sh")
        self.type("PS1='ready> '")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.tmux("kill-server")

    def tmux(self, *arguments: str) -> str:
        """Run one command of tmux and return what it prints."""
        done = subprocess.run(
            [find("tmux", "tmux"), "-S", str(self._socket), *arguments],
            cwd=self.project.path,
            # COLUMNS as a shell may have exported it: it does not follow the window.
            env=self.project.env
            | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLUMNS": str(self.size[0])},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self.tmux("send-keys", "-l", line)
        self.press("Enter")

    def press(self, key: str) -> None:
        """Press one key, by its name in tmux: q, Enter, C-c."""
        self.tmux("send-keys", key)

    def screen(self, *, colours: bool = False) -> list[str]:
        """Return the lines that are shown; with escape sequences for their colours, if asked."""
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else [])).splitlines()

    def wait_for(self, wanted: Callable[[list[str]], Any], what: str) -> list[str]:
        """Return the lines that are shown once they are wanted; blank ones are left out."""
        seen: list[str] = []

        def is_wanted() -> Any:
            seen[:] = [line for line in self.screen() if line]
            return seen and wanted(seen)

        try:
            self.project.wait_until(is_wanted, what=what)
        except AssertionError as error:
            raise AssertionError("\n".join([*seen, "", str(error)])) from None
        return seen

    def is_full_screen(self) -> bool:
        """Does a program have the screen to itself?"""
        return self.tmux("display-message", "-p", "#{alternate_on}").strip() == "1"
