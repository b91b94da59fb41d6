"""Reads `Q_CLUSTER["sqs"]`, and makes the client of boto3 that it describes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from django_q.conf import Settings
from django_q.errors import ConfigurationError
from django_q_broker_sqs.receipts import LONGEST_LEASE

SERVER_SECONDS = 5
"""How long a call waits for an answer that is due at once."""

IN_FLIGHT = 8
"""How many calls of one claim or of one batch are under way at a time."""

PACKAGE_BYTES, MOST_PACKAGE_BYTES = 256 * 1024, 1024 * 1024
LONGEST_WAIT = 20

OLD_NAMES = {"aws_region": "region_name"}
"""The manual's keys that boto3 calls otherwise."""

CLIENT_KEYS = ("endpoint_url", "use_ssl", "verify", "api_version", "config")
OWN_KEYS = ("receive_message_wait_time_seconds", "max_package_bytes")

REFUSALS = (BotoCoreError, TypeError, ValueError)
"""What boto3 raises for arguments that it cannot use."""

QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|(?=.{6,80}$)[A-Za-z0-9_-]+\.fifo")


class Options(NamedTuple):
    """`Q_CLUSTER["sqs"]`, sorted by who reads it."""

    session: dict[str, Any]
    client: dict[str, Any]
    wait_seconds: int
    package_bytes: int


def options_of(settings: Settings) -> Options:
    """What the settings say; None and an empty text mean the default."""
    given = _given(settings)
    wait = given.pop("receive_message_wait_time_seconds", 1)
    package_bytes = given.pop("max_package_bytes", PACKAGE_BYTES)
    client = {key: given.pop(key) for key in CLIENT_KEYS if key in given}
    return Options(given, client, wait, package_bytes)


def _given(settings: Settings) -> dict[str, Any]:
    found = settings.broker_options.get("sqs") or {}
    options = {OLD_NAMES.get(key, key): value for key, value in found.items()}
    return {key: value for key, value in options.items() if value is not None and value != ""}


def connect(settings: Settings) -> Any:
    """A client of boto3; nothing is sent yet. Raises ConfigurationError for wrong settings."""
    found = list(_plain_mistakes(settings))
    if found:
        raise ConfigurationError("\n".join(found))
    try:
        return _client(options_of(settings))
    except REFUSALS as error:
        raise ConfigurationError(_refusal(error)) from error


def _client(options: Options) -> Any:
    arguments = dict(options.client)
    config = Config(
        connect_timeout=SERVER_SECONDS,
        read_timeout=SERVER_SECONDS + options.wait_seconds,
        max_pool_connections=2 * IN_FLIGHT,
        # A call that botocore itself sent again might enqueue twice.
        retries={"total_max_attempts": 1},
    )
    theirs = arguments.pop("config", None)
    return boto3.Session(**options.session).client(
        "sqs", config=config.merge(theirs) if theirs else config, **arguments
    )


def describe(client: Any) -> str:
    """Which SQS that is."""
    endpoint = str(client.meta.endpoint_url)
    if ".amazonaws.com" in endpoint:
        return f"Amazon SQS in {client.meta.region_name}"
    return f"SQS at {endpoint.rpartition('@')[2].rpartition('//')[2]}"


# What `manage.py check` says


def mistakes(settings: Settings) -> Iterator[str]:
    """What is wrong with the settings, a sentence each; nothing is contacted."""
    found = list(_plain_mistakes(settings))
    yield from found
    if found:
        return
    try:
        _client(options_of(settings))
    except REFUSALS as error:
        yield _refusal(error)


def name_mistakes(name: str) -> Iterator[str]:
    """What is wrong with the name of a queue."""
    if not QUEUE_NAME.fullmatch(name):
        yield (
            f"SQS has no queue of the name {name!r}: at most 80 letters, digits, hyphens and "
            "underscores of ASCII, for a FIFO queue with .fifo at the end. Change the name, or "
            "the cluster_name, in Q_CLUSTER."
        )


def _plain_mistakes(settings: Settings) -> Iterator[str]:
    given = _given(settings)
    yield from _key_mistakes(given)
    yield from _value_mistakes(given)
    yield from _lease_mistakes(settings)


def _key_mistakes(given: Mapping[str, Any]) -> Iterator[str]:
    known = _known()
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            hint = f"Did you mean {near[0]!r}?" if near else "Remove it."
            yield f'Q_CLUSTER["sqs"] has a key {key!r}, which boto3 does not take. {hint}'


def _value_mistakes(given: Mapping[str, Any]) -> Iterator[str]:
    limits = {
        "receive_message_wait_time_seconds": (0, LONGEST_WAIT),
        "max_package_bytes": (1, MOST_PACKAGE_BYTES),
    }
    for key, (least, most) in limits.items():
        value = given.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield (
                f'Q_CLUSTER["sqs"]["{key}"] must be a whole number from {least} to {most}, '
                f"not {value!r}."
            )


def _lease_mistakes(settings: Settings) -> Iterator[str]:
    if settings.retry > LONGEST_LEASE:
        yield (
            f'Q_CLUSTER["retry"] is {settings.retry}, and SQS lets a claim last {LONGEST_LEASE} '
            "seconds (12 hours) at most. Claims are renewed: a smaller number does."
        )


def _refusal(error: Exception) -> str:
    """What boto3 says when it makes the client, which needs no network."""
    cure = " Set aws_region." if "region" in str(error) else ""
    return f'Q_CLUSTER["sqs"] has something that boto3 refuses: {error}{cure}'


@cache
def _known() -> tuple[str, ...]:
    """Every argument of a session of boto3, and of its client, and our own keys."""
    session = inspect.signature(boto3.Session.__init__).parameters
    names = {*OWN_KEYS, *CLIENT_KEYS, *OLD_NAMES, *session}
    return tuple(sorted(names - {"self"}))
