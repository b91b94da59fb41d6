"""The admin's pages of queued tasks on a project's own database, for tests.

Its functions run in a process of the project: `project.run("from tests.admin_queue import …")`.
"""

from __future__ import annotations

import json
from typing import Any

from tests.admin_lists import NUMBERS, client

FILL = """
    INSERT INTO django_q_ormq ({key}, payload, {lock}, priority, lapses, attempts)
    SELECT CASE WHEN number %% 50000 = 1 THEN 'short' ELSE 'tests' END, %s, %s, 0, 0, 0
    FROM {numbers} AS numbered
"""


def fill(rows: int) -> None:
    """Queue so many packages, few of them in the queue `short`."""
    from django.db import connection
    from django.utils import timezone

    vendor = connection.vendor
    sql = FILL.format(
        key=connection.ops.quote_name("key"),
        lock=connection.ops.quote_name("lock"),
        numbers=NUMBERS[vendor].format(first=1, last=rows),
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [_signed(), timezone.now()])
        if vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE django_q_ormq")


def _signed(**fields: Any) -> str:
    from django.utils import timezone

    from django_q import package

    task = {
        "id": "f" * 32, "name": "white-shop-oven-two", "func": "math.floor", "args": (1.5,),
        "kwargs": {}, "started": timezone.now(),
    }  # fmt: skip
    return package.dumps(task | fields)


def operated() -> dict[str, Any]:
    """Do all that the admin can do to a queued task, and return what came of it."""
    from django.urls import reverse
    from django.utils import timezone

    from django_q.brokers import get_broker
    from django_q.models import OrmQ

    site, page = client(), "admin:django_q_ormq_change"
    listed = reverse("admin:django_q_ormq_changelist")
    OrmQ.objects.create(key="tests", payload=_signed(args=("x" * 100_000,)), lock=timezone.now())
    (claimed,) = get_broker().claim(1, 3600)
    pk = claimed.receipt.partition(".")[0]
    form = {"key": "short", "lock_0": "2030-01-31", "lock_1": "18:00:00"}

    def change() -> str:
        answer = site.post(reverse(page, args=[pk]), form, follow=True)
        assert answer.status_code == 200, answer.content
        return answer.content.decode()

    found: dict[str, Any] = {"a long payload": "*TooLong" in site.get(listed).content.decode()}
    found["changed under a cluster"] = "Nothing was changed" not in change()
    site.post(listed, {"action": "release", "_selected_action": [pk]})
    found["the old claim acknowledges"] = not get_broker().acknowledge_many([claimed.receipt])
    found["changed once released"] = "Nothing was changed" not in change()
    OrmQ.objects.filter(pk=pk).update(claim=7, lock=timezone.now())
    form["key"] = "long"
    change()
    row = OrmQ.objects.get(pk=pk)
    found["row"] = [row.key, row.claim, row.lapses, str(row.lock)[:10]]
    found["queues"] = ["?key=long" in site.get(listed).content.decode()]
    site.post(listed, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})
    found["left"] = OrmQ.objects.count()
    return found


def resubmitted() -> list[int]:
    """Resubmit a failure twice at once; return how many are left and how many are queued."""
    from django.urls import reverse
    from django.utils import timezone

    from django_q.models import Failure, OrmQ

    now = timezone.now()
    row = Failure.objects.create(
        id="f" * 32, name="f", func="math.floor", args=(1.5,), started=now, stopped=now,
        success=False, options={"timeout": 9},
    )  # fmt: skip
    listed = reverse("admin:django_q_failure_changelist")
    for _ in range(2):
        client().post(listed, {"action": "resubmit_task", "_selected_action": [row.pk]})
    (queued,) = OrmQ.objects.all()
    return [Failure.objects.count(), queued.task["timeout"]]


def paused() -> list[Any]:
    """Run a schedule now, pause it, resume it; return what it says then, and what is queued."""
    from django.urls import reverse

    from django_q.models import OrmQ, Schedule

    row = Schedule.objects.create(func="math.floor", args="1.5", schedule_type="D", repeats=7)
    listed = reverse("admin:django_q_schedule_changelist")
    said = []
    for action in ("run_now", "pause", "resume"):
        client().post(listed, {"action": action, "_selected_action": [row.pk]})
        row.refresh_from_db()
        said.append([row.repeats, row.paused_repeats])
    said.append(OrmQ.objects.get().task["id"] == row.task)
    return said


def explained() -> list[tuple[str, Any]]:
    """Return each query that the lists make of the queue, with PostgreSQL's plan for it."""
    from django.db import connection
    from django.urls import reverse

    site, queries = client(), []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        queries.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        for query in ("", "?p=100", "?key=tests", "?key=short", "?key=nowhere"):
            answer = site.get(reverse("admin:django_q_ormq_changelist") + query)
            assert answer.status_code == 200, query
    plans = []
    with connection.cursor() as cursor:
        for sql, params in queries:
            if "django_q_ormq" in sql:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                plan = cursor.fetchone()[0]
                plans.append((sql, json.loads(plan) if isinstance(plan, str) else plan))
    return plans
