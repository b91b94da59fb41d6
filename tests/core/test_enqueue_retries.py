"""`async_task()` where Redis is away, halted or full: a clear error in time, or patience."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import redis

from django_q import package
from django_q.brokers import get_broker
from django_q.brokers.memory import Memory
from django_q.errors import BrokerUnavailable
from django_q.models import Schedule
from django_q.tasks import async_chain, async_iter, async_task, schedule
from tests.redis_servers import Redis, RedisCluster

SECRET = "sesame"

CALLS: dict[str, Callable[[], Any]] = {
    "async_task": lambda: async_task("tests.jobs.ok", "label"),
    "async_chain": lambda: async_chain([("tests.jobs.ok", ("label",)), "math.tau"]),
    "async_iter": lambda: async_iter("tests.jobs.ok", ["label", "other"]),
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """Yield a server of this module's own, which nobody else misses while it is away."""
    server = Redis(appendonly="yes", appendfsync="always", requirepass=SECRET)
    # The tests' own connections know the password.
    server.connect = lambda **options: redis.Redis(  # type: ignore[method-assign]
        **{"port": server.port, "password": SECRET, "decode_responses": True} | options
    )
    server.start()
    yield server
    server.close()


@pytest.fixture
def configure(server: Redis, settings: Any) -> Callable[..., None]:
    """Configure a site on this server, whose calls wait for it for a moment only."""

    def configure(**options: Any) -> None:
        address = server.settings(password=SECRET, socket_timeout=0.2)
        settings.Q_CLUSTER = {"name": "web", "redis": address} | options

    configure()
    server.run_command("FLUSHALL")
    return configure


@pytest.fixture
def down(server: Redis) -> Iterator[Redis]:
    """Yield the server while it is away; the test may start it again."""
    server.kill()
    yield server
    if server.process is None:
        server.start()


class FirstWarning(logging.Handler):
    """Tells when it has been said that a task waits."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.set()


@pytest.fixture
def waiting() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Make a call in a thread, and return once it has been said that its task waits.

    Not the other way round: a server ends with the thread that has started it.
    """
    handler = FirstWarning()
    logger = logging.getLogger("django-q")
    logger.addHandler(handler)
    with ThreadPoolExecutor() as pool:

        def waiting(call: Callable[[], Any]) -> Future[Any]:
            future = pool.submit(call)
            assert handler.said.wait(30)
            return future

        yield waiting
    logger.removeHandler(handler)


def queued(server: Redis) -> list[dict[str, Any]]:
    """Return the tasks in the queue."""
    with server.connect() as client:
        return [package.loads(each) for each in client.lrange("django_q:web:q", 0, -1)]


def complaint_of(call: Callable[[], Any]) -> str:
    """Return what the error says, which is that of Django Q and of redis-py."""
    with pytest.raises(BrokerUnavailable) as caught:
        call()
    assert isinstance(caught.value, redis.ConnectionError)
    return str(caught.value)


@each_call
def test_a_redis_that_is_away_is_named_without_its_password(
    configure: Callable[..., None], down: Redis, call: Callable[[], Any]
) -> None:
    complaint = complaint_of(call)

    assert complaint.startswith(f"Redis at 127.0.0.1:{down.port} cannot be reached")
    assert SECRET not in complaint


@each_call
def test_a_redis_that_does_not_answer_is_given_up_in_time(
    configure: Callable[..., None], server: Redis, call: Callable[[], Any]
) -> None:
    # It ends by itself: a server that answers nobody cannot be told to go on either.
    server.run_command("CLIENT", "PAUSE", "1000", "ALL")

    complaint = complaint_of(call)

    assert complaint.startswith(f"Redis at 127.0.0.1:{server.port} does not answer")


@each_call
def test_a_full_redis_says_what_to_do(
    configure: Callable[..., None], server: Redis, call: Callable[[], Any]
) -> None:
    server.run_command("CONFIG", "SET", "maxmemory", "1")
    try:
        complaint = complaint_of(call)
    finally:
        server.run_command("CONFIG", "SET", "maxmemory", "0")

    assert "is out of memory and takes no more tasks. Raise maxmemory" in complaint
    assert queued(server) == []


@each_call
def test_with_enqueue_retries_a_call_returns_when_redis_is_back(
    configure: Callable[..., None],
    down: Redis,
    waiting: Callable[[Callable[[], Any]], Future[Any]],
    call: Callable[[], Any],
) -> None:
    configure(enqueue_retries=100)
    future = waiting(call)
    down.start()
    answer = future.result(30)

    tasks = queued(down)
    assert {task.get("group") or task["id"] for task in tasks} == {answer}
    assert [task["check"] for task in tasks] == [True] * len(tasks)
    assert tasks[0]["args"] == ("label",)


def test_a_task_that_the_first_try_took_is_not_marked(
    configure: Callable[..., None], server: Redis
) -> None:
    configure(enqueue_retries=3)

    async_task("tests.jobs.ok", "label")

    assert "check" not in queued(server)[0]


@each_call
def test_the_last_of_so_many_tries_fails(
    configure: Callable[..., None],
    down: Redis,
    caplog: pytest.LogCaptureFixture,
    call: Callable[[], Any],
) -> None:
    configure(enqueue_retries=2)

    complaint_of(call)

    waits = [record for record in caplog.records if "for the broker: Redis at" in record.message]
    assert len(waits) == 2
    assert SECRET not in caplog.text


@pytest.mark.django_db
def test_a_schedule_needs_no_redis(configure: Callable[..., None], down: Redis) -> None:
    planned = schedule("tests.jobs.ok", "label")

    assert Schedule.objects.get() == planned


@pytest.fixture
def sharded(settings: Any) -> Iterator[RedisCluster]:
    servers = RedisCluster()
    try:
        servers.start()
        yield servers
    finally:
        servers.close()


def test_a_redis_cluster_that_is_away_before_the_first_task_is_the_same_outage(
    sharded: RedisCluster, settings: Any, waiting: Callable[[Callable[[], Any]], Future[Any]]
) -> None:
    settings.Q_CLUSTER = {"name": "web", "redis": sharded.settings(socket_timeout=0.2)}
    for node in sharded.nodes:
        node.kill()
    complaint = complaint_of(CALLS["async_task"])

    settings.Q_CLUSTER = settings.Q_CLUSTER | {"enqueue_retries": 100}
    future = waiting(CALLS["async_task"])
    for node in sharded.nodes:
        node.start()
    future.result(30)

    assert complaint.startswith("The Redis Cluster at 127.0.0.1:")
    assert get_broker().queue_size() == 1


class Partial(Memory):
    """A broker that is lost in the middle of a batch."""

    left = 2

    def enqueue(self, package: Any, **options: Any) -> Any:
        if self.left == 0:
            self.left = 10
            raise BrokerUnavailable("gone")
        self.left -= 1
        return super().enqueue(package, **options)


def test_what_was_accepted_before_the_outage_is_not_given_again(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "web", "enqueue_retries": 1}
    broker = Partial("partly")

    async_iter("tests.jobs.ok", range(5), broker=broker)

    tasks = [package.loads(each) for each in broker.packages()]
    assert [task["iter_index"] for task in tasks] == [0, 1, 2, 3, 4]
    assert ["check" in task for task in tasks] == [False, False, True, True, True]
