"""Writes the workers' results: what has come in, from all lanes, in one commit.

One result that waits is committed at once; while a commit runs the next ones gather. After the
commit each package is given the action that the pusher takes at the broker, and hooks run in a
thread of their own.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import IntegrityError, OperationalError, ProgrammingError, router

from django_q import databases, records
from django_q.brokers.base import Broker, Delivery, Package
from django_q.cluster.crew import Crew, guarded, join_crew
from django_q.cluster.hooks import HookRunner
from django_q.cluster.lane import Action, Lane, Reason, Report, State, Verdict
from django_q.cluster.patience import Patience
from django_q.cluster.ring import Torn
from django_q.cluster.settlement import after_failure, identify
from django_q.errors import DjangoQError
from django_q.models import Task
from django_q.tasks import execution

logger = logging.getLogger("django-q")

MOST_ROWS = 500
"""How many results one commit writes at most."""

MOST_CHARACTERS = 4 * 1024 * 1024
"""How much their arguments and results may come to."""

COMMIT_DEATHS = 2
"""A result in whose commit the monitor died this often is not tried again."""


class WorkerDied(DjangoQError):
    """The process that ran a task ended before the task did."""


@dataclass
class Entry:
    """One record on its way into the database."""

    lane: Lane
    number: int
    report: Report
    recorded: records.Recorded | None = None
    receipt: Any = field(init=False)
    original: Report | None = None
    """What was reported, where the database refused it."""

    def __post_init__(self) -> None:
        self.receipt = self.lane.receipt(self.number)

    @property
    def outcome(self) -> records.Outcome:
        """What is to be recorded: of FINISHED and KNOWN, which alone have it."""
        outcome = self.report.outcome
        assert outcome is not None, self.report.verdict
        return outcome

    @property
    def counts(self) -> bool:
        """Is this the run whose success counts, so that its hook and its chain are due?"""
        return self.report.verdict == Verdict.KNOWN or self.recorded in (
            records.Recorded.NEW,
            records.Recorded.SAME,
        )

    @property
    def size(self) -> int:
        """How many characters are to be written, but for a few hundred."""
        if self.report.outcome is None:
            return 0
        row = self.report.outcome.row
        return sum(len(text) for text in (row.args, row.kwargs, row.result) if text)

    def refuse(self, error: Exception) -> None:
        """Turn into a failure of its own: the database would not take what the task returned."""
        self.original = self.report
        outcome = records.refusal(self.outcome, error)
        self.report = self.report._replace(
            outcome=outcome, action=Action.ACKNOWLEDGE, error=f"could not be recorded: {error}"
        )


class Monitor:
    """The monitor process."""

    def __init__(self, name: str, crew: Crew) -> None:
        self.name = name
        self.crew = crew
        self.board = crew.board
        self.bell = crew.board.monitor_bell
        self.using = router.db_for_write(Task)
        self.patience = Patience(
            f"the database {self.using!r}", wait=self.bell.wait, give_up=lambda: False
        )
        self.broker_patience = Patience(
            f"the broker of {crew.list_key}", wait=self.bell.wait, give_up=lambda: False
        )

    def run(self) -> None:
        self.boot()
        while not self.is_finished():
            batch = self.gather()
            if batch:
                self.commit(batch)
            else:
                self.bell.wait(1.0, self.has_work)
        self.hooks.finish()
        logger.info("%s stopped monitoring results", self.name)

    def boot(self) -> None:
        join_crew(self.crew, self.name, "monitor")
        broker = self.broker_patience.call(self.crew.broker, None)
        assert broker is not None, "This patience never gives up."
        self.broker: Broker = broker
        databases.prepare(self.using)
        self.shares_transaction = self.broker.commits_with(self.using)
        self.hooks = HookRunner(self.crew, self.decide)
        self.resume_hooks()
        logger.info("%s monitoring at %s", self.name, os.getpid())

    def is_finished(self) -> bool:
        return bool(self.board.stopping) and self.board.all_committed

    # Gathering

    def has_work(self) -> bool:
        return self.is_finished() or any(
            lane.done > lane.committed or (not lane.is_alive and lane.committed < lane.written)
            for lane in self.board.lanes
        )

    def gather(self) -> list[Entry]:
        """What has come in and is not committed, lane by lane in order."""
        batch: list[Entry] = []
        size = 0
        for lane in self.board.lanes:
            for number in range(lane.committed + 1, lane.done + 1):
                suspect = lane.commits(number) > 0
                if suspect and batch:
                    return batch
                batch.append(self.entry(lane, number, lane.count_commit(number)))
                if suspect:
                    # A monitor died with this in its hands: alone, it accuses nobody else.
                    return batch
                size += batch[-1].size
                if len(batch) >= MOST_ROWS or size >= MOST_CHARACTERS:
                    return batch
            if not lane.is_alive and lane.done <= lane.committed < lane.written:
                batch += self.bury(lane)
        return batch

    def entry(self, lane: Lane, number: int, tries: int) -> Entry:
        if tries > COMMIT_DEATHS:
            # Not even looked at: what it holds may be what ended the monitors.
            report = self.or_leave(partial(self.unrecordable, lane, number))
            return Entry(lane, number, report)
        while True:
            try:
                entry = Entry(lane, number, lane.read_report(number))
            except Torn:
                continue
            break
        if tries > 1 and entry.report.outcome is not None:
            entry.report = entry.report._replace(outcome=entry.outcome._replace(first=False))
        return entry

    def unrecordable(self, lane: Lane, number: int) -> Report:
        """The report in place of one whose commit ended the monitor again and again."""
        delivery = lane.delivery(number)
        task = identify(delivery.package)
        if task is None:
            return Report(Verdict.REJECTED, Action.ACKNOWLEDGE, 0)
        error = WorkerDied(
            f"The result could not be recorded: its monitor died {COMMIT_DEATHS} times over it"
        )
        result = execution.refuse(
            task, self.crew.settings, error, attempt=delivery.attempts + 1, first=False
        )
        return Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, result.outcome, str(error))

    @staticmethod
    def or_leave(make: Callable[[], Report]) -> Report:
        """The report in a worker's stead; where it cannot be made the package is left to lapse,
        which is counted, so that it comes to an end. Raised, it would end one monitor after the
        other."""
        try:
            return make()
        except Exception:
            logger.exception("What became of a package cannot be told; it is presented again")
            return Report(Verdict.REJECTED, Action.FORGET, 0)

    def bury(self, lane: Lane) -> list[Entry]:
        """What a dead worker left: the package it had started, if any, as a failed attempt."""
        if lane.started > max(lane.done, lane.committed):
            return [Entry(lane, lane.started, self.or_leave(partial(self.autopsy, lane)))]
        # Nothing more comes from this lane; what was never started is the pusher's.
        lane.committed = lane.written
        self.board.decisions += 1
        self.board.keeper_bell.ring()
        self.board.sentinel_bell.ring()
        return []

    def autopsy(self, lane: Lane) -> Report:
        """The report that a dead worker could not write any more."""
        delivery = lane.delivery(lane.started)
        task = identify(delivery.package)
        if task is None:
            return Report(Verdict.REJECTED, Action.ACKNOWLEDGE, 0)
        what = execution.description(task)
        is_bystander = lane.reason != Reason.NONE and lane.accused != lane.started
        if is_bystander or lane.reason == Reason.STOP:
            logger.warning("Interrupted %s: it is presented again", what)
            return Report(Verdict.DROPPED, Action.RELEASE, 0)
        cause = how_it_ended(lane)
        attempt = self.attempt(delivery, task["id"])
        result = execution.refuse(
            task, self.crew.settings, WorkerDied(cause), attempt=attempt, first=False
        )
        died = lane.reason == Reason.NONE
        outcome = result.outcome._replace(worker_death=died)
        if died and self.deaths(outcome) >= self.crew.settings.max_worker_deaths:
            return Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, outcome, cause)
        action, delay = after_failure(
            attempt=attempt,
            ack_failure=bool(task.get("ack_failure")),
            settings=self.crew.settings,
            broker=self.crew.broker_class,
        )
        return Report(Verdict.FINISHED, action, delay, outcome, cause)

    def attempt(self, delivery: Delivery, task_id: str) -> int:
        """The number of the attempt that a dead worker was at."""
        if self.crew.broker_class.counts_attempts:
            return delivery.attempts + 1
        return 1 + self.patience.call(lambda: records.attempt_count(task_id), 0)

    def deaths(self, outcome: records.Outcome) -> int:
        """How many workers the task has ended, this one included."""
        if not outcome.saved:
            # No row counts them: each attempt may have been one.
            return outcome.row.attempt_count
        before: int = self.patience.call(lambda: records.worker_deaths(outcome.row.id), 0)
        return before + 1

    # Committing

    def commit(self, batch: list[Entry]) -> None:
        """Record a batch, and say what is to become of each of its packages."""
        for written in self.write(batch):
            self.enqueue_links(written)
            self.collate(written)
            for entry in written:
                self.cache(entry)
                self.log(entry)
                self.decide_on(entry)
            self.advance(written)

    def write(self, batch: list[Entry]) -> list[list[Entry]]:
        """Write a batch in one transaction, or in halves where the database refuses a row."""
        try:
            self.patience.call(lambda: self.transact(batch), None)
        except _Refused as refused:
            if isinstance(refused.cause, IntegrityError) and self.be_cautious(batch):
                return self.write(batch)
            if len(batch) > 1:
                middle = len(batch) // 2
                return [*self.write(batch[:middle]), *self.write(batch[middle:])]
            return [self.write_alone(batch[0], refused.cause)]
        return [batch]

    @staticmethod
    def be_cautious(batch: list[Entry]) -> bool:
        """Let each row be looked up before it is written; False if that was so already.

        A plain INSERT failed: something that looked like a first attempt is recorded already.
        """
        firsts = [e for e in batch if e.report.outcome is not None and e.outcome.first]
        for entry in firsts:
            entry.report = entry.report._replace(outcome=entry.outcome._replace(first=False))
        return bool(firsts)

    def write_alone(self, entry: Entry, error: Exception) -> list[Entry]:
        """Record the culprit of a refused batch as a failure with the database's reason."""
        if entry.report.verdict != Verdict.FINISHED:
            logger.error("The database refused to settle a package: %s", error)
            return [entry]
        if entry.report.error is None or not entry.report.error.startswith("could not"):
            entry.refuse(error)
            return self.write([entry])[0]
        if entry.original is not None and isinstance(error, OperationalError | ProgrammingError):
            return self.await_tables(entry)
        logger.error("Could not save the result of %s: %s", entry.outcome.row.name, error)
        entry.recorded = records.Recorded.SUPERSEDED
        return [entry]

    def await_tables(self, entry: Entry) -> list[Entry]:
        """Keep a result until there is a table for it: the database refuses even its failure, so
        that nothing can be wrong with the row; a migration may be missing."""
        assert entry.original is not None
        entry.report, entry.original = entry.original, None
        try:
            self.patience.call(lambda: self.transact([entry], insist=True), None)
        except _Refused:
            return self.write([entry])[0]
        return [entry]

    def transact(self, batch: list[Entry], insist: bool = False) -> None:
        entries = [entry for entry in batch if entry.report.verdict == Verdict.FINISHED]

        def work() -> None:
            verdicts = records.write([entry.outcome for entry in entries], self.using)
            for entry, verdict in zip(entries, verdicts, strict=True):
                entry.recorded = verdict
            if self.shares_transaction:
                self.settle_within(batch)

        try:
            databases.transact(self.using, work)
        except Exception as error:
            databases.close(self.using)
            if databases.is_connection_error(error) or databases.is_busy(error):
                raise
            if insist and isinstance(error, OperationalError | ProgrammingError):
                raise
            raise _Refused(error) from error

    def settle_within(self, batch: Sequence[Entry]) -> None:
        """Acknowledge, release and enqueue what follows, in the transaction of the results."""
        acknowledged: list[Any] = []
        released: dict[tuple[float, bool], list[Any]] = defaultdict(list)
        links: dict[str, list[Package]] = defaultdict(list)
        for entry in batch:
            action, delay = entry.report.action, entry.report.delay
            if action == Action.ACKNOWLEDGE and not self.is_held(entry):
                acknowledged.append(entry.receipt)
            elif action == Action.RETRY:
                released[delay, True].append(entry.receipt)
            elif action == Action.RELEASE:
                released[0, False].append(entry.receipt)
            if entry.recorded == records.Recorded.NEW and entry.outcome.link:
                links[entry.outcome.link.list_key].append(entry.outcome.link.package)
        if acknowledged:
            self.broker.acknowledge_many(acknowledged)
        for (delay, count), receipts in released.items():
            self.broker.release(receipts, delay, count)
        for list_key, packages in links.items():
            self.broker_of(list_key).enqueue_many(packages)

    def broker_of(self, list_key: str) -> Broker:
        return self.broker if list_key == self.crew.list_key else self.crew.broker_class(list_key)

    def enqueue_links(self, written: list[Entry]) -> None:
        """Queue the next tasks of chains, where the broker is not in the results' transaction."""
        if self.shares_transaction:
            return
        for entry in written:
            if entry.report.outcome is not None and entry.counts and entry.outcome.link:
                self.broker_patience.call(partial(self.enqueue_link, entry.outcome.link), None)

    def enqueue_link(self, link: records.Link) -> None:
        try:
            self.broker_of(link.list_key).enqueue(link.package)
        except DjangoQError as error:
            # No outage: it would be refused for ever, and hold up all results.
            logger.error("A chain ends early, its next task is refused: %s", error)

    # Deciding

    def is_held(self, entry: Entry) -> bool:
        """Does the package keep its claim until its hook has run?"""
        return bool(entry.report.outcome is not None and entry.outcome.hook)

    def decide_on(self, entry: Entry) -> None:
        """Say what becomes of a package, or leave it to its hook."""
        report = entry.report
        action, delay = report.action, report.delay
        due = report.outcome is not None and (entry.counts or not entry.outcome.row.success)
        if self.is_held(entry) and due and action == Action.ACKNOWLEDGE:
            entry.lane.set_action(entry.number, Action.HOLD)
            self.hooks.add(entry.lane, entry.number, report)
            return
        if due and (entry.outcome.hook or entry.outcome.signal):
            self.hooks.add(None, entry.number, report)
        if self.shares_transaction and action != Action.RETURN and not self.is_held(entry):
            action = Action.FORGET
        entry.lane.set_action(entry.number, action, delay)

    def decide(self, lane: Lane, number: int, action: Action) -> None:
        """Called by the hook thread when a held package may be settled."""
        lane.set_action(number, action)
        self.board.decisions += 1
        self.board.keeper_bell.ring()

    def resume_hooks(self) -> None:
        """Run the hooks that an earlier monitor had in its hands when it died."""
        for lane in self.board.lanes:
            for number in range(lane.settled + 1, lane.committed + 1):
                if lane.state(number) == State.HELD and lane.action(number)[0] == Action.HOLD:
                    report = lane.kept_report(number) or self.recollection(lane, number)
                    self.hooks.add(lane, number, report)

    def recollection(self, lane: Lane, number: int) -> Report:
        """What a hook needs of a task whose report is no longer there: its id, its hook."""
        task = identify(lane.delivery(number).package)
        assert task is not None, "Only a task that was read can have asked for a hook."
        outcome = execution.known(task, self.crew.settings)
        return Report(Verdict.KNOWN, Action.ACKNOWLEDGE, 0, outcome)

    def advance(self, written: list[Entry]) -> None:
        """Free the outbox up to what is committed, and wake whoever waits for that."""
        for entry in written:
            entry.lane.committed = entry.number
            entry.lane.outbox.free(entry.number)
        self.board.recorded += len(written)
        self.board.decisions += 1
        self.board.keeper_bell.ring()
        for lane in self.board.lanes:
            if lane.blocked:
                self.board.lane_bells[lane.index].ring()

    def collate(self, written: list[Entry]) -> None:
        """Put together the iterables whose last item may be among these results."""
        groups = {
            entry.outcome.item.group: entry.outcome.item
            for entry in written
            if entry.report.outcome is not None and entry.outcome.item
        }
        if not groups:
            return
        none: list[records.Outcome] = []
        for outcome in self.patience.call(lambda: self.complete(groups), none):
            if outcome.cache:
                self.keep_in_cache(outcome.cache)
            if outcome.signal:
                self.hooks.add(None, 0, Report(Verdict.FINISHED, Action.FORGET, 0, outcome))

    def complete(self, groups: dict[str, records.Item]) -> list[records.Outcome]:
        try:
            return records.collate(groups, self.using)
        except Exception as error:
            if databases.is_connection_error(error) or databases.is_busy(error):
                raise
            # No outage: it would fail for ever, and hold up all results.
            logger.exception("Of these iterables one cannot be completed: %s", sorted(groups))
            return []

    def cache(self, entry: Entry) -> None:
        """Keep a result in the cache, where its task asked for that."""
        if entry.report.outcome is not None and entry.outcome.cache and entry.counts:
            self.keep_in_cache(entry.outcome.cache)

    def keep_in_cache(self, cached: records.CacheEntry) -> None:
        guarded(
            lambda: records.cache_write(cached, self.broker.cache), "A result could not be cached"
        )

    def log(self, entry: Entry) -> None:
        """One line for each result, in the words of Django Q."""
        if entry.report.verdict != Verdict.FINISHED:
            return
        row = entry.outcome.row
        if row.success:
            logger.info("Processed '%s' (%s)", row.func, row.name)
        else:
            logger.error("Failed '%s' (%s) - %s", row.func, row.name, entry.report.error)


class _Refused(BaseException):
    """The database refuses the data; no patience helps. Past Patience, which waits for outages."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def how_it_ended(lane: Lane) -> str:
    """One sentence on the end of a worker."""
    if lane.reason == Reason.OVERDUE:
        return "Task exceeded maximum timeout value and did not yield; its worker was killed"
    code = lane.exitcode
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"Worker process {lane.pid} was ended by {name} while it ran this task"
    return f"Worker process {lane.pid} exited with status {code} while it ran this task"
