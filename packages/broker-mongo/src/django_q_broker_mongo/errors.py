"""The errors of an outage and of a refusal, whatever of the many pymongo raises for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from django_q.errors import BrokerUnavailable, ConfigurationError, EnqueueError
from django_q_broker_mongo.connection import describe

OUTAGES = (ConnectionFailure, ExecutionTimeout, WriteConcernError, OSError)
"""What says that no server takes writes, or that too few have written."""

PASSING_CODES = frozenset({24, 46, 50, 91, 112, 133, 189, 202, 262, 11600, 11602, 14031})
"""The same as a server's number: busy, elected anew, interrupted, in conflict, out of disk."""

CREDENTIALS_CODES = frozenset({18, 8000})
PERMISSION_CODES = frozenset({13})


class MongoUnavailable(BrokerUnavailable, AutoReconnect):
    """MongoDB cannot be reached, or takes nothing for the moment.

    It is pymongo's error too, which code written for Django Q2 may expect.
    """


class PartlyPut(Exception):
    """A batch of which some were put in."""

    def __init__(self, ids: list[str], error: BulkWriteError) -> None:
        super().__init__(str(error))
        self.ids, self.error = ids, error


class MongoRefused(ConfigurationError, OperationFailure):
    """MongoDB refuses the credentials, or what they are to be used for; waiting does not help."""

    def __init__(self, message: str, code: int | None = None) -> None:
        OperationFailure.__init__(self, message, code)

    def __str__(self) -> str:
        return str(self.args[0])


def translated(server: str, error: Exception) -> Exception | None:
    """The error that says which server, what is wrong and what to look at; None for a mistake of
    ours, which is to be seen as it is."""
    codes = codes_of(error)
    if codes & CREDENTIALS_CODES:
        return MongoRefused(
            f"{server} refuses the credentials: {brief(error)}. Look at username, password and "
            "authSource.",
            min(codes),
        )
    if codes & PERMISSION_CODES:
        return MongoRefused(
            f"{server} does not let this user do what a queue needs: {brief(error)}. Give it the "
            "role readWrite on the database of the queues.",
            min(codes),
        )
    if isinstance(error, OUTAGES) or codes & PASSING_CODES or _is_unwritten(error):
        return MongoUnavailable(f"{server} {_complaint(error)}")
    return None


def codes_of(error: Exception) -> set[int]:
    """The server's numbers of what is wrong, also of the documents of a batch."""
    codes = {getattr(error, "code", None)}
    if isinstance(error, BulkWriteError):
        codes |= {each.get("code") for each in error.details.get("writeErrors", ())}
    return {code for code in codes if isinstance(code, int)}


def _is_unwritten(error: Exception) -> bool:
    return isinstance(error, BulkWriteError) and bool(error.details.get("writeConcernErrors"))


def _complaint(error: Exception) -> str:
    said = brief(error)
    if isinstance(error, NetworkTimeout | ExecutionTimeout):
        return f"does not answer: {said}. Is it paused, busy, or cut off?"
    if isinstance(error, WTimeoutError | WriteConcernError) or _is_unwritten(error):
        return f"has not written to as many members as the write concern asks for: {said}."
    if isinstance(error, ServerSelectionTimeoutError) and said.startswith("No "):
        return f"has no primary: {said}. Is an election under way?"
    if isinstance(error, ConnectionFailure | OSError):
        return f"cannot be reached: {said}. Does it run there?"
    return f"takes nothing for the moment: {said}."


def brief(error: Exception) -> str:
    """What pymongo says, without the topology and the whole answer that it adds."""
    said = str(error)
    if isinstance(error, BulkWriteError):
        said = "; ".join(
            str(each.get("errmsg"))
            for kind in ("writeErrors", "writeConcernErrors")
            for each in error.details.get(kind, ())
        )
    for addition in (", full error:", ", Timeout: ", " (configured timeouts:"):
        said = said.partition(addition)[0]
    return said.rstrip(".")


@contextmanager
def explained() -> Iterator[None]:
    """Turn what pymongo raises in an outage into one error that names the server."""
    try:
        yield
    except PartlyPut as error:
        reason = _explanation(error.error)
        if not error.ids:
            raise reason from error.error
        raise EnqueueError(
            f"{len(error.ids)} of the packages were accepted: {reason}", list(error.ids)
        ) from reason
    except (PyMongoError, OSError) as error:
        reason = _explanation(error)
        if reason is error:
            raise
        raise reason from error


def _explanation(error: Exception) -> Exception:
    return translated(describe(), error) or error
