"""Writes results in batches, each in one transaction with what the broker is told of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, OperationalError, ProgrammingError

from django_q import databases, records
from django_q.brokers.base import Broker, Package
from django_q.brokers.registry import get_broker, settings_elsewhere
from django_q.cluster.crew import Crew
from django_q.cluster.lane import Action, Lane, Report, Verdict
from django_q.cluster.patience import Patience
from django_q.errors import BrokerUnavailable, DjangoQError

logger = logging.getLogger("django-q")


@dataclass
class Entry:
    """One record on its way into the database."""

    lane: Lane
    number: int
    report: Report
    recorded: records.Recorded | None = None
    """None also where it could not be recorded."""
    receipt: Any = field(init=False)
    original: Report | None = None
    """What was reported, where the database refused it."""
    awaits_link: bool = False
    """Is the next task of its chain not queued yet?"""
    is_put_off: bool = False
    """Was it left undecided for that?"""

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
    def is_discarded(self) -> bool:
        """Is another run of the task recorded as its success?"""
        return self.recorded == records.Recorded.SUPERSEDED

    @property
    def keeps_claim(self) -> bool:
        """Has it a hook, for which it stays claimed until that has run?"""
        return self.report.outcome is not None and bool(self.outcome.hook)

    @property
    def is_half_recorded(self) -> bool:
        """Is there more to be kept of it after the commit: a cached result, an iterable's list?

        Acknowledged in that commit, it would not come back to a cluster that dies before.
        """
        outcome = self.report.outcome
        return outcome is not None and bool(outcome.cache or outcome.item)

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


class Clerk:
    """The writing hand of the monitor."""

    def __init__(
        self,
        crew: Crew,
        broker: Broker,
        using: str,
        *,
        patience: Patience,
    ) -> None:
        self.crew = crew
        self.broker = broker
        self.using = using
        self.patience = patience
        self.shares_transaction = broker.commits_with(using)
        self._brokers = {crew.list_key: broker}

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
        entry.recorded = None
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
            if action == Action.ACKNOWLEDGE:
                if not (entry.keeps_claim or entry.is_half_recorded or self.is_apart(entry)):
                    acknowledged.append(entry.receipt)
            elif action == Action.RETRY:
                released[delay, True].append(entry.receipt)
            elif action == Action.RELEASE:
                released[0, False].append(entry.receipt)
            is_new = entry.recorded == records.Recorded.NEW
            if is_new and entry.outcome.link and not self.is_apart(entry):
                links[entry.outcome.link.list_key].append(entry.outcome.link.package)
        if acknowledged:
            self.broker.acknowledge_many(acknowledged)
        for (delay, count), receipts in released.items():
            self.broker.release(receipts, delay, count)
        for list_key, packages in links.items():
            self.broker_of(list_key).enqueue_many(packages)

    def broker_of(self, list_key: str) -> Broker:
        if list_key not in self._brokers:
            is_elsewhere = settings_elsewhere(list_key) is not None
            make = get_broker if is_elsewhere else self.crew.broker_class
            self._brokers[list_key] = make(list_key)
        return self._brokers[list_key]

    def is_apart(self, entry: Entry) -> bool:
        """Is a task to follow that the results' transaction cannot queue?"""
        link = None if entry.report.outcome is None else entry.outcome.link
        if link is None:
            return False
        return not self.shares_transaction or settings_elsewhere(link.list_key) is not None

    def has_link(self, entry: Entry) -> bool:
        """Is a task to be queued that the results' transaction has not queued?"""
        return self.is_apart(entry) and entry.counts

    def enqueue_link(self, link: records.Link) -> None:
        """Queue the next task of a chain; raises while the broker does not take it."""
        try:
            self.broker_of(link.list_key).enqueue(link.package)
        except BrokerUnavailable:
            raise
        except DjangoQError as error:
            # No outage: it would be refused for ever, and hold up all results.
            logger.error("A chain ends early, its next task is refused: %s", error)


class _Refused(BaseException):
    """The database refuses the data; no patience helps. Past Patience, which waits for outages."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
