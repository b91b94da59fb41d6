"""What is done again and again: an outage of what it depends on is logged once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import current_process

from django_q.cluster.due import ASK_SECONDS
from django_q.cluster.patience import Outage
from django_q.conf import logger

LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class Dependency:
    """What duties stand on and what may be away: the database, the broker."""

    outage: Outage
    is_missed_in: Callable[[Exception], bool]
    """Does this error say that it is away?"""
    reach: Callable[[], object]
    """Raises while it is away."""
    mend: Callable[[], object] = lambda: None
    """Closes what its absence may have spoilt."""


class Duty:
    """Something done again and again; while it cannot be done, that is logged once.

    That something is away which it depends on is said once for all duties and the whole cluster.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        clock: Callable[[], float],
        dependencies: Sequence[Dependency],
    ) -> None:
        self.name = name
        self.work = work
        self.clock = clock
        self.dependencies = dependencies
        self.missing: list[Dependency] = []
        self.trouble: type[Exception] | None = None
        self.pause = ASK_SECONDS
        self.not_before = float("-inf")

    def attempt(self) -> None:
        """Do it, unless it failed a moment ago."""
        if self.clock() < self.not_before:
            return
        error = self._try()
        if error is not None and self._missed_in(error):
            # It may only have been cut: the next one tells.
            error = self._try()
        if error is not None:
            self._failed(error)

    def _try(self) -> Exception | None:
        try:
            self.work()
            for dependency in self.missing:
                # There may have been nothing to do: that it can be reached is another matter.
                dependency.reach()
        except Exception as error:  # every database and every client library has its own
            for dependency in self._missed_in(error):
                self._miss(dependency, error)
            return error
        self._succeeded()
        return None

    def _missed_in(self, error: Exception) -> list[Dependency]:
        return [each for each in self.dependencies if each.is_missed_in(error)]

    def _miss(self, dependency: Dependency, error: Exception) -> None:
        if dependency not in self.missing:
            self.missing.append(dependency)
        dependency.outage.lost(error)
        dependency.mend()

    def _failed(self, error: Exception) -> None:
        if not self._missed_in(error) and self.trouble is not type(error):
            logger.error(
                "%s cannot %s, trying again: %s: %s",
                current_process().name, self.name, type(error).__name__, error,
            )  # fmt: skip
            logger.debug("The traceback:", exc_info=error)
            self.trouble = type(error)
        self.not_before = self.clock() + self.pause
        self.pause = min(self.pause * 2, LONGEST_PAUSE_SECONDS)

    def _succeeded(self) -> None:
        for dependency in self.missing:
            dependency.outage.found()
        if self.trouble is not None:
            logger.info("%s can %s again", current_process().name, self.name)
        self.missing, self.trouble = [], None
        self.pause = ASK_SECONDS
