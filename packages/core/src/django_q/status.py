"""What a cluster tells about itself, and where everybody can read it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from django.conf import settings
from django.utils import timezone, translation
from django.utils.module_loading import import_string

from django_q.conf import Conf, get_settings, logger
from django_q.signing import BadSignature, SignedPackage

if TYPE_CHECKING:
    from django_q.brokers.base import Broker

TTL_SECONDS = 15
"""How long a status outlives the cluster that saved it."""


class StatusStore(Protocol):
    """Where statuses are kept: floor 5 knows the tables, this module only the port."""

    def save(self, key: str, text: str, ttl: float, broker: Broker | None = None) -> None: ...

    def get(self, key: str, broker: Broker | None = None) -> str | None: ...

    def all(self, pattern: str, broker: Broker | None = None) -> list[str]: ...


store: StatusStore | None = None
"""The registered store; `django_q.status_store` registers itself here when imported."""


def get_store() -> StatusStore:
    """The registered store, or else the one that core brings."""
    if store is None:
        default: StatusStore = import_string("django_q.status_store.store")
        return default
    return store


class Status:
    """A cluster of which no more is known than its name: it is stopped, or never was."""

    # Class attributes, so that a status written by Django Q2 answers for them too.
    name: str | None = None
    scheduler: int = 0
    running: list[dict[str, Any]] = []

    def __init__(self, pid: int | None, cluster_id: Any) -> None:
        self.workers: list[int] = []
        self.tob: datetime | None = None
        self.reincarnations = 0
        self.pid = pid
        self.cluster_id = cluster_id
        self.sentinel = 0
        self.status: Any = Conf.STOPPED
        self.done_q_size = 0
        self.host = socket.gethostname()
        self.monitor = 0
        self.task_q_size = 0
        self.pusher = 0
        self.timestamp = timezone.now()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.cluster_id} {self.status}>"


class Stat(Status):
    """The status of a cluster, as it last told it.

    Pickled as its plain attributes under this very name, which Django Q2's monitors read, too.
    """

    def __init__(self, snapshot: Any) -> None:
        """Take a snapshot, or whatever can give one by `snapshot()`: a sentinel."""
        facts: Mapping[str, Any] = (
            snapshot if isinstance(snapshot, Mapping) else snapshot.snapshot()
        )
        super().__init__(facts.get("pid"), _identity(facts.get("cluster_id")))
        self.name = facts.get("name")
        self.host = facts.get("host") or self.host
        self.tob = _moment(facts.get("tob"))
        self.timestamp = _moment(facts.get("timestamp")) or self.timestamp
        self.status = _state(facts.get("status", self.status))
        for process in ("sentinel", "pusher", "monitor", "scheduler"):
            setattr(self, process, facts.get(process) or 0)
        self.workers = list(facts.get("workers") or ())
        self.running = _running(facts.get("running"))
        self.reincarnations = facts.get("reincarnations") or 0
        self.task_q_size = facts.get("task_q_size") or 0
        self.done_q_size = facts.get("done_q_size") or 0

    @classmethod
    def from_snapshot(cls, snapshot: Mapping[str, Any]) -> Stat:
        """Build one from the plain facts of a cluster."""
        return cls(snapshot)

    def __call__(self) -> Stat:
        """Itself: the manual has `cluster.stat()`, where Django Q2 has `cluster.stat`."""
        return self

    def uptime(self) -> float:
        """Seconds since the cluster was started."""
        # Not timezone.now(): a cluster and whoever looks at it need not agree on USE_TZ.
        return (datetime.now(self.tob.tzinfo) - self.tob).total_seconds() if self.tob else 0.0

    def empty_queues(self) -> bool:
        """Is nothing on its way through the cluster?"""
        return self.done_q_size + self.task_q_size == 0

    @property
    def key(self) -> str:
        """Where this status is kept."""
        return self.get_key(self.cluster_id)

    @staticmethod
    def get_key(cluster_id: Any) -> str:
        """Where the status of a cluster is kept."""
        return f"{Conf.Q_STAT}:{cluster_id}"

    def save(self, broker: Broker | None = None, ttl: float = TTL_SECONDS) -> None:
        """Publish it for `ttl` seconds."""
        get_store().save(self.key, self.pack(), ttl, broker)

    def pack(self) -> str:
        """The signed text of it."""
        if get_settings().serializer == "json":
            with translation.override(None):  # the state is a text that each reader translates
                return SignedPackage.dumps(_plain(vars(self)), True)
        return SignedPackage.dumps(self, True)

    @staticmethod
    def get(pid: Any = None, cluster_id: Any = None, broker: Broker | None = None) -> Status | None:
        """The status of one cluster: a plain, stopped Status where none is known.

        `Stat.get(x)` finds by cluster id or by the pid of the cluster's main process.
        """
        if cluster_id is None:
            return _find(pid, Stat.get_all(broker))
        text = get_store().get(Stat.get_key(cluster_id), broker)
        if text is None:
            return Status(pid=pid, cluster_id=cluster_id)
        return _unpack(text)

    @staticmethod
    def get_all(broker: Broker | None = None) -> list[Stat]:
        """The status of every living cluster of this `name` and key."""
        texts = get_store().all(f"{Conf.Q_STAT}:*", broker)
        return [stat for text in texts if (stat := _unpack(text)) is not None]


def _find(wanted: Any, stats: Iterable[Stat]) -> Status:
    for stat in stats:
        if str(wanted) in (str(stat.cluster_id), str(stat.pid)):
            return stat
    return Status(pid=wanted, cluster_id=wanted)


def _unpack(text: str) -> Stat | None:
    """The status in a signed text; None for one of another key or of another time."""
    try:
        found = SignedPackage.loads(text)
    except BadSignature:
        return None
    except Exception as error:  # a pickle of who knows which version
        logger.debug("A cluster's status cannot be read: %r", error)
        return None
    if isinstance(found, dict):
        return Stat.from_snapshot(found)
    return found if isinstance(found, Stat) else None


def _plain(value: Any) -> Any:
    """What JSON can carry."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _identity(value: Any) -> Any:
    """A cluster's id as Django Q2 has it, a UUID, where it was carried as text."""
    try:
        return UUID(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _state(value: Any) -> Any:
    """A state that was carried as text, as Conf has it: in the language of whoever reads it."""
    if not isinstance(value, str):
        return value
    known = (Conf.STARTING, Conf.WORKING, Conf.IDLE, Conf.STOPPING, Conf.STOPPED)
    with translation.override(None):
        return next((state for state in known if state == value), value)


def _running(tasks: Any) -> list[dict[str, Any]]:
    """What runs: given as dicts, or as what looks for them, which is done only when it counts."""
    found = tasks() if callable(tasks) else tasks or ()
    return [{**task, "since": _moment(task.get("since"))} for task in found]


def _moment(value: Any) -> datetime | None:
    """A datetime from itself, from seconds since the epoch (as timezone.now()), or from ISO."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, tz=UTC if settings.USE_TZ else None)
    return datetime.fromisoformat(value) if isinstance(value, str) else value
