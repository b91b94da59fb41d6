"""A word of the board as an event, which is what a Cluster shows of its start and its stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_q.cluster.cluster import Cluster


class BoardEvent:
    """A word of the board in the shape of a multiprocessing.Event, but one that cannot deadlock:
    setting it waits for nobody."""

    def __init__(self, cluster: Cluster, word: str) -> None:
        self._cluster = cluster
        self._word = word

    def is_set(self) -> bool:
        """Has it happened?"""
        board = self._cluster.board
        return board is not None and bool(getattr(board, self._word))

    def set(self) -> None:
        """Make it happen."""
        board = self._cluster.board
        if board is not None:
            setattr(board, self._word, max(1, getattr(board, self._word)))
            board.sentinel_bell.shout()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it happens, at most `timeout` seconds."""
        return self._cluster.wait_until(self.is_set, timeout)
