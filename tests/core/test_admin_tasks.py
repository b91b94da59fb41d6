"""Finished tasks in the admin: lists that load nothing pickled, and pages that show all of it."""

from __future__ import annotations

import pickle
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import clear_url_caches, reverse
from django.utils import timezone

from django_q import admin as q_admin
from django_q.admin import lists
from django_q.admin.readable import BEGINNING, text_beginning
from django_q.models import Failure, Schedule, Success, Task
from tests import urls

pytestmark = pytest.mark.django_db

SUCCESSES = reverse("admin:django_q_success_changelist")
FAILURES = reverse("admin:django_q_failure_changelist")
TRACEBACK = 'ZeroDivisionError: <nothing> : Traceback (most recent call last):\n  File "x.py"\n'


class Detonator:
    """Says so where it is unpickled."""

    unpickled = 0

    def __deepcopy__(self, memo: Any) -> Detonator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return detonate, ()


def detonate() -> None:
    """Count, and be unreadable."""
    Detonator.unpickled += 1
    raise RuntimeError("boom <b>")


@pytest.fixture
def site() -> Client:
    """Return a client that may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def made(number: int, **fields: Any) -> Task:
    now = timezone.now()
    stopped = now - timedelta(seconds=number)
    return Task.objects.create(
        **{"id": f"{number:032x}", "name": f"task-{number}", "func": "shop.tasks.send"}
        | {"started": stopped - timedelta(seconds=1.5), "stopped": stopped, "success": True}
        | fields
    )


def failed(number: int, **fields: Any) -> Task:
    return made(number, **{"success": False, "result": TRACEBACK} | fields)


def page_of(task: Task, what: str = "change") -> str:
    model = "success" if task.success else "failure"
    return reverse(f"admin:django_q_{model}_{what}", args=(task.pk,))


def shown(client: Client, url: str, **query: Any) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def names(page: str) -> list[str]:
    """Return which tasks a list shows, in order."""
    return [f"task-{part.split('<')[0]}" for part in page.split(">task-")[1:]]


# The lists


def test_each_list_shows_its_own_tasks_newest_first(site: Client) -> None:
    made(2), made(1), failed(3)

    assert names(shown(site, SUCCESSES)) == ["task-1", "task-2"]
    assert names(shown(site, FAILURES)) == ["task-3"]
    assert "1.5" in shown(site, SUCCESSES)


def test_a_list_loads_and_unpickles_nothing_that_is_pickled(site: Client) -> None:
    for make in (made, failed):
        number = 1 + Task.objects.count()
        pickled = dict.fromkeys(("args", "kwargs", "result", "options"), Detonator())
        make(number, **pickled)
    Detonator.unpickled = 0

    for url in (SUCCESSES, FAILURES):
        with CaptureQueriesContext(connection) as queries:
            assert len(names(shown(site, url))) == 1
        loaded = " ".join(query["sql"] for query in queries)
        assert [name for name in ("args", "kwargs", "options") if f'"{name}"' in loaded] == []
        assert '"result",' not in loaded.replace('SUBSTR("django_q_task"."result",', "")

    assert Detonator.unpickled == 0


def test_a_failure_is_listed_with_the_beginning_of_its_reason(site: Client) -> None:
    failed(1)
    failed(2, result={"not": "a text"})

    page = shown(site, FAILURES)

    assert "ZeroDivisionError: &lt;nothing&gt;</td>" in page
    assert "not" not in page.split("field-short_result")[2].split("</td>")[0]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("text", ["short", "ä€😀" * 300, "x" * 100_000, ""])
def test_the_beginning_of_a_text_is_read_without_unpickling(protocol: int, text: str) -> None:
    stored = b64encode(pickle.dumps(text, protocol)).decode()

    beginning = text_beginning(stored[:BEGINNING])

    assert beginning is not None
    assert text.startswith(beginning)
    assert len(beginning) >= min(len(text), 100)


@pytest.mark.parametrize(
    ("stored", "beginning"),
    [
        (b64encode(b"\x80\x02U\x05hello.").decode(), "hello"),
        (b64encode(pickle.dumps(["a list"])).decode(), None),
        ("no base64", None),
        ("", None),
        (None, None),
    ],
    ids=["python2", "list", "broken", "empty", "null"],
)
def test_what_is_no_text_has_no_beginning(stored: str | None, beginning: str | None) -> None:
    assert text_beginning(stored) == beginning


def test_tasks_are_found_by_name_function_and_group(site: Client) -> None:
    (
        made(1, func="shop.tasks.fetch"),
        made(2, group="fetchers"),
        made(3, name="task-3-fetch"),
        made(4),
    )

    assert names(shown(site, SUCCESSES, q="fetch")) == ["task-1", "task-2", "task-3-fetch"]


# Filters


def test_tasks_are_filtered_by_group_cluster_and_day(site: Client) -> None:
    made(1, group="red", cluster="one")
    made(2, group="red", cluster="two")
    made(3, group="blue", cluster="one", stopped=timezone.now() - timedelta(days=9))
    made(4)

    assert names(shown(site, SUCCESSES, group="red")) == ["task-1", "task-2"]
    assert names(shown(site, SUCCESSES, cluster="one")) == ["task-1", "task-3"]
    assert names(shown(site, SUCCESSES, group="red", cluster="one")) == ["task-1"]
    assert names(shown(site, SUCCESSES, group__isnull="True")) == ["task-4"]
    week_ago = (timezone.now() - timedelta(days=7)).isoformat()
    assert names(shown(site, SUCCESSES, stopped__lt=week_ago)) == ["task-3"]


def test_a_filter_offers_what_the_newest_tasks_of_the_list_have(
    site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "RECENT", 2)
    made(1, group="b"), made(2, group="a"), made(3, group="old"), failed(4, group="of-a-failure")

    page = shown(site, SUCCESSES)

    offered = [part.split('"')[0] for part in page.split('href="?group=')[1:]]
    assert offered == ["a", "b"]


def test_a_value_that_is_not_offered_can_be_chosen_by_its_url(
    site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "RECENT", 1)
    made(1, group="new"), made(2, group="old")

    page = shown(site, SUCCESSES, group="old")

    assert names(page) == ["task-2"]
    assert 'href="?group=old"' in page


def test_the_cluster_is_looked_for_among_the_newest_of_what_other_filters_leave(
    site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "WINDOW", 2)
    for number in range(1, 5):
        made(number, cluster="one", group=f"group-{number % 2}")

    page = shown(site, SUCCESSES, cluster="one")
    within = shown(site, SUCCESSES, cluster="one", group="group-0")

    assert names(page) == ["task-1", "task-2"]
    assert "Cluster, of the newest 2" in page
    assert names(within) == ["task-2", "task-4"]


def test_a_subclass_that_names_filters_has_fast_ones() -> None:
    filters = lists.fast_filters(("cluster", "func", "group"))

    assert filters == [
        "func", ("group", lists.RecentValues), ("cluster", lists.ValuesOfTheNewest),
    ]  # fmt: skip


# Counting


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many tasks there are: more than are counted."""
    monkeypatch.setattr(lists, "COUNTED", 1000)
    now = timezone.now()
    Task.objects.bulk_create(
        Task(id=f"{n:032x}", name="t", func="f", started=now, stopped=now, group=f"g{n % 500}")
        for n in range(1001)
    )
    return 1001


@pytest.mark.parametrize("separators", [False, True])
def test_more_tasks_than_are_counted_are_said_to_be_more(
    site: Client, many: int, settings: Any, separators: bool
) -> None:
    settings.USE_THOUSAND_SEPARATOR = separators

    page = shown(site, SUCCESSES)
    found = shown(site, SUCCESSES, q="t")

    assert "more than 1,000 successful tasks" in page.lower()
    assert "select all more than 1,000 successful tasks" in page.lower()
    assert "more than 1,000 results" in found
    assert shown(site, SUCCESSES, p=10).count('class="action-select"') == 100


def test_as_many_tasks_as_are_counted_are_counted(site: Client, many: int) -> None:
    Task.objects.first().delete()  # type: ignore[union-attr]

    assert "1000 successful tasks" in shown(site, SUCCESSES).lower()


# A task's page


def test_a_page_shows_what_is_pickled(site: Client) -> None:
    task = failed(1, args=(1, "<b>"), kwargs={"to": "you"}, options={"timeout": 5})

    page = shown(site, page_of(task))

    assert "<code>(1, &#x27;&lt;b&gt;&#x27;)</code>" in page
    assert "<code>{&#x27;to&#x27;: &#x27;you&#x27;}</code>" in page
    assert "<code>{&#x27;timeout&#x27;: 5}</code>" in page
    assert "<pre>ZeroDivisionError: &lt;nothing&gt; : Traceback (most recent call last):\n" in page


class Unspeakable:
    """What cannot be shown."""

    def __repr__(self) -> str:
        raise LookupError("no words")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Detonator(), "It cannot be unpickled: RuntimeError: boom &lt;b&gt;"),
        (Unspeakable(), "It cannot be shown: LookupError: no words"),
    ],
    ids=["unpicklable", "unspeakable"],
)
def test_a_page_says_why_it_cannot_show_a_value(site: Client, value: Any, reason: str) -> None:
    assert reason in shown(site, page_of(made(1, args=(value,))))


def test_a_long_value_is_cut(site: Client) -> None:
    page = shown(site, page_of(made(1, result="x" * 150_000)))

    assert "… and 50000 more characters" in page


def test_a_task_has_a_history(site: Client) -> None:
    assert "change history" in shown(site, page_of(made(1), "history")).lower()


def test_a_task_can_be_neither_added_nor_changed(site: Client) -> None:
    task = made(1)

    page = shown(site, page_of(task))

    assert 'name="_save"' not in page
    assert site.post(page_of(task), {"name": "another"}).status_code == 403
    assert site.get(reverse("admin:django_q_success_add")).status_code == 403


def test_a_task_is_deleted_without_being_unpickled(site: Client) -> None:
    one, two = (failed(number, args=(Detonator(),), result=Detonator()) for number in (1, 2))
    Detonator.unpickled = 0

    shown(site, page_of(one, "delete"))
    site.post(page_of(one, "delete"), {"post": "yes"})
    marked = {"action": "delete_selected", "_selected_action": [two.pk]}
    assert site.post(FAILURES, marked).status_code == 200
    site.post(FAILURES, marked | {"post": "yes"})

    assert (Task.objects.count(), Detonator.unpickled) == (0, 0)


@pytest.mark.parametrize(
    ("codenames", "statuses"), [(["view"], (200, 403)), (["view", "delete"], (200, 200))]
)
def test_who_may_only_look_may_not_delete(codenames: list[str], statuses: tuple[int, int]) -> None:
    user = User.objects.create_user("helper", is_staff=True)
    wanted = [f"{codename}_failure" for codename in codenames]
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    client = Client()
    client.force_login(user)
    task = failed(1)

    pages = [client.get(page_of(task, what)) for what in ("change", "delete")]

    assert tuple(page.status_code for page in pages) == statuses


def test_a_schedule_links_to_its_last_task(site: Client) -> None:
    for task in (made(1), failed(2)):
        schedule = Schedule(func="f", task=task.pk)

        assert f'<a href="{page_of(task)}">' in str(schedule.last_run())


# What sites make of it


@pytest.fixture
def registered() -> Iterator[Any]:
    """Yield what registers an admin of a site's own, until the test is over."""
    before = dict(admin.site._registry)

    def register(model: type[Task], model_admin: type[admin.ModelAdmin[Any]]) -> None:
        if admin.site.is_registered(model):
            admin.site.unregister(model)
        admin.site.register(model, model_admin)
        urls.urlpatterns[:] = [urls.path("admin/", admin.site.urls)]
        clear_url_caches()

    yield register
    admin.site._registry.clear()
    admin.site._registry.update(before)
    urls.urlpatterns[:] = [urls.path("admin/", admin.site.urls)]
    clear_url_caches()


def test_the_manuals_subclass_shows_results_with_no_query_for_each(
    site: Client, registered: Any
) -> None:
    class ChildClassAdmin(q_admin.FailAdmin):
        list_display = ("name", "func", "result", "started", "attempt_count")

    registered(Failure, ChildClassAdmin)
    shown(site, FAILURES)
    counts = []
    for numbers in (range(2), range(2, 12)):
        for number in numbers:
            failed(number, attempt_count=77, result=Detonator() if number % 2 else TRACEBACK)
        with CaptureQueriesContext(connection) as queries:
            page = shown(site, FAILURES)
        counts.append(len(queries))

    assert "ZeroDivisionError: &lt;nothing&gt;" in page
    assert page.count(">77<") == 12
    assert counts[0] == counts[1]


def test_a_site_may_choose_the_fields_of_a_page(site: Client, registered: Any) -> None:
    class Own(q_admin.TaskAdmin):
        fieldsets = ((None, {"fields": (("name", "result"),)}),)

    registered(Success, Own)

    page = shown(site, page_of(made(1, result=[1, 2], args=("secret",))))

    assert "<code>[1, 2]</code>" in page
    assert "secret" not in page


def test_a_site_may_register_task_itself(site: Client, registered: Any) -> None:
    assert not admin.site.is_registered(Task)
    registered(Task, q_admin.TaskAdmin)
    made(1), failed(2)

    page = shown(site, reverse("admin:django_q_task_changelist"))

    assert names(page) == ["task-1", "task-2"]
