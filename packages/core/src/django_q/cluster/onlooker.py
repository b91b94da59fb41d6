"""Says what every worker runs now, by looking at its lane: nobody writes anything for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_q import package
from django_q.cluster import clock
from django_q.cluster.lane import Lane

LARGEST_READ = 64 * 1024
"""Packages above this many bytes are not read only to name what runs."""

UNKNOWN: dict[str, Any] = dict.fromkeys(("id", "name", "func", "group"))


class Onlooker:
    """Looks at the lanes of a cluster from the side, while workers and pusher go on.

    What it reads may be overwritten meanwhile. It has been read whole if the worker still runs
    the same package afterwards: a package keeps its place until it is settled.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        # A long task is read once. By lane: which package of which worker, and its facts.
        self._seen: dict[int, tuple[tuple[int, int], dict[str, Any]]] = {}

    def running(self) -> list[dict[str, Any]]:
        """One dict for each task that runs now, in the shape of `Stat.running`."""
        return [facts for lane in self._lanes if (facts := self._look_at(lane)) is not None]

    def _look_at(self, lane: Lane) -> dict[str, Any] | None:
        which = lane.generation, lane.started
        if not _runs(lane, which):
            return None
        known = self._seen.get(lane.index)
        if known is None or known[0] != which:
            known = which, _facts(lane, which[1])
            if not _runs(lane, which):
                return None
            self._seen[lane.index] = known
        return known[1]


def _runs(lane: Lane, which: tuple[int, int]) -> bool:
    """Is a living worker, and the one that was meant, busy with that package?"""
    return lane.is_alive and which == (lane.generation, lane.started) and which[1] > lane.done


def _facts(lane: Lane, number: int) -> dict[str, Any]:
    since = timezone.now() + timedelta(seconds=clock.seconds_until(lane.started_at))
    return {"pid": lane.pid, "number": number, **_named(lane, number), "since": since}


def _named(lane: Lane, number: int) -> dict[str, Any]:
    """What the package says of its task; nothing where it is large or cannot be read."""
    try:
        text = lane.small_package(number, LARGEST_READ)
        if text is None:
            return UNKNOWN
        task = package.inspect(text)
    except Exception:  # overwritten, signed by nobody, or a pickle of who knows what
        return UNKNOWN
    group = task.get("group")
    return {
        "id": task["id"][: package.MAX_ID],
        "name": str(task["name"])[: package.MAX_NAME],
        "func": str(task["func"])[: package.MAX_FUNC],
        "group": None if group is None else str(group)[: package.MAX_NAME],
    }
