"""The documents of one queue: what is claimed is leased, and comes back unless acknowledged.

A document is what Django Q2 writes, `{"payload": …, "lock": …}`, and whatever else it needs:

`lock`      `retry` seconds before it can be claimed: to Django Q2, when it was last claimed
`ahead`     its priority, where that is above 0
`behind`    the same without its sign, where that is below 0
`claim`     names the claim that holds it, or that has lapsed
`released`  the claim that last gave it back
`lapses`, `attempts`

Neither `ahead` nor `behind` is in most documents, and a missing field comes after all numbers
where the order is descending and before them where it ascends. So one index has everything in the
order in which it is claimed, documents of Django Q2 among them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import MinKey, ObjectId
from bson.errors import InvalidId
from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError

from django_q.brokers.base import Delivery, Package, Receipt
from django_q_broker_mongo.errors import PartlyPut

ORDER = [("ahead", DESCENDING), ("behind", ASCENDING), ("lock", ASCENDING), ("_id", ASCENDING)]
INDEX = "django_q_claim"

AT_ONCE = 1000
"""How many documents one command names at most."""

RACES = 3
"""So often others may be faster with all of a batch; then one document is claimed by itself."""

HEAD_START_SECONDS = 1.0
"""How long before now something is said to be available that is to be claimed at once: so that
nobody whose idea of the server's time lags overlooks it."""

ANY = {"$gte": MinKey()}
"""The condition that matches everything, a missing field too. Without one on each field before
`lock`, MongoDB would read all that is locked and pass over it, instead of stepping over it."""

NO_LEASE_ENDS = {"claim": None}
"""The condition that matches what no claim of ours holds or has held."""

Document = Mapping[str, Any]


class LeasedDocuments:
    """One collection as a queue; `retry` is the setting, which Django Q2 adds to `lock`."""

    def __init__(self, collection: Any, retry: float) -> None:
        self._collection = collection
        self._retry = retry

    def make_index(self) -> None:
        """Make the index that every claim uses, unless it is there."""
        self._collection.create_index(ORDER, name=INDEX)

    # Putting in

    def put(
        self, packages: Sequence[Package], priority: int = 0, available_at: datetime | None = None
    ) -> list[str]:
        """Append; all of it is one command, which pymongo may safely send again."""
        fields = {"lock": self._lock_of(available_at), **_rank(priority)}
        ids = [ObjectId() for _ in packages]
        writes = [
            UpdateOne(
                {"_id": id_}, [{"$set": {"payload": {"$literal": package}} | fields}], upsert=True
            )
            for id_, package in zip(ids, packages, strict=True)
        ]
        try:
            self._collection.bulk_write(writes)
        except BulkWriteError as error:
            # Without such an error all are there, but perhaps not on enough members: in doubt.
            is_partly = error.details.get("writeErrors")
            done = int(error.details.get("nUpserted", 0)) if is_partly else 0
            raise PartlyPut([str(id_) for id_ in ids[:done]], error) from error
        return [str(id_) for id_ in ids]

    def _lock_of(self, available_at: datetime | None) -> Any:
        if available_at is not None:
            return {"$literal": available_at - timedelta(seconds=self._retry)}
        return self._lock_in(0)

    def _lock_in(self, seconds: float) -> Any:
        """The `lock` of what can be claimed so many seconds from now, by the server's clock."""
        ahead = (seconds or -HEAD_START_SECONDS) - self._retry
        return {"$add": ["$$NOW", round(ahead * 1000)]}

    # Taking out

    def take(
        self, limit: int, lease: float, now: datetime, takes_lapsed: bool = True
    ) -> list[Delivery]:
        """Claim up to `limit` packages."""
        due = self._due(now) | ({} if takes_lapsed else NO_LEASE_ENDS)
        if limit > 1:
            for _race in range(RACES):
                ids = self._find_due(due, min(limit, AT_ONCE))
                if not ids:
                    return []
                if found := self._take_of(ids, due, lease):
                    return found
        return self._take_one(due, lease)

    def _due(self, now: datetime) -> dict[str, Any]:
        return {"ahead": ANY, "behind": ANY, "lock": {"$lte": self._latest_lock(now)}}

    def _latest_lock(self, now: datetime) -> datetime:
        """The last `lock` of what can be claimed at this time."""
        return now - timedelta(seconds=self._retry)

    def _find_due(self, due: Document, limit: int) -> list[Any]:
        found = self._collection.find(due, {"_id": True}).sort(ORDER).limit(limit)
        return [each["_id"] for each in found]

    def _take_of(self, ids: list[Any], due: Document, lease: float) -> list[Delivery]:
        """Claim those of a batch that nobody else has claimed meanwhile, in its order."""
        claim = new_claim()
        taken = self._collection.update_many(
            {"_id": {"$in": ids}, **due}, self._claiming(claim, lease)
        )
        if not taken.matched_count:
            return []
        held = {"_id": {"$in": ids}, "claim": claim}
        documents = {each["_id"]: each for each in self._collection.find(held)}
        return [_delivery(documents[id_]) for id_ in ids if id_ in documents]

    def _take_one(self, due: Document, lease: float) -> list[Delivery]:
        document = self._collection.find_one_and_update(
            due,
            self._claiming(new_claim(), lease),
            sort=ORDER,
            return_document=ReturnDocument.AFTER,
        )
        return [_delivery(document)] if document else []

    def _claiming(self, claim: str, lease: float) -> list[Document]:
        lapsed = {"$cond": [{"$gt": ["$claim", None]}, 1, 0]}
        lapses = {"$add": [{"$ifNull": ["$lapses", 0]}, lapsed]}
        return [{"$set": {"claim": claim, "lapses": lapses, "lock": self._lock_in(lease)}}]

    def seconds_until_due(self, now: datetime) -> float | None:
        """When the next of priority 0 can be claimed; the others are not asked for, since the
        index has them by their priorities first."""
        start = self._latest_lock(now)
        later = {"ahead": None, "behind": None, "lock": {"$gt": start}}
        found = self._collection.find_one(later, {"lock": True}, sort=ORDER)
        return (found["lock"] - start).total_seconds() if found else None

    # Settling

    def acknowledge(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Forget what is done; the receipts of what another claim holds."""
        deleted = self._collection.delete_many(_held_by(receipts)).deleted_count
        if deleted == len(set(receipts)):
            return []
        left = self._collection.find({"_id": {"$in": _ids(receipts)}}, {"_id": True})
        return _with_id_in(receipts, left)

    def extend(self, receipts: Sequence[Receipt], seconds: float) -> list[Receipt]:
        """Let leases end so many seconds from now; the receipts that held nothing."""
        held = _held_by(receipts)
        lock = [{"$set": {"lock": self._lock_in(seconds)}}]
        return self._others(receipts, held, held, lock)

    def release(self, receipts: Sequence[Receipt], delay: float, count: bool) -> list[Receipt]:
        """Give back; the receipts that held nothing."""
        fields: dict[str, Any] = {
            "lock": self._lock_in(delay),
            "released": "$claim",
        }
        if count:
            fields["attempts"] = {"$add": [{"$ifNull": ["$attempts", 0]}, 1]}
        giving: list[Document] = [{"$set": fields}, {"$unset": "claim"}]
        # What was given back may have its next claim already.
        return self._others(receipts, _held_by(receipts), _held_by(receipts, "released"), giving)

    def _others(
        self,
        receipts: Sequence[Receipt],
        held: Document,
        done: Document,
        update: Sequence[Document],
    ) -> list[Receipt]:
        """Update what is held; the receipts for which that was not done."""
        if self._collection.update_many(held, update).matched_count == len(set(receipts)):
            return []
        found = self._collection.find(done, {"_id": True, "claim": True, "released": True})
        succeeded = {each["_id"] for each in found}
        return [each for each in receipts if _parts(each)[0] not in succeeded]

    # The queue as a whole

    def count_waiting(self, now: datetime) -> int:
        return int(self._collection.count_documents(self._due(now)))

    def count_locked(self, now: datetime) -> int:
        later = {"ahead": ANY, "behind": ANY, "lock": {"$gt": self._latest_lock(now)}}
        return int(self._collection.count_documents(later))


def new_claim() -> str:
    """What no other claim has, also where a site seeds `random` at its start."""
    return os.urandom(8).hex()


def key_of(receipt: Receipt) -> str:
    """What names the package whatever claim holds it."""
    return str(receipt).partition(".")[0]


def _delivery(document: Document) -> Delivery:
    key = str(document["_id"])
    return Delivery(
        key,
        f"{key}.{document['claim']}",
        document["payload"],
        int(document.get("lapses", 0)),
        int(document.get("attempts", 0)),
    )


def _rank(priority: int) -> dict[str, Any]:
    if not priority:
        return {}
    return {"ahead" if priority > 0 else "behind": {"$literal": abs(priority)}}


def _parts(receipt: Receipt) -> tuple[Any, str]:
    """The id of the document, and the claim; Django Q2's receipts are the id alone."""
    key, _, claim = str(receipt).partition(".")
    try:
        return ObjectId(key), claim
    except InvalidId:
        return key, claim


def _ids(receipts: Sequence[Receipt]) -> list[Any]:
    return [_parts(each)[0] for each in receipts]


def _held_by(receipts: Sequence[Receipt], field: str = "claim") -> Document:
    """The condition that matches what these receipts hold; a batch has one claim as a rule."""
    ids: dict[str, list[Any]] = defaultdict(list)
    for receipt in receipts:
        id_, claim = _parts(receipt)
        ids[claim].append(id_)
    return {"$or": [{"_id": {"$in": some}, field: claim} for claim, some in ids.items()]}


def _with_id_in(receipts: Sequence[Receipt], documents: Any) -> list[Receipt]:
    ids = {each["_id"] for each in documents}
    return [each for each in receipts if _parts(each)[0] in ids]
