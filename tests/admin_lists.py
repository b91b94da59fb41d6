"""A table of very many finished tasks and the admin's lists of it, for tests and a benchmark.

Its functions run in a process of the project: `project.run("from tests.admin_lists import …")`.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

APPS = ("admin", "auth", "contenttypes", "messages", "sessions")
MIDDLEWARE = ("sessions.middleware.Session", "auth.middleware.Authentication")

SITE: dict[str, Any] = {
    "INSTALLED_APPS": [*(f"django.contrib.{app}" for app in APPS), "django_q"],
    "MIDDLEWARE": [
        *(f"django.contrib.{name}Middleware" for name in MIDDLEWARE),
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "ROOT_URLCONF": "tests.urls",
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
}
"""Django settings of a site with an admin, whose only tables are ours and those of users."""

NUMBERS = {
    "sqlite": """(
        WITH RECURSIVE numbers (number) AS (
            SELECT {first} UNION ALL SELECT number + 1 FROM numbers WHERE number < {last}
        )
        SELECT number FROM numbers
    )""",
    "postgresql": "(SELECT generate_series({first}, {last}) AS number)",
    "mysql": "(SELECT CAST(seq AS SIGNED) AS number FROM seq_{first}_to_{last})",
}

KEY = {
    "sqlite": "printf('%%032x', number * 2654435761 %% 4294967296)",
    "postgresql": "md5(CAST(number AS text))",
    "mysql": "md5(number)",
}

MOMENT = {
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', %s, (number - {rows}) || ' seconds')",
    "postgresql": "CAST(%s AS timestamptz) + (number - {rows}) * interval '1 second'",
    "mysql": "TIMESTAMPADD(SECOND, number - {rows}, %s)",
}

TEXT = {"sqlite": "{} || {}", "postgresql": "concat({}, {})", "mysql": "concat({}, {})"}

FILL = """
    INSERT INTO django_q_task
        (id, name, func, args, kwargs, result, {group}, cluster, started, stopped, success,
         attempt_count, worker_deaths)
    SELECT {key}, {name}, 'shop.tasks.send', %s, %s, %s,
        CASE WHEN number %% 2 = 0 THEN 'frequent' WHEN number %% 100 = 1 THEN 'seldom'
             WHEN number %% 5 = 0 THEN NULL ELSE {order} END,
        CASE WHEN number %% 1000 = 7 THEN 'rare' WHEN number %% 10 = 0 THEN NULL
             WHEN number %% 3 = 0 THEN 'mail' ELSE 'web' END,
        {moment}, {moment}, number %% 50 <> 3, 1, 0
    FROM {numbers} AS numbered
"""
"""A task a second until now, of which one in 50 failed; most groups have ten tasks."""

REASON = "ValueError: no such thing : Traceback (most recent call last):\n" + 10 * "  x.py\n"

PAGED_ROWS = 11_000
"""So many fill all the pages that a list may have."""

CHUNK_ROWS = 100_000


def fill(rows: int) -> None:
    """Insert so many finished tasks, say how far it is, and let the database look at them."""
    from django.db import connection

    vendor = connection.vendor
    with connection.cursor() as cursor:
        for first in range(1, rows + 1, CHUNK_ROWS):
            last = min(rows, first + CHUNK_ROWS - 1)
            cursor.execute(*_insert(vendor, rows, first, last))
            print(f"filled {last:,} of {rows:,} rows", flush=True)
        if vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE django_q_task")
        else:
            cursor.execute("ANALYZE" if vendor == "sqlite" else "ANALYZE TABLE django_q_task")
            cursor.fetchall()


def _insert(vendor: str, rows: int, first: int, last: int) -> tuple[str, list[Any]]:
    from django.db import connection

    from django_q import records

    moment = MOMENT[vendor].format(rows=rows)
    order = "number / 20" if vendor != "mysql" else "number DIV 20"
    sql = FILL.format(
        key=KEY[vendor],
        group=connection.ops.quote_name("group"),
        name=TEXT[vendor].format("'row-'", "number"),
        order=TEXT[vendor].format("'order-'", order),
        moment=moment,
        numbers=NUMBERS[vendor].format(first=first, last=last),
    )
    now: Any = datetime.now(UTC)
    if vendor != "postgresql":
        now = now.strftime("%Y-%m-%d %H:%M:%S")
    values = [records.encode(value) for value in ((1, "two"), {"three": 4}, REASON)]
    return sql, [*values, now, now]


def client() -> Any:
    """Return a client that may do everything."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(
        User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)[0]
    )
    return client


def pages() -> dict[str, str]:
    """Return the address of each list that must be fast, by what it is."""
    from django.urls import reverse

    now = datetime.now(UTC)

    def since(hours: int, until: int = 0) -> dict[str, str]:
        ends = {
            "stopped__gte": now - timedelta(hours=hours),
            "stopped__lt": now - timedelta(hours=until),
        }
        return {name: end.strftime("%Y-%m-%d %H:%M:%S+00:00") for name, end in ends.items()}

    chosen: dict[str, tuple[str, dict[str, str]]] = {
        "successes": ("success", {}),
        "page 2": ("success", {"p": "2"}),
        "page 100": ("success", {"p": "100"}),
        "a large group": ("success", {"group": "frequent"}),
        "a large group, page 2": ("success", {"group": "frequent", "p": "2"}),
        "a middling group": ("success", {"group": "seldom"}),
        "a small group": ("success", {"group": "order-17"}),
        "no such group": ("success", {"group": "nowhere"}),
        "no group": ("success", {"group__isnull": "True"}),
        "a large cluster": ("success", {"cluster": "web"}),
        "a large cluster, page 2": ("success", {"cluster": "web", "p": "2"}),
        "a small cluster": ("success", {"cluster": "rare"}),
        "no such cluster": ("success", {"cluster": "nowhere"}),
        "the last day": ("success", since(24)),
        "an hour of it": ("success", since(2, 1)),
        "group and cluster": ("success", {"group": "frequent", "cluster": "rare"}),
        "day and cluster": ("success", since(24) | {"cluster": "rare"}),
        "failures": ("failure", {}),
        "failures of a group": ("failure", {"group": "order-17"}),
        "failures of a cluster": ("failure", {"cluster": "web"}),
    }
    return {
        title: reverse(f"admin:django_q_{model}_changelist") + "?" + urlencode(query)
        for title, (model, query) in chosen.items()
    }


def explained() -> dict[str, list[tuple[str, Any]]]:
    """Return each query that a list makes of the tasks, with PostgreSQL's plan for it."""
    from django.db import connection

    browser = client()
    plans: dict[str, list[tuple[str, Any]]] = {}
    for title, url in pages().items():
        queries: list[tuple[str, Any]] = []

        def note(
            execute: Any, sql: str, params: Any, many: bool, context: Any,
            queries: list[tuple[str, Any]] = queries,
        ) -> Any:  # fmt: skip
            queries.append((sql, params))
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note):
            assert browser.get(url).status_code == 200, url
        with connection.cursor() as cursor:
            plans[title] = [
                (sql, _plan(cursor, sql, params))
                for sql, params in queries
                if "django_q_task" in sql
            ]
    return plans


def _plan(cursor: Any, sql: str, params: Any) -> Any:
    cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
    plan = cursor.fetchone()[0]
    return json.loads(plan) if isinstance(plan, str) else plan


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield every step of a plan."""
    for part in plan if isinstance(plan, list) else [plan]:
        if isinstance(part, dict):
            if "Node Type" in part:
                yield part
            for value in part.values():
                if isinstance(value, list | dict):
                    yield from nodes(value)


def seen() -> dict[str, Any]:
    """Return how many rows each list shows, and what it and a page say of the newest failure."""
    from django.urls import reverse

    from django_q.models import Failure

    browser = client()
    found: dict[str, Any] = {}
    for title, url in pages().items():
        found[title] = browser.get(url).content.decode().count('class="action-select"')
    failure = reverse("admin:django_q_failure_change", args=[Failure.objects.defer("result")[0].pk])
    message = REASON.partition(" : ")[0]
    for title, url in {"failures": pages()["failures"], "a failure": failure}.items():
        found[f"reason in {title}"] = message in browser.get(url).content.decode()
    return found


def timed(repeats: int) -> list[dict[str, Any]]:
    """Return what each list takes: milliseconds until the page is there, and its queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    browser = client()
    measured = []
    for title, url in pages().items():
        with CaptureQueriesContext(connection) as queries:
            browser.get(url)
        count = len(queries)
        took = []
        for _ in range(repeats):
            began = time.perf_counter()
            answer = browser.get(url)
            took.append(1000 * (time.perf_counter() - began))
            assert answer.status_code == 200, url
        measured.append(
            {
                "page": title,
                "median_ms": statistics.median(took),
                "max_ms": max(took),
                "queries": count,
                "load": os.getloadavg()[0],
            }
        )
    return measured
