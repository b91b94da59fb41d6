"""The state of a cluster in one word, as monitors show it."""

from __future__ import annotations

from typing import Any

from django_q.cluster.board import Board
from django_q.conf import Conf


def status_of(board: Board) -> Any:
    """Starting, Idle, Working, Stopping or Stopped."""
    if board.stopped:
        return Conf.STOPPED
    if board.stop_requested or board.stopping:
        return Conf.STOPPING
    if not board.started:
        return Conf.STARTING
    return Conf.IDLE if board.is_empty else Conf.WORKING
