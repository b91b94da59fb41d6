"""`manage.py qinfo --config` shows the configuration in force, and no secret of it."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_q.__about__ import __version__
from django_q.brokers.registry import FIRST_PARTY
from django_q.management.masking import configuration, masked
from django_q.rules import ALT_CLUSTERS, BROKER_RULES, CORE_RULES
from django_q.settings import build

PASSWORD = "s3cr3t"

URL = f"rediss://{PASSWORD}-user:{PASSWORD}@host:6379/0?password={PASSWORD}#{PASSWORD}"

NAMES = {"django_redis", "mongo_db", "orm"}

SECRETS: list[Any] = [
    PASSWORD,
    URL,
    f"rediss://:{PASSWORD}/and@{PASSWORD}?#@host",
    f"unix:///{PASSWORD}/redis.sock?password={PASSWORD}",
    {"password": PASSWORD, "host": URL, "port": 6379},
    {"host": "plain", "auth": {"token": PASSWORD}, "hosts": [PASSWORD, {"key": PASSWORD}]},
    {"aws_access_key_id": PASSWORD, "aws_secret_access_key": PASSWORD, "port": [PASSWORD]},
    [PASSWORD, URL],
    (PASSWORD,),
    PASSWORD.encode(),
]


def qinfo(*arguments: str) -> str:
    out = StringIO()
    call_command("qinfo", "--config", *arguments, stdout=out)
    return out.getvalue()


def lines() -> dict[str, str]:
    return dict(line.split(": ", 1) for line in qinfo().splitlines())


def test_each_key_has_a_line_with_the_value_in_force(settings: Any) -> None:
    settings.Q_CLUSTER = {"orm": "default", "workers": 3, "recycle": 0, "label": "My queue"}

    found = lines()

    assert {**found, "VERSION": __version__} == found
    assert set(found) >= set(CORE_RULES)
    assert (found["workers"], found["recycle"], found["label"]) == ("3", "0", "My queue")
    assert (found["orm"], found["retry"], found["timeout"]) == ("default", "60", "None")


def test_the_chosen_cluster_is_what_is_in_force(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.Q_CLUSTER = {"memory": True, "ALT_CLUSTERS": {"long": {"timeout": 3000}}}
    monkeypatch.setenv("Q_CLUSTER_NAME", "long")

    assert (lines()["cluster_name"], lines()["timeout"]) == ("long", "3000")


def test_json_says_the_same(settings: Any) -> None:
    settings.Q_CLUSTER = {
        "memory": True,
        "backoff": (1, 2.5),
        "redis": {"host": "queue", "port": 6379, "db": 0, "password": "x"},
        "error_reporter": {"sentry": {"dsn": "https://x@host/1"}},
        "ALT_CLUSTERS": {"long": {"timeout": 3000, "redis": "redis://user:x@far:6379/2?x=y"}},
    }

    found = json.loads(qinfo("--json"))

    assert found["backoff"] == [1, 2.5]
    assert found["redis"] == {"host": "queue", "port": 6379, "db": 0, "password": "***"}
    assert found["error_reporter"] == {"sentry": {"dsn": "***"}}
    assert found["ALT_CLUSTERS"] == {
        "long": {"timeout": 3000, "redis": "redis://:***@far:6379/***"}
    }


def test_it_needs_no_cluster_and_no_database(settings: Any) -> None:
    """The test has none."""
    settings.Q_CLUSTER = {"redis": "redis://:x@nowhere.invalid:1/0"}

    assert lines()["redis"] == "redis://:***@nowhere.invalid:1/0"


@pytest.mark.parametrize("key", sorted({*BROKER_RULES, *FIRST_PARTY, "kafka", "kafka_password"}))
def test_no_secret_of_a_broker_is_shown(key: str) -> None:
    secrets = [value for value in SECRETS if key not in NAMES or value != PASSWORD]

    for value in secrets:
        shown = [masked(key, value), masked("error_reporter", {"sentry": {key: value}})]
        shown += [masked(ALT_CLUSTERS, {"long": {key: value}})]

        assert PASSWORD not in json.dumps(shown)


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_no_secret_is_in_what_is_printed(settings: Any, as_json: list[str]) -> None:
    settings.SECRET_KEY = f"{PASSWORD}-key"
    options = {
        "redis": URL,
        "iron_mq": {"project_id": PASSWORD, "token": PASSWORD},
        "sqs": {"aws_access_key_id": PASSWORD, "aws_secret_access_key": PASSWORD},
        "mongo": {"host": f"mongodb://me:{PASSWORD}@one,two/admin", "password": PASSWORD},
        "disque_nodes": [f"{PASSWORD}@host:7711"],
        "disque_auth": PASSWORD,
        "pasword": PASSWORD,
    }
    settings.Q_CLUSTER = {
        **options,
        "error_reporter": {
            "sentry": {"dsn": f"https://{PASSWORD}@host", "nested": {"a": PASSWORD}}
        },
        "ALT_CLUSTERS": {"long": options},
    }

    assert PASSWORD not in qinfo(*as_json)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host", "redis://host"),
        ("redis://host:6379/15", "redis://host:6379/15"),
        ("redis://:a@host", "redis://:***@host"),
        ("redis://:abcdefgh@host", "redis://:***@host"),
        ("redis://host?password=a", "redis://host/***"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("a:b@host", "***"),
    ],
)
def test_of_a_url_the_way_to_the_host_is_shown(url: str, shown: str) -> None:
    assert masked("redis", url) == shown


def test_nothing_is_told_of_a_masked_value() -> None:
    assert masked("disque_auth", "a") == masked("disque_auth", "a" * 50) == masked("kafka", [1, 2])


def test_a_value_in_several_lines_stays_in_its_own(settings: Any) -> None:
    settings.Q_CLUSTER = {"memory": True, "label": "a\nSECRET_KEY: b"}

    assert lines()["label"] == "a SECRET_KEY: b"


def test_settings_that_cannot_be_used_are_said_in_a_sentence(settings: Any) -> None:
    settings.Q_CLUSTER = {"retry": 0}

    with pytest.raises(CommandError, match=r'Q_CLUSTER\["retry"\] must be'):
        call_command("qinfo", "--config")


def test_what_is_masked_keeps_every_key() -> None:
    options = {"kafka": {"host": "h", "sasl": "x"}, "kafka_topic": "t", "flag": True}

    found = configuration(build(options))

    assert {key: found[key] for key in options} == {
        "kafka": {"host": "h", "sasl": "***"},
        "kafka_topic": "***",
        "flag": True,
    }
