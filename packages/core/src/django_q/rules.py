"""What each key of `Q_CLUSTER` must look like, and the sentence said when it does not."""

from __future__ import annotations

import logging
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

ALT_CLUSTERS = "ALT_CLUSTERS"
FIXED_IN_ALT_CLUSTERS = ("name", "cluster_name", ALT_CLUSTERS)
"""What an entry of ALT_CLUSTERS cannot override: ignored there, as ever."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One key's rule; `expected` continues the sentence "Q_CLUSTER[key] must be …"."""

    accepts: Callable[[Any], bool]
    expected: str
    is_secret: bool = False
    """May the value hold a password? Then only its type is shown."""

    def shown(self, value: Any) -> str:
        return f"a value of type {type(value).__name__}" if self.is_secret else repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _optional(rule: Rule) -> Rule:
    return Rule(
        lambda value: value is None or rule.accepts(value),
        f"{rule.expected}, or None",
        rule.is_secret,
    )


def _integer(low: int) -> Rule:
    return Rule(
        lambda value: _is_integer(value) and value >= low, f"a whole number of at least {low}"
    )


def _positive() -> Rule:
    return Rule(lambda value: _is_number(value) and value > 0, "a number greater than 0")


def _at_least(low: float) -> Rule:
    return Rule(lambda value: _is_number(value) and value >= low, f"a number of at least {low}")


def _between(low: float, high: float) -> Rule:
    return Rule(
        lambda value: _is_number(value) and low < value < high,
        f"a number greater than {low} and less than {high}",
    )


def _text(longest: int | None = None) -> Rule:
    if longest is None:
        return Rule(_is_text, "a non-empty string")
    return Rule(
        lambda value: _is_text(value) and len(value) <= longest,
        f"a non-empty string of at most {longest} characters",
    )


def _one_of(*choices: Any) -> Rule:
    names = [repr(choice) for choice in choices]
    return Rule(
        lambda value: any(value is choice or value == choice for choice in choices),
        f"{', '.join(names[:-1])} or {names[-1]}",
    )


def _secret(kinds: type | tuple[type, ...], expected: str) -> Rule:
    return Rule(lambda value: value is None or isinstance(value, kinds), f"{expected}", True)


def _is_backoff(value: Any) -> bool:
    if value is None or value == "exponential":
        return True
    delays = value if isinstance(value, (list, tuple)) and value else [value]
    return all(_is_number(delay) and delay >= 0 for delay in delays)


def _is_time_zone(value: Any) -> bool:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, TypeError, ValueError, OSError):
        return False
    return True


def _maps_names_to_dicts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(name) and isinstance(entry, Mapping) for name, entry in value.items()
    )


_FLAG = Rule(lambda value: isinstance(value, bool) or value in (0, 1), "True or False")

CORE_RULES: dict[str, Rule] = {
    "name": _text(100),
    "cluster_name": _optional(_text(100)),
    "workers": _optional(_integer(1)),
    "daemonize_workers": _FLAG,
    "start_method": _one_of("fork", "spawn", "forkserver", None),
    "recycle": Rule(
        lambda value: _is_integer(value) and value >= 0,
        "a whole number of at least 1, or 0 for never",
    ),
    "max_rss": _optional(_integer(1)),
    "timeout": Rule(
        lambda value: value is None or (_is_number(value) and value > 0),
        "a number of seconds greater than 0, or None for no limit",
    ),
    "time_zone": _optional(Rule(_is_time_zone, 'the name of a time zone such as "Europe/Paris"')),
    "ack_failures": _FLAG,
    "max_attempts": _integer(0),
    "max_worker_deaths": _integer(1),
    "max_lapses": _integer(1),
    "backoff": Rule(
        _is_backoff, 'a number of seconds, a list of such numbers, "exponential", or None'
    ),
    "retry": _positive(),
    "compress": _FLAG,
    "serializer": _one_of("pickle", "json"),
    "save_limit": _integer(-1),
    "save_limit_per": _one_of("group", "func", "name", None),
    "failure_limit": _integer(0),
    "keep_days": _optional(_positive()),
    "guard_cycle": _between(0, 60),
    "sync": _FLAG,
    "queue_limit": _optional(_integer(0)),
    "bulk": _optional(_integer(1)),
    "poll": _positive(),
    "label": Rule(lambda value: bool(str(value)), "a non-empty string"),
    "catch_up": _FLAG,
    "catch_up_limit": _integer(1),
    "cache": _text(),
    "cached": Rule(
        lambda value: isinstance(value, bool) or (_is_integer(value) and value >= 0),
        "True, False, or a whole number of seconds",
    ),
    "scheduler": _FLAG,
    "error_reporter": Rule(
        lambda value: value is None or _maps_names_to_dicts(value),
        "a dict of one dict of options per reporter",
        is_secret=True,
    ),
    "cpu_affinity": _optional(_integer(0)),
    "has_replica": _FLAG,
    "log_level": Rule(
        lambda value: isinstance(value, str) and value.upper() in logging.getLevelNamesMapping(),
        'the name of a logging level such as "INFO"',
    ),
    "testing": _FLAG,
    "stop_timeout": _optional(_at_least(1)),
    "connect_timeout": _at_least(0),
    "enqueue_retries": _integer(0),
    "broker_class": _optional(
        Rule(
            lambda value: isinstance(value, str) and "." in value.strip("."),
            'the dotted path of a class such as "myapp.broker.CustomBroker"',
        )
    ),
    "orm": _optional(Rule(_is_text, 'the alias of a database such as "default"')),
    ALT_CLUSTERS: Rule(
        lambda value: value is None or _maps_names_to_dicts(value),
        "a dict of one dict of settings per cluster name",
        is_secret=True,
    ),
}

BROKER_RULES: dict[str, Rule] = {
    "redis": _secret((Mapping, str), "a dict of connection arguments, a URL, or None"),
    "django_redis": _optional(_text()),
    "redis_receipts": _FLAG,
    "iron_mq": _secret(Mapping, "a dict of connection arguments, or None"),
    "sqs": _secret(Mapping, "a dict of connection arguments, or None"),
    "mongo": _secret(Mapping, "a dict of connection arguments, or None"),
    "mongo_db": _optional(_text()),
    "disque_nodes": _secret((list, tuple), 'a list of "host:port" strings, or None'),
    "disque_auth": _secret(str, "a string, or None"),
    "disque_fastack": _FLAG,
}
"""The broker keys of 1.x and of our own brokers. Other brokers check theirs themselves."""

RULES = {**CORE_RULES, **BROKER_RULES}


def problem(key: str, value: Any, where: str = "Q_CLUSTER") -> str | None:
    """What is wrong with one value, as a sentence; None when nothing is."""
    rule = RULES.get(key)
    if rule is None or rule.accepts(value):
        return None
    return f'{where}["{key}"] must be {rule.expected}, not {rule.shown(value)}.'


def problems(q_cluster: Any) -> Iterator[str]:
    """Everything that is wrong with `settings.Q_CLUSTER`, its ALT_CLUSTERS included."""
    if not isinstance(q_cluster, Mapping):
        yield f"Q_CLUSTER must be a dict, not {type(q_cluster).__name__}."
        return
    yield from _problems_of(q_cluster, "Q_CLUSTER")
    entries = q_cluster.get(ALT_CLUSTERS)
    if not isinstance(entries, Mapping):
        return
    for name, entry in entries.items():
        if isinstance(entry, Mapping):
            where = f'Q_CLUSTER["{ALT_CLUSTERS}"]["{name}"]'
            yield from _problems_of(
                {key: entry[key] for key in entry if key not in FIXED_IN_ALT_CLUSTERS}, where
            )


def _problems_of(mapping: Mapping[str, Any], where: str) -> Iterator[str]:
    for key, value in mapping.items():
        found = problem(key, value, where)
        if found is not None:
            yield found
