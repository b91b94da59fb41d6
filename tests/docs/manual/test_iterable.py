"""The manual's chapter Iterable."""

from tests.docs.manual.prompt import Prompt
from tests.docs.manual.snippets import snippet


def test_one_call_queues_a_hundred_and_collates_their_results(prompt: Prompt) -> None:
    prompt.type(snippet("iterable/01_async_iter"))

    assert prompt.value("result_list") == list(range(100))


def test_an_iter_gives_the_results_of_what_was_appended(prompt: Prompt) -> None:
    printed = prompt.type(snippet("iterable/02_iter"))

    assert printed == "[-1.0, -2.0, -3.0]\n"
