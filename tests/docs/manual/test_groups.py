"""The manual's chapter Groups."""

from ast import literal_eval

from tests.docs.manual.prompt import Prompt
from tests.docs.manual.snippets import snippet

FOUR_AND_A_FAILURE = """
from django_q.tasks import async_task, delete_group
delete_group('modf', tasks=True)
for i in range(4):
    async_task('math.modf', i, group='modf')
async_task('math.modf', 'no number', group='modf')
"""
LARGE_GROUP = """
from django_q.tasks import async_task
async_task('math.floor', 0, group='large', task_name='winter-speaker-alpha-ceiling')
for i in range(1, 101):
    async_task('math.floor', i, group='large')
"""
NINE_CACHED = """
from django_q.tasks import async_task, delete_group
delete_group('math', cached=True)
for i in range(9):
    async_task('math.floor', i, group='math', cached=True)
"""


def test_a_group_is_waited_for_until_it_has_four_results(prompt: Prompt) -> None:
    prompt.run("from django_q.tasks import delete_group; delete_group('modf', tasks=True)")

    printed = prompt.run(snippet("groups/01_result_group"))

    assert sorted(literal_eval(printed)) == [(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.0, 3.0)]


def test_the_successes_of_a_group_are_the_same_read_in_three_ways(prompt: Prompt) -> None:
    prompt.type(FOUR_AND_A_FAILURE)
    ways = [
        snippet("groups/02_fetch_group", end="# this is the same as"),
        snippet("groups/02_fetch_group", end="# and the same as"),
        snippet("groups/02_fetch_group"),
    ]

    found = [(prompt.type(way), prompt.value("sorted(results)")) for way in ways]

    assert found == [("", [(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.0, 3.0)])] * 3
    assert prompt.value("failure_count") == 1


def test_a_task_gives_the_results_of_its_group_and_deletes_it(prompt: Prompt) -> None:
    prompt.type(LARGE_GROUP)

    printed = prompt.type(snippet("groups/03_task_instance"))

    assert printed.startswith("<QuerySet [")
    assert printed.endswith("Deleted group large\n")
    assert prompt.value("fetch('winter-speaker-alpha-ceiling').group") is None


def test_an_async_task_waits_for_ten_results_of_its_group_in_the_cache(prompt: Prompt) -> None:
    prompt.type(NINE_CACHED)

    prompt.run(snippet("groups/04_async_task"))

    assert prompt.value("sorted(result)") == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8]
