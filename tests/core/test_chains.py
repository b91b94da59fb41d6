"""Tasks that run one after the other."""

from typing import Any

import pytest
from django.core.cache import cache

from django_q import package
from django_q.conf import get_settings
from django_q.errors import TaskRefused
from django_q.models import Task
from django_q.tasks import Chain, async_chain, queue_size, result_group
from django_q.tasks.chains import next_link
from tests.core.queueing import add, drain, fail, memory_queue, options_of, waiting

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> Any:
    settings.Q_CLUSTER = memory_queue()
    yield
    cache.clear()


def head() -> dict[str, Any]:
    """The first link of the chain that waits."""
    (task,) = waiting()
    return task


def test_a_chain_runs_in_order() -> None:
    group = async_chain([(add, (1,)), (add, (1,), {"b": 1}), (add, (3,))])

    done = drain()

    assert [task["result"] for task in done] == [1, 2, 3]
    assert sorted(result_group(group)) == [1, 2, 3]


@pytest.mark.parametrize("link", [add, (add,), (add, ()), (add, (), {}), [add]])
def test_a_link_may_leave_out_what_it_does_not_need(link: Any) -> None:
    async_chain(["builtins.dict", link])

    first = head()
    assert first["func"] == "builtins.dict"
    second = package.loads(next_link(first, get_settings()).package)
    assert (second["func"], second["args"], second["kwargs"]) == (add, (), {})


def test_only_one_link_is_in_the_queue_at_a_time() -> None:
    async_chain([(add, (1,)), (add, (2,))])

    assert queue_size() == 1


def test_the_callers_list_is_left_as_it_was() -> None:
    kwargs: dict[str, Any] = {"b": 2}
    links = [(add, (1,), kwargs), (add, (2,))]

    async_chain(links)

    assert links == [(add, (1,), {"b": 2}), (add, (2,))]


def test_a_failed_link_ends_its_chain() -> None:
    async_chain([(add, (1,)), (fail, ("as asked",)), (add, (3,))])

    done = drain()

    assert [task["success"] for task in done] == [True, False]
    assert queue_size() == 0


def test_a_chain_goes_on_behind_links_that_are_not_saved(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue(save_limit=-1)
    async_chain([(add, (1,), {"save": False}), (add, (2,)), (add, (3,))])

    done = drain()

    assert [task["result"] for task in done] == [1, 2, 3]
    assert not Task.objects.exists()


def test_the_next_link_is_the_same_task_however_often_it_is_made() -> None:
    async_chain([(add, (1,)), (add, (2,))])
    first = head()

    once, again = (package.loads(next_link(first, get_settings()).package) for _ in range(2))

    assert once["id"] == again["id"] != first["id"]
    assert len(once["id"]) == 32
    assert once["name"] == again["name"]


def test_two_chains_share_no_task() -> None:
    links = [(add, (1,)), (add, (2,))]
    async_chain(links)
    async_chain(links)

    ids = {task["id"] for task in drain()}

    assert len(ids) == 4


def test_the_last_link_has_no_next() -> None:
    async_chain([(add, (1,))])

    assert next_link(head(), get_settings()) is None


def test_a_recovered_link_says_that_it_may_have_run() -> None:
    async_chain([(add, (1,)), (add, (2,))])
    first = head()

    plain = package.loads(next_link(first, get_settings()).package)
    recovered = package.loads(next_link(first, get_settings(), check=True).package)

    assert "check" not in plain
    assert recovered["check"] is True


def test_a_link_may_have_options_and_go_to_another_cluster() -> None:
    options = {"timeout": 3, "task_name": "second", "cluster": "elsewhere", "own": 1}
    async_chain([(add, (1,)), (options_of, (), options)], group="mine", cached=30)

    link = next_link(head(), get_settings())

    second = package.loads(link.package)
    assert link.list_key == "elsewhere"
    assert (second["name"], second["timeout"], second["kwargs"]) == ("second", 3, {"own": 1})
    assert (second["group"], second["cached"], second["sync"]) == ("mine", 30, False)


def test_a_link_stays_in_the_queue_of_its_chain() -> None:
    async_chain([(add, (1,)), (add, (2,))])

    assert next_link(head(), get_settings()).list_key == get_settings().cluster_name


def test_a_link_carries_the_keys_that_django_q2_reads() -> None:
    async_chain([(add, (1,)), (add, (2,))])

    first = head()

    assert first["chain"] == [(add, (2,))]
    assert {"group", "cached", "sync"} <= set(first)


@pytest.mark.parametrize(
    "link",
    [
        ("not_dotted",),
        (add, (1,), {"task_name": "n" * 101}),
        (add, (1,), {"timeout": 0}),
        (add, (1,), {}, "too much"),
        (),
    ],
)
def test_a_bad_link_is_refused_before_the_first_one_is_queued(link: Any) -> None:
    with pytest.raises(TaskRefused):
        async_chain([(add, (1,)), link])

    assert queue_size() == 0


def test_a_chain_of_nothing_is_refused() -> None:
    with pytest.raises(TaskRefused, match="at least one task"):
        async_chain([])


def test_a_link_with_q_options_stays_in_the_chain() -> None:
    q_options = {"timeout": 3}
    group = async_chain([(add, (1,), {"q_options": q_options}), (add, (2,))])

    done = drain()

    assert [task["group"] for task in done] == [group, group]
    assert q_options == {"timeout": 3}


# Chain


def test_a_chain_object_collects_its_results() -> None:
    chain = Chain()
    assert chain.append(add, 1) == 1
    assert chain.append(add, 1, b=1) == 2

    group = chain.run()
    assert chain.current() == 0
    drain()

    assert chain.group == group
    assert chain.current() == chain.length() == 2
    assert sorted(chain.result()) == [1, 2]
    assert len(chain.fetch()) == 2


def test_a_cached_chain_object_collects_its_results() -> None:
    chain = Chain([(add, (1,)), (add, (2,))], cached=True)
    chain.run()
    drain()

    assert sorted(chain.result()) == [1, 2]
    assert chain.current() == 2
    assert not Task.objects.exists()


def test_a_chain_that_has_not_run_has_no_results() -> None:
    chain = Chain([(add, (1,))])

    assert (chain.result(), chain.fetch(), chain.current()) == (None, None, None)


def test_nobody_waits_for_the_links_behind_a_failed_one() -> None:
    chain = Chain([(add, (1,)), fail, (add, (3,))])
    chain.run()
    drain()

    assert chain.result(wait=-1) == [1]
    assert len(chain.fetch()) == 2


def test_appending_to_a_chain_that_ran_forgets_its_results() -> None:
    chain = Chain([(add, (1,))])
    chain.run()
    drain()

    chain.append(add, 2)

    assert not chain.started
    assert result_group(chain.group) is None


def test_a_chain_object_may_run_twice() -> None:
    chain = Chain([(add, (1,)), (add, (2,))])
    chain.run()
    chain.run()

    assert len(drain()) == 4
    assert chain.length() == 2
