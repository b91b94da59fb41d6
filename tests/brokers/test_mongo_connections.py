"""The MongoDB broker connects to what `Q_CLUSTER` names, and says what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from pymongo import ReadPreference
from pymongo.errors import OperationFailure
from pytest_django import Settings

from django_q.brokers import get_broker
from django_q.checks import check_broker_settings
from django_q.conf import get_settings
from django_q.errors import BrokerUnavailable, ConfigurationError
from django_q_broker_mongo.broker import Mongo
from django_q_broker_mongo.connection import connect, describe
from tests import mongo_server
from tests.servers import free_port

AS_PRINTED = {"host": "127.0.0.1", "port": 27017}
"""The example in the manuals of Django Q and Django Q2."""

SECRET = "s3cret%/word"


def configure(settings: Settings, mongo: Any, **options: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "mongo": mongo} | options


def mistakes() -> list[str]:
    return [str(error.msg) for error in check_broker_settings()]


# What the settings may say


@pytest.mark.parametrize(
    ("mongo", "place"),
    [
        (AS_PRINTED, "127.0.0.1:27017"),
        ({"host": "", "port": 27017}, "localhost:27017"),
        ({"host": "mongodb://db.example.com"}, "db.example.com:27017"),
        ({"host": f"mongodb://u:{'s3cret%25'}@a:1,b/site?replicaSet=rs"}, "a:1, b:27017"),
        ({"host": ["a:1", "b"], "port": 2, "replicaSet": "rs"}, "a:1, b:2"),
        ({"host": "mongodb+srv://u:p@cluster.example.com/"}, "cluster.example.com"),
        ({"host": "[::1]"}, "[::1]:27017"),
    ],
)
def test_a_place_is_understood_and_named_without_secrets(
    settings: Settings, mongo: Any, place: str
) -> None:
    configure(settings, mongo)

    assert mistakes() == []
    assert describe() == f"MongoDB at {place}"


@pytest.mark.parametrize(
    ("mongo", "mongo_db", "database"),
    [
        (AS_PRINTED, None, "django-q"),
        (AS_PRINTED, "queues", "queues"),
        ({"host": "mongodb://127.0.0.1/site"}, None, "site"),
        ({"host": "mongodb://127.0.0.1/site"}, "queues", "queues"),
    ],
)
def test_the_database_is_that_of_the_settings_or_of_the_uri_or_django_q(
    settings: Settings, mongo: Any, mongo_db: str | None, database: str
) -> None:
    configure(settings, mongo, mongo_db=mongo_db)

    assert Mongo("tasks").collection.full_name == f"{database}.tasks"


def test_every_keyword_of_the_client_reaches_it(settings: Settings) -> None:
    configure(settings, AS_PRINTED | {"maxPoolSize": 7, "appName": "site", "tz_aware": True})

    client = connect()

    assert client.options.pool_options.max_pool_size == 7
    assert client.options.pool_options.appname == "site"


@pytest.mark.parametrize(
    ("mongo", "concern"),
    [
        (AS_PRINTED, {"w": "majority"}),
        (AS_PRINTED | {"journal": True}, {"w": "majority", "j": True}),
        (AS_PRINTED | {"w": 1}, {"w": 1}),
        ({"host": "mongodb://127.0.0.1/?w=2"}, {"w": 2}),
    ],
)
def test_a_majority_writes_unless_the_settings_or_the_uri_ask_for_less(
    settings: Settings, mongo: Any, concern: dict[str, Any]
) -> None:
    configure(settings, mongo)

    assert Mongo().collection.write_concern.document == concern


def test_info_says_who_has_written(mongo: mongo_server.AnyMongo, settings: Settings) -> None:
    configure(settings, mongo.settings(journal=True))

    assert get_broker().info().endswith("write concern majority, journaled")


def test_reading_from_secondaries_is_not_for_queues(settings: Settings) -> None:
    configure(settings, AS_PRINTED | {"readPreference": "secondary"})

    assert Mongo().collection.read_preference == ReadPreference.PRIMARY


# What is wrong


@pytest.mark.parametrize(
    ("mongo", "complaint"),
    [
        (AS_PRINTED | {"maxpoolsiez": 7}, "Unknown option: maxpoolsiez"),
        (AS_PRINTED | {"port": "27017"}, "port must be"),
        ({"host": "mongodb://127.0.0.1/?maxpoolsiez=7"}, "Unknown option: maxpoolsiez"),
        ({"host": f"mongodb://u:{SECRET}@127.0.0.1/"}, "percent-encoded"),
        ({"host": "http://127.0.0.1/"}, "must look like mongodb://"),
        (AS_PRINTED | {"w": 0}, "write concern of 0"),
    ],
)
def test_what_pymongo_refuses_is_an_error_of_the_checks(
    settings: Settings, mongo: Any, complaint: str
) -> None:
    configure(settings, mongo)

    (found,) = mistakes()

    assert complaint in found
    assert "s3cret" not in found
    with pytest.raises(ConfigurationError, match=r"pymongo|write concern"):
        get_broker()


def test_a_name_that_no_collection_can_have_is_refused(settings: Settings) -> None:
    configure(settings, AS_PRINTED, name="a$b")

    with pytest.raises(ConfigurationError, match=r"cannot be called 'a\$b'"):
        get_broker()


def test_a_place_where_nobody_answers_is_named(settings: Settings) -> None:
    port = free_port()
    configure(settings, {"host": "127.0.0.1", "port": port, "serverSelectionTimeoutMS": 100})

    with pytest.raises(BrokerUnavailable, match=f"MongoDB at 127.0.0.1:{port} cannot be reached"):
        get_broker().ping()


# Credentials


@pytest.fixture(scope="module")
def guarded() -> Iterator[mongo_server.Mongo]:
    """Yield a server that asks for credentials; `reader` may not write."""
    with contextlib.closing(mongo_server.Mongo("--sync-on-commit")) as server:
        server.start()
        with contextlib.closing(server.connect()) as client:
            for user, role in (("queue", "readWrite"), ("reader", "read")):
                roles = [{"role": role, "db": "django-q"}]
                client.admin.command("createUser", user, pwd=SECRET, roles=roles)
        server.kill()
        server.options += ("--auth",)
        server.start()
        yield server


def test_a_user_who_may_read_and_write_can_do_all(
    guarded: mongo_server.Mongo, settings: Settings
) -> None:
    configure(settings, guarded.settings(username="queue", password=SECRET))
    broker = get_broker()

    broker.enqueue("package")

    assert broker.ping()
    assert [delivery.package for delivery in broker.claim(2, 60)] == ["package"]
    assert broker.claim(1, 60) == []
    assert SECRET not in repr(get_settings()) + broker.info()


@pytest.mark.parametrize("password", ["wrong", None])
def test_refused_credentials_are_no_outage(
    guarded: mongo_server.Mongo, settings: Settings, password: str | None
) -> None:
    user = {"username": "queue", "password": password} if password else {}
    configure(settings, guarded.settings(**user))

    with pytest.raises(ConfigurationError, match=r"refuses the credentials|readWrite") as caught:
        get_broker().ping()
    assert isinstance(caught.value, OperationFailure)


def test_a_missing_permission_is_no_outage(guarded: mongo_server.Mongo, settings: Settings) -> None:
    configure(settings, guarded.settings(username="reader", password=SECRET))

    with pytest.raises(ConfigurationError, match="Give it the role readWrite"):
        get_broker().enqueue("package")


def test_the_old_names_are_the_class(settings: Settings) -> None:
    from django_q.brokers.mongo import Mongo as Old

    configure(settings, AS_PRINTED)

    assert Old is Mongo
    assert type(get_broker()) is Mongo
    call_command("check")
