"""Writes the workers' results: what has come in, from all lanes, in one commit.

One result that waits is committed at once; while a commit runs the next ones gather. After the
commit each package is given the action that the pusher takes at the broker, and hooks run in a
thread of their own.
"""

from __future__ import annotations

import logging
import os

from django.db import router

from django_q import databases, records
from django_q.cluster.clerk import Clerk, Entry
from django_q.cluster.coroner import COMMIT_DEATHS, Coroner
from django_q.cluster.crew import Crew, guarded, join_crew
from django_q.cluster.hooks import HookRunner
from django_q.cluster.lane import Action, Lane, Report, State, Verdict
from django_q.cluster.links import Links
from django_q.cluster.patience import Outage, Patience
from django_q.cluster.ring import Torn
from django_q.cluster.settlement import identify
from django_q.models import Task
from django_q.tasks import execution

logger = logging.getLogger("django-q")

MOST_ROWS = 500
"""How many results one commit writes at most."""

MOST_CHARACTERS = 4 * 1024 * 1024
"""How much their arguments and results may come to."""


class Monitor:
    """The monitor process."""

    def __init__(self, name: str, crew: Crew) -> None:
        self.name = name
        self.crew = crew
        self.board = crew.board
        self.bell = crew.board.monitor_bell
        self.using = router.db_for_write(Task)
        self.patience = Patience(
            Outage.of_database(crew, self.using),
            wait=self.bell.wait,
            give_up=lambda: False,
            mend=lambda: databases.close(self.using),
        )
        self.broker_patience = Patience(
            f"the broker of {crew.list_key}", wait=self.bell.wait, give_up=self.is_finished
        )
        self.links = Links(self.broker_patience)
        self.coroner = Coroner(crew, self.patience)

    def run(self) -> None:
        if not self.boot():
            return
        while not self.is_finished():
            self.queue_links()
            batch = self.gather()
            if batch:
                self.commit(batch)
            else:
                self.bell.wait(self.links.nap(), self.has_work)
        self.hooks.finish()
        logger.info("%s stopped monitoring results", self.name)

    def boot(self) -> bool:
        """Get ready; False if the cluster stopped before there was a broker to work with."""
        join_crew(self.name, "monitor")
        self.broker_patience.outage = Outage.of_queue(self.crew)
        broker = self.broker_patience.call(self.crew.broker, None, is_contact=False)
        if broker is None:
            return False
        self.broker = broker
        self.broker_patience.outage = Outage.of_broker(self.crew, broker)
        databases.prepare(self.using)
        self.clerk = Clerk(
            self.crew,
            broker,
            self.using,
            patience=self.patience,
        )
        self.hooks = HookRunner(self.crew, self.decide)
        self.resume()
        logger.info("%s monitoring at %s", self.name, os.getpid())
        return True

    def is_finished(self) -> bool:
        return bool(self.board.stopping) and self.board.all_committed and not self.links

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
            return Entry(lane, number, self.coroner.of_dead_monitors(lane, number))
        while True:
            try:
                entry = Entry(lane, number, lane.read_report(number))
            except Torn:
                continue
            break
        if tries > 1 and entry.report.outcome is not None:
            entry.report = entry.report._replace(outcome=entry.outcome._replace(first=False))
        return entry

    def bury(self, lane: Lane) -> list[Entry]:
        """What a dead worker left: the package it had started, if any, as a failed attempt."""
        if lane.started > max(lane.done, lane.committed):
            return [Entry(lane, lane.started, self.coroner.of_dead_worker(lane))]
        # Nothing more comes from this lane; what was never started is the pusher's.
        lane.committed = lane.written
        self.board.decisions += 1
        self.board.keeper_bell.ring()
        self.board.sentinel_bell.ring()
        return []

    # Committing

    def commit(self, batch: list[Entry]) -> None:
        """Record a batch, and say what is to become of each of its packages."""
        for written in self.clerk.write(batch):
            for entry in written:
                if self.clerk.has_link(entry):
                    self.links.add(entry)
            self.queue_links()
            self.collate(written)
            for entry in written:
                self.cache(entry)
                self.log(entry)
                if entry.awaits_link:
                    self.put_off(entry)
                else:
                    self.decide_on(entry)
            self.advance(written)

    def queue_links(self) -> None:
        """Queue the next tasks of chains, and settle those that waited for that."""
        for entry in self.links.queue(self.clerk.enqueue_link):
            if entry.is_put_off:
                self.decide_on(entry)
                self.tell_the_keeper()

    @staticmethod
    def put_off(entry: Entry) -> None:
        """Keep a package claimed until the next task of its chain is queued."""
        entry.is_put_off = True
        entry.lane.set_action(entry.number, Action.AWAIT_LINK)

    # Deciding

    def decide_on(self, entry: Entry) -> None:
        """Say what becomes of a package, or leave it to its hook."""
        report = entry.report
        action, delay = report.action, report.delay
        # A zombie's failure too is discarded, if another run has succeeded meanwhile.
        due = report.outcome is not None and not entry.is_discarded
        waits = entry.keeps_claim and action == Action.ACKNOWLEDGE
        if waits and due:
            entry.lane.set_action(entry.number, Action.HOLD)
            self.hooks.add(entry.lane, entry.number, report)
            return
        if due and (entry.outcome.hook or entry.outcome.signal):
            self.hooks.add(None, entry.number, report)
        is_half = entry.is_half_recorded and action == Action.ACKNOWLEDGE
        is_open = waits or is_half or self.clerk.is_apart(entry)
        if self.clerk.shares_transaction and action != Action.RETURN and not is_open:
            action = Action.FORGET
        entry.lane.set_action(entry.number, action, delay)

    def decide(self, lane: Lane, number: int, action: Action) -> None:
        """Called by the hook thread when a held package may be settled."""
        lane.set_action(number, action)
        self.tell_the_keeper()

    def tell_the_keeper(self) -> None:
        self.board.decisions += 1
        self.board.keeper_bell.ring()

    def resume(self) -> None:
        """Take over the hooks and the links that an earlier monitor had in its hands."""
        for lane in self.board.lanes:
            for number in range(lane.settled + 1, lane.committed + 1):
                if lane.state(number) == State.HELD:
                    self.resume_one(lane, number, lane.action(number)[0])

    def resume_one(self, lane: Lane, number: int, action: int) -> None:
        if action not in (Action.HOLD, Action.AWAIT_LINK):
            return
        report = lane.kept_report(number) or self.recollection(lane, number)
        if action == Action.HOLD:
            self.hooks.add(lane, number, report)
            return
        entry = Entry(lane, number, report, is_put_off=True)
        if entry.report.outcome is not None and entry.outcome.link:
            self.links.add(entry)
        else:
            self.decide_on(entry)

    def recollection(self, lane: Lane, number: int) -> Report:
        """What is still due of a task whose report is no longer there: its hook, its link."""
        task = identify(lane.delivery(number).package)
        assert task is not None, "Only a task that was read can have asked for either."
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
