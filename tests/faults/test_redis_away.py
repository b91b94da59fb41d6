"""Redis restarted, killed, cut off, halted, full or failed over: real servers, real outages."""

import signal
from collections.abc import Iterator

import pytest

from tests.chaos import HELPERS, SETTINGS, Chaos, enqueue, is_done, members
from tests.harness import ClusterProcess, Project
from tests.redis_servers import Redis, RedisCluster, WatchedRedis

pytestmark = pytest.mark.parametrize("database_name", ["redis"], indirect=True)

LOST, FOUND = "Lost the broker of ", "Found the broker of .* again"


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    """Yield a server of this module's own, which nobody else misses while it is away."""
    server = Redis(appendonly="yes", appendfsync="always")
    server.start()
    yield server
    server.close()


def labels(count: int) -> list[str]:
    return [f"task-{number}" for number in range(count)]


def words(cluster: ClusterProcess) -> tuple[int, int]:
    """How often was something said to be lost, and to be back?"""
    return cluster.log.count("Lost "), cluster.log.count("Found ")


def assert_each_ran_once(project: Project, expected: list[str]) -> None:
    project.wait_until(lambda: is_done(project, expected), 40, "the success of all tasks")
    assert project.starts() == dict.fromkeys(expected, 1)


def assert_all_is_over(project: Project, cluster: ClusterProcess) -> None:
    assert cluster.stop() == 0, cluster.log
    assert project.queue.is_empty


def test_five_restarts_under_load_cost_two_lines_each_and_nothing_else(
    project: Project, redis_server: Redis
) -> None:
    expected = labels(400)
    project.configure(SETTINGS)
    enqueue(project, expected)
    cluster = project.start_cluster()

    for restart in range(1, 6):
        project.wait_for_starts(restart * 50)
        # Every other time as a crash, after which it comes back by its append-only file.
        (redis_server.kill if restart % 2 else redis_server.stop)()
        cluster.wait_for_line(LOST, count=restart)
        redis_server.start()
        cluster.wait_for_line(FOUND, count=restart)

    assert_each_ran_once(project, expected)
    assert_all_is_over(project, cluster)
    assert words(cluster) == (5, 5), cluster.log


def test_what_falls_due_while_redis_is_away_is_queued_once_and_nobody_says_more(
    project: Project, redis_server: Redis
) -> None:
    project.configure(SETTINGS)
    cluster = project.start_cluster()
    cluster.wait_for_line("running")

    redis_server.kill()
    cluster.wait_for_line(LOST)
    project.run("from django_q.tasks import schedule\nschedule('tests.jobs.ok', 'due').pk")
    redis_server.start()

    project.wait_for_tasks(1)
    cluster.wait_for_line(FOUND)
    assert_all_is_over(project, cluster)
    assert project.starts() == {"due": 1}
    assert words(cluster) == (1, 1), cluster.log
    assert "cannot queue what is due" not in cluster.log


def test_connections_that_are_cut_under_load_cost_nothing(
    project: Project, redis_server: Redis
) -> None:
    expected = labels(300)
    project.configure(SETTINGS)
    enqueue(project, expected)
    cluster = project.start_cluster()

    for cut in range(1, 6):
        project.wait_for_starts(cut * 50)
        assert redis_server.cut_connections() > 0

    assert_each_ran_once(project, expected)
    assert_all_is_over(project, cluster)
    lost, found = words(cluster)
    assert lost == found, cluster.log


@pytest.mark.parametrize(
    ("retry", "socket_timeout", "paused", "outages"),
    [(3, 5, 500, 0), (1, 5, 2500, 0), (1, 0.3, 2500, 1)],
    ids=["shorter than retry", "longer than retry", "longer than a call waits"],
)
def test_a_redis_that_answers_nobody_for_a_while_costs_nothing(
    project: Project,
    redis_server: Redis,
    retry: int,
    socket_timeout: float,
    paused: int,
    outages: int,
) -> None:
    expected = labels(400)
    redis = project.queue.settings["redis"] | {"socket_timeout": socket_timeout}
    project.configure(SETTINGS | {"retry": retry, "redis": redis})
    enqueue(project, expected)
    cluster = project.start_cluster()
    project.wait_for_starts(50)

    redis_server.run_command("CLIENT", "PAUSE", paused, "ALL")

    assert_each_ran_once(project, expected)
    assert_all_is_over(project, cluster)
    assert words(cluster) == (outages, outages), cluster.log


def test_a_full_redis_takes_nothing_more_and_is_worked_empty(
    project: Project, redis_server: Redis
) -> None:
    gate = project.gate()
    expected = labels(60)
    project.configure(SETTINGS | {"retry": 1})
    enqueue(project, expected[:2], "tests.jobs.gate", gate.path)
    enqueue(project, expected[2:])
    cluster = project.start_cluster()
    project.wait_for_starts(2)

    redis_server.run_command("CONFIG", "SET", "maxmemory", "1")
    try:
        refused = project.python("manage.py", "shell", "-c", ENQUEUE_ONE, check=False)
        gate.open()
        assert_each_ran_once(project, expected)
        project.wait_until(lambda: project.queue.is_empty, what="an empty queue")
    finally:
        redis_server.run_command("CONFIG", "SET", "maxmemory", "0")
    project.python("manage.py", "shell", "-c", ENQUEUE_ONE)

    assert "RedisUnavailable: Redis at 127.0.0.1" in refused.stderr
    assert "is out of memory and takes no more tasks" in refused.stderr
    assert_each_ran_once(project, [*expected, "late"])
    assert_all_is_over(project, cluster)


ENQUEUE_ONE = """
from django_q.tasks import async_task
async_task("tests.jobs.ok", "late", task_name="late")
"""


def test_chains_that_a_full_redis_holds_up_hold_up_nobody_else(
    project: Project, redis_server: Redis
) -> None:
    expected = labels(60)
    project.configure(SETTINGS)
    project.run(
        "from django_q.tasks import async_chain\n"
        "async_chain([('tests.jobs.ok', (label,), {'task_name': label})"
        " for label in ('one', 'two', 'three')])"
    )
    enqueue(project, expected, "tests.jobs.ok")
    chaos = Chaos(project, seed=0)
    redis_server.run_command("CONFIG", "SET", "maxmemory", "1")
    try:
        cluster = chaos.start()
        project.wait_until(lambda: len(project.queue.packages()) == 1, what="the chain alone")
        assert_each_ran_once(project, ["one", *expected])
        chaos.kill_one("monitor")
    finally:
        redis_server.run_command("CONFIG", "SET", "maxmemory", "0")

    assert_each_ran_once(project, ["one", "two", "three", *expected])
    assert_all_is_over(project, cluster)


def test_failed_attempts_are_released_by_a_full_redis(
    project: Project, redis_server: Redis
) -> None:
    project.configure(SETTINGS | {"max_attempts": 3})
    enqueue(project, ["unlucky"], "tests.jobs.fail_times", 2)
    redis_server.run_command("CONFIG", "SET", "maxmemory", "1")
    try:
        cluster = project.start_cluster()
        project.wait_until(lambda: is_done(project, ["unlucky"]), what="its third attempt")
        assert_all_is_over(project, cluster)
    finally:
        redis_server.run_command("CONFIG", "SET", "maxmemory", "0")

    assert project.starts() == {"unlucky": 3}


def test_a_cluster_whose_redis_is_away_from_the_start_gives_up_after_connect_timeout(
    project: Project, redis_server: Redis
) -> None:
    project.configure({"connect_timeout": 0.5})
    redis_server.stop()
    try:
        cluster = project.start_cluster()
        status = cluster.wait()
    finally:
        redis_server.start()

    assert status == 1, cluster.log
    assert "was not reached within 0.5 seconds (connect_timeout)" in cluster.log
    assert words(cluster) == (1, 0), cluster.log


def test_a_cluster_whose_redis_comes_within_connect_timeout_works(
    project: Project, redis_server: Redis
) -> None:
    enqueue(project, ["early"], "tests.jobs.ok")
    redis_server.stop()
    cluster = project.start_cluster()
    cluster.wait_for_line(LOST)
    redis_server.start()

    project.wait_for_tasks(1)
    cluster.wait_for_line(FOUND)
    assert_all_is_over(project, cluster)
    assert words(cluster) == (1, 1), cluster.log


def test_a_stop_while_redis_is_away_is_in_time_and_loses_nothing(
    project: Project, redis_server: Redis
) -> None:
    gate = project.gate()
    expected = labels(6)
    project.configure(SETTINGS | {"retry": 2, "stop_timeout": 7})
    enqueue(project, expected, "tests.jobs.gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(2)

    redis_server.kill()
    cluster.wait_for_line(LOST)
    cluster.terminate(group=True)
    cluster.wait_for_line("stopped pushing tasks")
    gate.open()
    status = cluster.wait(20)
    redis_server.start()

    assert status == 0, cluster.log
    assert "The sentinel did not stop" not in cluster.log
    next_one = project.start_cluster()
    assert_each_ran_once(project, expected)
    project.wait_until(lambda: project.queue.is_empty, what="an empty queue")
    assert next_one.stop() == 0


def test_whoever_dies_while_redis_is_away_takes_nothing_with_it(
    project: Project, redis_server: Redis
) -> None:
    gate = project.gate()
    expected = labels(6)
    project.configure(SETTINGS | {"retry": 2})
    enqueue(project, expected, "tests.jobs.gate", gate.path)
    chaos = Chaos(project, seed=0)
    cluster = chaos.start()
    project.wait_for_starts(2)

    redis_server.kill()
    cluster.wait_for_line(LOST)
    for role in HELPERS:
        chaos.kill_one(role)
    project.wait_until(lambda: set(HELPERS) <= set(members(project)), what="their successors")
    gate.open()
    redis_server.start()

    assert_each_ran_once(project, expected)
    cluster.wait_for_line(FOUND)
    assert_all_is_over(project, cluster)
    assert words(cluster) == (1, 1), cluster.log


@pytest.fixture
def watched() -> Iterator[WatchedRedis]:
    servers = WatchedRedis()
    try:
        servers.start()
        yield servers
    finally:
        servers.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_failover_under_sentinels_costs_nothing_that_was_replicated(
    project: Project, watched: WatchedRedis, how: signal.Signals
) -> None:
    gate = project.gate()
    expected = labels(40)
    project.configure(SETTINGS | {"redis": watched.settings()})
    enqueue(project, expected, "tests.jobs.gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(2)
    with watched.current().connect() as client:
        # On one connection: WAIT speaks of what this one has written.
        client.set("written", "after all claims")
        assert client.wait(1, 5000) == 1

    watched.fail_over(how)
    gate.open()

    assert_each_ran_once(project, expected)
    cluster.wait_for_line(FOUND)
    assert cluster.stop() == 0
    assert words(cluster) == (1, 1), cluster.log


@pytest.fixture
def sharded() -> Iterator[RedisCluster]:
    servers = RedisCluster()
    for node in servers.nodes:
        node.options |= {"appendonly": "yes", "appendfsync": "always"}
    try:
        servers.start()
        yield servers
    finally:
        servers.close()


def test_a_redis_cluster_that_loses_the_queues_node_is_waited_for(
    project: Project, sharded: RedisCluster
) -> None:
    expected = labels(200)
    project.configure(SETTINGS | {"redis": sharded.settings()})
    enqueue(project, expected)
    cluster = project.start_cluster()

    for restart, node in enumerate(sharded.nodes, start=1):
        project.wait_for_starts(restart * 30)
        node.kill()
        node.start()

    assert_each_ran_once(project, expected)
    wait_for_peace(project, cluster)
    assert cluster.stop() == 0
    assert "refuses a receipt" not in cluster.log


def wait_for_peace(project: Project, cluster: ClusterProcess) -> None:
    """Nodes come back one by one, and that of the status may miss the others for longer."""
    project.wait_until(lambda: len(set(words(cluster))) == 1, what="a word of all that was lost")


def test_a_redis_cluster_that_is_away_from_the_start_is_waited_for_too(
    project: Project, sharded: RedisCluster
) -> None:
    project.configure(SETTINGS | {"redis": sharded.settings()})
    enqueue(project, ["early"], "tests.jobs.ok")
    for node in sharded.nodes:
        node.kill()
    cluster = project.start_cluster()
    cluster.wait_for_line(LOST)
    for node in sharded.nodes:
        node.start()

    assert_each_ran_once(project, ["early"])
    wait_for_peace(project, cluster)
    assert cluster.stop() == 0
