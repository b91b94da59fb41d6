"""Guards the cluster: starts its processes, ends what is overdue, replaces what died, and stops.

One thread, no connection, no user code, so that nothing can keep it from looking.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any
from uuid import uuid4

from django_q.cluster import clock, processors
from django_q.cluster.birth import FORK, FORK_SERVER, Parcel, begin, context_for, start
from django_q.cluster.board import is_running
from django_q.cluster.crew import Crew, affinity, freeze_memory, leave_nothing_open, set_title
from django_q.cluster.lane import Lane, Reason
from django_q.cluster.metrics import forget_process
from django_q.cluster.restraint import Restraint
from django_q.cluster.roles import run_helper, run_worker

logger = logging.getLogger("django-q")

END_SECONDS = 5
"""How long before the end of `stop_timeout` running tasks are ended, so that they are released."""

ROLES = ("monitor", "pusher", "scheduler")
"""The processes of which there is one, in the order in which they start."""

WORKER = "worker"

LOST = 255
"""What multiprocessing takes for the exit code of a process whose fork server has ended."""


class FoundNoServer(RuntimeError):
    """The fork server has ended; nobody can tell any more which of its children have."""


class Sentinel:
    """The sentinel process; `lifeline` is readable when main is gone."""

    def __init__(self, name: str, crew: Crew, lifeline: int | None) -> None:
        self.name = name
        self.crew = crew
        self.settings = crew.settings
        self.board = crew.board
        self.lifeline = lifeline
        self.start_method = crew.board.start_method
        self.context = context_for(self.start_method)
        self.helpers: dict[str, BaseProcess] = {}
        self.workers: dict[int, BaseProcess] = {}
        self.available: list[int] = []
        self.places: dict[int, int] = {}
        self.restraints = {role: Restraint() for role in (*ROLES, WORKER)}
        self.suspects: dict[int, int] = {}
        self.stop_deadline = 0
        self.ended_tasks = False

    def run(self) -> None:
        self.boot()
        while not self.board.stop_requested:
            self.bury_the_dead()
            self.revive()
            self.end_the_overdue()
            self.rest()
        self.stop()

    def boot(self) -> None:
        self.children_bell = _wake_on_children()
        set_title(self.name, "sentinel")
        if self.start_method == FORK:
            leave_nothing_open()
            freeze_memory()
        self.board.sentinel = os.getpid()
        logger.info("%s guarding cluster at %s", self.name, os.getpid())
        if self.settings.cpu_affinity and processors.warn_unless_possible():
            self.available = processors.available()
        for _ in range(self.settings.workers):
            self.start_worker()
        for role in ROLES:
            self.start_helper(role)
        self.board.started = 1
        self.board.main_bell.shout()

    # Starting

    def start_helper(self, role: str) -> None:
        process = self.fork(run_helper, f"Process-{uuid4().hex}", role, self.crew)
        self.helpers[role] = process
        setattr(self.board, role, process.pid)

    def start_worker(self) -> bool:
        """Start a worker on a free lane; False while every lane has unfinished business."""
        lane = next((lane for lane in self.board.lanes if lane.is_free), None)
        if lane is None:
            return False
        lane.open(self.settings.recycle)
        name = f"Process-{uuid4().hex}"
        try:
            process = self.fork(
                run_worker, name, lane.index, self.crew, self.processors(lane.index)
            )
        except OSError:
            # Else the lane would wait for a worker that never was.
            self.places.pop(lane.index, None)
            lane.close(1)
            raise
        lane.pid = process.pid or 0
        self.workers[lane.index] = process
        self.board.pusher_bell.ring()
        return True

    def fork(self, target: Callable[..., None], name: str, *args: Any) -> BaseProcess:
        parcel = Parcel(target, name, *args)
        process: BaseProcess = self.context.Process(
            target=begin, name=name, args=(parcel, self.start_method)
        )
        process.daemon = self.settings.daemonize_workers and target is run_worker
        start(process, self.start_method)
        return process

    def processors(self, index: int) -> list[int]:
        """The processors of the worker on this lane; none where affinity is not asked for."""
        if not 0 < self.settings.cpu_affinity < len(self.available):
            return []
        # The place of a worker that ended is taken by its successor.
        taken = self.places.values()
        place = next(place for place in range(len(taken) + 1) if place not in taken)
        self.places[index] = place
        workers, size = self.settings.workers, self.settings.cpu_affinity
        return affinity(place, workers, self.available, size)

    # Guarding

    def bury_the_dead(self) -> None:
        """Say on the board which workers have ended, and drop helpers that have."""
        for index, process in list(self.workers.items()):
            if self.has_ended(process):
                del self.workers[index]
                self.places.pop(index, None)
                self.bury_worker(self.board.lanes[index], process)
        for role, process in list(self.helpers.items()):
            if self.has_ended(process):
                del self.helpers[role]
                if not self.board.stop_requested or process.exitcode != 0:
                    logger.error("%s (%s) died: %s", process.name, role, process.exitcode)
                    self.restraints[role].count_death()
                setattr(self.board, role, 0)
                forget_process(process.pid)
                process.close()

    def has_ended(self, process: BaseProcess) -> bool:
        """Is it dead? Where it only seems so, because its fork server is, the sentinel ends."""
        if process.exitcode is None:
            return False
        is_lost = self.start_method == FORK_SERVER and process.exitcode == LOST
        if is_lost and is_running(process.pid or 0):
            # Main ends what is left, and starts a cluster of which more is known.
            raise FoundNoServer(f"{process.name} has lost its fork server")
        return True

    def bury_worker(self, lane: Lane, process: BaseProcess) -> None:
        exitcode = process.exitcode or 0
        if exitcode != 0 and lane.reason == Reason.NONE:
            logger.error("%s died: %s", process.name, exitcode)
            self.restraints[WORKER].count_death()
        lane.close(exitcode)
        forget_process(process.pid)
        process.close()
        self.board.monitor_bell.shout()
        self.board.keeper_bell.shout()
        self.board.pusher_bell.ring()

    def revive(self) -> None:
        """Replace what is missing; where the machine has no room for it, a little later."""
        for role in self.missing():
            if self.restraints[role].seconds_left > 0:
                continue
            try:
                self.replace(role)
            except OSError as error:
                logger.error("%s cannot start a process: %s", self.name, error)
                self.restraints[role].hold_back()

    def missing(self) -> list[str]:
        """The roles in which somebody is missing."""
        lacks_workers = not self.stopping and len(self.workers) < self.settings.workers
        helpers = [role for role in self.wanted() if role not in self.helpers]
        return [*helpers, WORKER] if lacks_workers else helpers

    def replace(self, role: str) -> None:
        if role == WORKER:
            while len(self.workers) < self.settings.workers and self.start_worker():
                self.board.reincarnations += 1
        else:
            self.board.reincarnations += 1
            logger.info("Reincarnating the %s", role)
            self.start_helper(role)

    def end_the_overdue(self) -> None:
        """Kill workers whose task is past its deadline on two looks in a row."""
        now = clock.now()
        for index, process in self.workers.items():
            lane = self.board.lanes[index]
            number, deadline = lane.started, lane.deadline
            if not deadline or now < deadline or lane.done >= number:
                self.suspects.pop(index, None)
            elif self.suspects.get(index) != number:
                self.suspects[index] = number
            else:
                logger.error("%s exceeded its timeout and is killed", process.name)
                self.end_worker(lane, process, Reason.OVERDUE, number)

    @staticmethod
    def end_worker(lane: Lane, process: BaseProcess, reason: Reason, accused: int) -> None:
        """Kill a worker for one record; if it is at another one by now, that is a bystander."""
        lane.accused = accused
        lane.reason = reason
        process.kill()

    # Resting

    def rest(self) -> None:
        """Sleep until a child ends, somebody rings, main is gone, or a deadline is due."""
        waited_for: list[Any] = [self.board.sentinel_bell, self.children_bell, *self.ends()]
        if self.lifeline is not None:
            waited_for.append(self.lifeline)
        with self.board.sentinel_bell.attended():
            ready = [] if self.board.stop_requested else wait(waited_for, self.nap())
        _drain(self.children_bell)
        # By its id too: processes of other clusters may hold the lifeline open.
        is_orphan = os.getppid() != self.crew.main_pid
        if self.lifeline is not None and (self.lifeline in ready or is_orphan):
            logger.error("The main process is gone; stopping")
            self.lifeline = None
            self.board.stop_requested = max(self.board.stop_requested, 1)

    def ends(self) -> list[int]:
        """What becomes readable when a child ends whose parent is the fork server.

        Of our own children the kernel tells by a signal; what multiprocessing gives for them would
        stay silent as long as something lives that a task has forked.
        """
        if self.start_method != FORK_SERVER:
            return []
        return [each.sentinel for each in (*self.workers.values(), *self.helpers.values())]

    def nap(self) -> float:
        """Seconds to the next deadline, at most `guard_cycle`, and a second.

        A deadline that begins meanwhile is seen after the nap: a longer one would miss it.
        """
        nap = min(self.settings.guard_cycle, 1.0)
        for index in self.workers:
            deadline = self.board.lanes[index].deadline
            if deadline:
                nap = min(nap, max(clock.seconds_until(deadline), 0.05))
        for role in self.missing():
            nap = min(nap, max(self.restraints[role].seconds_left, 0.01))
        return nap

    # Stopping

    @property
    def stopping(self) -> bool:
        return bool(self.board.stopping)

    def stop(self) -> None:
        """Let running tasks finish, results be saved and claims be settled; at the end, kill."""
        logger.info("%s stopping cluster processes", self.name)
        self.stop_deadline = clock.after(self.settings.stop_timeout)
        self.board.stopping = 1
        self.board.ring_everybody()
        while not self.is_over():
            self.bury_the_dead()
            self.revive()
            self.press()
            if not self.is_over():
                self.rest_while_stopping()
        self.board.stopped = 1
        self.board.main_bell.shout()

    def is_over(self) -> bool:
        return not (self.workers or self.helpers or self.wanted())

    def wanted(self) -> list[str]:
        """The roles that there must be; in a stop those that have work left, until it is late."""
        if not self.stopping:
            return list(ROLES)
        if clock.now() >= self.stop_deadline:
            return []
        monitor = [] if self.board.all_committed else ["monitor"]
        pusher = [] if self.board.all_settled or self.board.failed else ["pusher"]
        return monitor + pusher

    def press(self) -> None:
        """End tasks shortly before `stop_timeout`, and everybody at its end; or now, if told so."""
        if self.board.stop_requested > 1:
            self.stop_deadline = min(self.stop_deadline, clock.after(END_SECONDS))
        left = clock.seconds_until(self.stop_deadline)
        if left <= END_SECONDS and not self.ended_tasks:
            self.ended_tasks = True
            for index, process in self.workers.items():
                lane = self.board.lanes[index]
                self.end_worker(lane, process, Reason.STOP, lane.started)
        if left <= 0:
            for process in (*self.workers.values(), *self.helpers.values()):
                logger.error("%s did not stop in time and is killed", process.name)
                process.kill()

    def rest_while_stopping(self) -> None:
        left = clock.seconds_until(self.stop_deadline)
        nap = left if self.ended_tasks else left - END_SECONDS
        with self.board.sentinel_bell.attended():
            bells: list[Any] = [self.board.sentinel_bell, self.children_bell, *self.ends()]
            wait(bells, max(0.0, min(nap, 0.5)) + 0.001)
        _drain(self.children_bell)


def run_sentinel(name: str, crew: Crew) -> None:
    """The life of the sentinel."""
    main = multiprocessing.parent_process()
    assert main is not None, "The sentinel is a child of main."
    try:
        Sentinel(name, crew, main.sentinel).run()
    except BaseException:
        logger.exception("%s cannot go on", name)
        # At once: multiprocessing would wait for the children, who wait for this process to end.
        os._exit(1)


def _wake_on_children() -> int:
    """A file descriptor that becomes readable when a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def _ignore(*_: Any) -> None:
    """Wake up, and do nothing else."""
