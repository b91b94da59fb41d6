"""The Redis broker connects to whatever `Q_CLUSTER` names, and says what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from django_q.brokers import get_broker
from django_q.checks import check_broker_settings
from django_q.errors import BrokerUnavailable, ConfigurationError
from django_q_broker_redis.connection import connect
from tests import redis_servers
from tests.harness import Project

AS_PRINTED = {
    "host": "localhost",
    "port": 6379,
    "db": 0,
    "password": None,
    "socket_timeout": None,
    "charset": "utf-8",
    "errors": "strict",
    "unix_socket_path": None,
}
"""The defaults in the manuals of Django Q and Django Q2."""

SECRET = "s3cret%/word"


@pytest.fixture(scope="module")
def on_socket() -> Iterator[redis_servers.Redis]:
    """Yield a server that has a Unix socket too, in its folder."""
    server = redis_servers.Redis(unixsocket="redis.sock", unixsocketperm="777")
    server.folder.chmod(0o755)
    server.start()
    yield server
    server.close()


@pytest.fixture
def guarded(redis_server: redis_servers.Redis) -> Iterator[dict[str, Any]]:
    """Yield the credentials of a user who may do what the documentation asks for, no more."""
    rules = ("~django_q:*", "~{django_q:*", "+@all", "-@dangerous", "+info")
    redis_server.run_command("ACL", "SETUSER", "queue", "on", f">{SECRET}", *rules)
    yield {"username": "queue", "password": SECRET}
    redis_server.run_command("ACL", "DELUSER", "queue")


def configure(settings: Settings, redis: Any, **options: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "redis": redis} | options


def mistakes() -> list[str]:
    return [str(error.msg) for error in check_broker_settings()]


def assert_a_package_goes_through() -> None:
    broker = get_broker(f"connections-{uuid4().hex[:8]}")
    broker.enqueue("there and back")

    (delivery,) = broker.claim(1, 60)

    assert delivery.package in ("there and back", b"there and back")
    assert broker.acknowledge_many([delivery.receipt]) == []
    broker.delete_queue()
    broker.close()


class TestOneServer:
    def test_the_manual_s_dict_works_as_printed(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        configure(settings, AS_PRINTED | {"port": redis_server.port})

        assert mistakes() == []
        assert_a_package_goes_through()

    def test_what_is_empty_means_the_default(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        empty = {"host": "", "port": redis_server.port, "db": 0, "password": "", "username": ""}
        configure(settings, empty)

        assert mistakes() == []
        assert_a_package_goes_through()

    def test_no_settings_at_all_mean_the_server_of_this_machine(self, settings: Settings) -> None:
        configure(settings, {})

        client = connect()

        assert client.connection_pool.connection_kwargs["host"] == "localhost"
        assert client.connection_pool.connection_kwargs["port"] == 6379

    @pytest.mark.parametrize("query", ["", "?protocol=2", "?protocol=3", "?decode_responses=True"])
    def test_a_url_and_both_protocols(
        self, redis_server: redis_servers.Redis, settings: Settings, query: str
    ) -> None:
        configure(settings, f"redis://127.0.0.1:{redis_server.port}/3{query}")

        assert mistakes() == []
        assert_a_package_goes_through()
        assert "appendfsync" in get_broker().info()

    def test_a_url_in_the_dict_with_more_beside_it(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        url = f"redis://127.0.0.1:{redis_server.port}/3"
        configure(settings, {"url": url, "socket_timeout": 7, "client_name": "the-queue"})

        assert_a_package_goes_through()
        assert get_broker().connection.client_getname() in ("the-queue", b"the-queue")

    @pytest.mark.parametrize("form", ["path", "url"])
    def test_a_unix_socket(
        self, on_socket: redis_servers.Redis, settings: Settings, form: str
    ) -> None:
        path = str(on_socket.folder / "redis.sock")
        given = {"path": {"unix_socket_path": path}, "url": f"unix://{path}?db=1"}
        configure(settings, given[form])

        assert mistakes() == []
        assert_a_package_goes_through()


class TestTLS:
    def test_a_dict_with_ssl(
        self, encrypted: redis_servers.EncryptedRedis, settings: Settings
    ) -> None:
        trusted = {"ssl": True, "ssl_ca_certs": str(encrypted.certificate)}
        configure(settings, encrypted.settings(**trusted))

        assert mistakes() == []
        assert_a_package_goes_through()

    def test_a_url_with_rediss(
        self, encrypted: redis_servers.EncryptedRedis, settings: Settings
    ) -> None:
        trusted = f"ssl_ca_certs={encrypted.certificate}"
        configure(settings, f"rediss://127.0.0.1:{encrypted.port}/0?{trusted}")

        assert mistakes() == []
        assert_a_package_goes_through()

    def test_a_certificate_that_nobody_vouches_for_is_refused(
        self, encrypted: redis_servers.EncryptedRedis, settings: Settings
    ) -> None:
        configure(settings, encrypted.settings(ssl=True))

        with pytest.raises(BrokerUnavailable, match=r"(?i)certificate"):
            get_broker().ping()


class TestSentinel:
    @pytest.mark.parametrize("form", ["pairs", "text"])
    def test_addresses(
        self, watched: redis_servers.WatchedRedis, settings: Settings, form: str
    ) -> None:
        given = watched.settings()
        if form == "text":
            given["sentinels"] = [f"{host}:{port}" for host, port in given["sentinels"]]
        configure(settings, given)

        assert mistakes() == []
        assert_a_package_goes_through()

    def test_a_sentinel_that_is_away_is_passed_over(
        self, watched: redis_servers.WatchedRedis, settings: Settings
    ) -> None:
        given = watched.settings()
        given["sentinels"].insert(0, ["127.0.0.1", 1])
        configure(settings, given)

        assert_a_package_goes_through()

    def test_a_service_that_nobody_watches_is_named(
        self, watched: redis_servers.WatchedRedis, settings: Settings
    ) -> None:
        configure(settings, watched.settings(service_name="another"))

        with pytest.raises(BrokerUnavailable, match="another"):
            get_broker().ping()


class TestCluster:
    @pytest.mark.parametrize("form", ["pairs", "text", "url"])
    def test_nodes(
        self, cluster: redis_servers.RedisCluster, settings: Settings, form: str
    ) -> None:
        pairs = [list(node.address) for node in cluster.nodes]
        host, port = pairs[0]
        given = {
            "pairs": {"startup_nodes": pairs, "db": 0},
            "text": {"startup_nodes": [f"{host}:{port}" for host, port in pairs]},
            "url": {"url": f"redis://{host}:{port}", "cluster": True},
        }
        configure(settings, given[form])

        assert mistakes() == []
        assert_a_package_goes_through()

    @pytest.mark.parametrize("name", ["plain", "{tag}", "{tag}-and-more", "open{brace"])
    def test_all_keys_of_a_queue_are_in_one_slot(
        self, cluster: redis_servers.RedisCluster, settings: Settings, name: str
    ) -> None:
        configure(settings, cluster.settings())
        broker = get_broker(name)

        broker.enqueue("urgent", priority=9)

        assert [delivery.package for delivery in broker.claim(1, 60)] == [b"urgent"]
        broker.delete_queue()

    @pytest.mark.parametrize("name", ["shut}brace", "{}", "a}b{c"])
    def test_a_name_that_cannot_be_in_one_slot_is_refused(
        self, cluster: redis_servers.RedisCluster, settings: Settings, name: str
    ) -> None:
        configure(settings, cluster.settings())

        with pytest.raises(ConfigurationError, match="braces"):
            get_broker(name)

    @pytest.mark.parametrize("name", ["shut}brace", "{}", "a}b{c"])
    def test_one_server_takes_any_name(
        self, redis_server: redis_servers.Redis, settings: Settings, name: str
    ) -> None:
        configure(settings, redis_server.settings())
        broker = get_broker(name)

        broker.enqueue("urgent", priority=9)

        assert [delivery.package for delivery in broker.claim(1, 60)] == [b"urgent"]
        broker.delete_queue()

    def test_a_database_other_than_0_is_a_mistake(self, settings: Settings) -> None:
        configure(settings, {"startup_nodes": [["127.0.0.1", 6379]], "db": 2})

        (sentence,) = mistakes()

        assert "has only 0" in sentence


class TestDjangoRedis:
    @pytest.fixture(autouse=True)
    def _caches(self, redis_server: redis_servers.Redis, settings: Settings) -> None:
        pytest.importorskip("django_redis", reason="pip install django-redis")
        url = f"redis://127.0.0.1:{redis_server.port}/4"
        blocking = {
            "CONNECTION_POOL_CLASS": "redis.BlockingConnectionPool",
            "CONNECTION_POOL_CLASS_KWARGS": {"max_connections": 5, "timeout": 5},
        }
        settings.CACHES = {
            "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url},
            "blocking": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": url,
                "OPTIONS": blocking,
            },
            "small": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": url,
                "OPTIONS": {"CONNECTION_POOL_KWARGS": {"max_connections": 2}},
            },
            "memory": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        }

    @pytest.mark.parametrize("alias", ["default", "blocking", "small"])
    def test_the_connection_of_a_cache(self, settings: Settings, alias: str) -> None:
        settings.Q_CLUSTER = {"name": "tests", "django_redis": alias}

        assert mistakes() == []
        for _ in range(4):
            assert_a_package_goes_through()

    def test_a_cache_that_does_not_exist_is_a_mistake(self, settings: Settings) -> None:
        settings.Q_CLUSTER = {"name": "tests", "django_redis": "defualt"}

        (sentence,) = mistakes()

        assert "'defualt'" in sentence
        assert "'default'" in sentence

    def test_a_cache_of_another_kind_is_a_mistake(self, settings: Settings) -> None:
        settings.Q_CLUSTER = {"name": "tests", "django_redis": "memory"}

        (sentence,) = mistakes()

        assert "LocMemCache" in sentence


class TestCredentials:
    @pytest.mark.parametrize("receipts", [True, False])
    def test_a_user_with_no_more_rights_than_are_documented(
        self,
        redis_server: redis_servers.Redis,
        guarded: dict[str, Any],
        settings: Settings,
        receipts: bool,
    ) -> None:
        configure(settings, redis_server.settings(**guarded), redis_receipts=receipts)

        assert_a_package_goes_through()
        assert get_broker().ping()
        assert get_broker().info()
        broker = get_broker()
        broker.set_stat("django_q:tests:cluster:1", "text", 60)
        assert broker.get_stats("django_q:tests:cluster:*")

    @pytest.mark.parametrize("form", ["dict", "url"])
    def test_a_wrong_password_is_told_and_not_shown(
        self, redis_server: redis_servers.Redis, settings: Settings, form: str
    ) -> None:
        given = {
            "dict": redis_server.settings(username="queue", password="wr0ng"),
            "url": f"redis://queue:wr0ng@127.0.0.1:{redis_server.port}/0",
        }
        configure(settings, given[form])

        with pytest.raises(BrokerUnavailable, match="credentials") as refused:
            get_broker().ping()

        assert "wr0ng" not in str(refused.value)
        assert f"127.0.0.1:{redis_server.port}" in str(refused.value)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:s3cret/word@127.0.0.1:6379/0",
            "redis://:s3cret#word@127.0.0.1:6379/0",
            "redis://:[s3cret@127.0.0.1:6379/0",
            "http://:s3cret@127.0.0.1:6379/0",
        ],
    )
    def test_a_password_that_spoils_the_url_is_not_shown_either(
        self, settings: Settings, url: str
    ) -> None:
        configure(settings, url)

        (sentence,) = mistakes()

        assert "s3cret" not in sentence
        assert "percent-encoded" in sentence

    def test_a_server_that_is_away_is_named_without_the_password(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        configure(settings, f"redis://queue:{'s3cret'}@127.0.0.1:1/0")

        with caplog.at_level(logging.DEBUG), pytest.raises(BrokerUnavailable) as away:
            get_broker().ping()

        assert "127.0.0.1:1" in str(away.value)
        assert "s3cret" not in str(away.value) + caplog.text

    def test_no_command_shows_the_password(
        self, project: Project, redis_server: redis_servers.Redis, guarded: dict[str, Any]
    ) -> None:
        address = redis_server.settings(**guarded)
        project.configure({"orm": None, "redis": address})

        commands = (["check"], ["qinfo"], ["qinfo", "--config"], ["qinfo", "--plugins"])
        printed = [project.manage(*command, check=False) for command in commands]

        for done in printed:
            assert SECRET not in done.stdout + done.stderr, done.args


class TestMistakes:
    def test_a_key_that_redis_py_does_not_take_is_named_with_the_nearest(
        self, settings: Settings
    ) -> None:
        configure(settings, {"hostt": "localhost", "prot": 6379})

        assert mistakes() == [
            "Q_CLUSTER[\"redis\"] has a key 'hostt', which redis-py does not take. "
            "Did you mean 'host'?",
            "Q_CLUSTER[\"redis\"] has a key 'prot', which redis-py does not take. "
            "Did you mean 'port'?",
        ]

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"port": "no number"}, "no number"),
            ({"protocol": 4}, "protocol"),
            ({"require_full_coverage": True}, "require_full_coverage"),
            ("redis://127.0.0.1:6379/0?socket_timout=3", "socket_timout"),
            ({"sentinels": [["127.0.0.1", 26379]]}, "service_name"),
            ({"sentinels": "127.0.0.1:26379", "service_name": "m"}, "list of addresses"),
            ({"sentinels": [["127.0.0.1", "x"]], "service_name": "m"}, "list of addresses"),
            ({"startup_nodes": [6379]}, "list of addresses"),
        ],
        ids=str,
    )
    def test_what_redis_py_would_refuse_later_is_said_at_once(
        self, settings: Settings, given: Any, named: str
    ) -> None:
        configure(settings, given)

        (sentence,) = mistakes()

        assert named in sentence

    def test_a_broker_says_the_same(self, settings: Settings) -> None:
        configure(settings, {"hostt": "localhost"})

        with pytest.raises(ConfigurationError, match="Did you mean 'host'"):
            get_broker()


class TestPatience:
    def test_calls_end_and_are_made_once_unless_the_settings_say_otherwise(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        configure(settings, redis_server.settings())

        arguments = get_broker().connection.connection_pool.connection_kwargs

        assert arguments["socket_timeout"] == arguments["socket_connect_timeout"] == 5
        assert arguments["retry"].get_retries() == 0

    def test_the_settings_decide(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        configure(settings, redis_server.settings(socket_timeout=60))

        assert get_broker().connection.connection_pool.connection_kwargs["socket_timeout"] == 60


class TestPools:
    def test_reconnecting_uses_no_connection_of_the_pool_up(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        configure(settings, redis_server.settings(max_connections=2))
        broker = get_broker(f"connections-{uuid4().hex[:8]}")

        for _ in range(5):
            broker.enqueue("later", priority=1)  # an answer to what waits
            assert broker.claim(1, 60)
            broker._waiting().wait(0, None, 1)  # type: ignore[attr-defined]
            broker.close()

        broker.enqueue("still there")
        assert len(broker.claim(1, 60)) == 1
        broker.delete_queue()

    def test_a_pool_that_is_too_small_is_told(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        configure(settings, redis_server.settings(max_connections=1))
        broker = get_broker()
        pool = broker.connection.connection_pool
        taken = pool.get_connection()

        with pytest.raises(BrokerUnavailable, match="max_connections"):
            broker.ping()

        pool.release(taken)

    def test_threads_share_the_client_of_their_process(
        self, redis_server: redis_servers.Redis, settings: Settings
    ) -> None:
        configure(settings, redis_server.settings())

        assert get_broker("one").connection is get_broker("two").connection


FORKED = """
import json, os
from django_q.brokers import get_broker
from django_q_broker_redis import server

broker = get_broker()
broker.ping()  # a connection is open before the fork
server._lock.acquire()  # and another thread is making a client
reader, writer = os.pipe()

children = []
for number in range(3):
    pid = os.fork()
    if not pid:
        new = get_broker()
        sizes = []
        for _ in range(200):
            sizes.append(broker.enqueue("from the parent's object"))
            sizes.append(new.enqueue("from the child's object"))
        os.write(writer, (json.dumps(sizes) + "\\n").encode())
        os._exit(0)
    children.append(pid)
own = [broker.enqueue("from the parent") for _ in range(400)]
statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
os.close(writer)
with open(reader) as answers:
    sizes = own + [size for line in answers for size in json.loads(line)]
[statuses, len(sizes), len(set(sizes)), broker.queue_size()]
"""


@pytest.mark.needs_fork("the processes of prefork web servers are forked")
def test_a_broker_serves_before_and_after_a_fork(
    project: Project, redis_server: redis_servers.Redis
) -> None:
    name = f"forked-{uuid4().hex[:8]}"
    project.configure({"name": name, "orm": None, "redis": redis_server.settings()})

    statuses, answers, different, queued = project.run(FORKED)

    redis_server.run_command("DEL", f"django_q:{name}:q")
    assert statuses == [0, 0, 0]
    # Each answer is that of its own command: the length of the list, which no two share.
    assert answers == different == queued == 1600


def test_an_error_of_the_broker_is_also_redis_py_s(settings: Settings) -> None:
    configure(settings, {"host": "127.0.0.1", "port": 1})

    with pytest.raises(redis.ConnectionError):
        get_broker().enqueue("package")
    with pytest.raises(redis.TimeoutError):
        get_broker().enqueue("package")
