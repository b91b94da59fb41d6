"""The manual's chapter Chains."""

from tests.docs.manual.prompt import Prompt
from tests.docs.manual.snippets import snippet


def test_a_chain_runs_its_tasks_one_after_the_other(prompt: Prompt) -> None:
    prompt.run(snippet("chains/01_async_chain") + "from django_q.tasks import fetch_group")

    assert prompt.value("sorted(result)") == [-1.0, 1]
    in_time = "[task.func for task in fetch_group(group_id).order_by('stopped')]"
    assert prompt.value(in_time) == ["math.copysign", "math.floor"]


def test_a_chain_waits_for_its_results_in_the_cache(prompt: Prompt) -> None:
    printed = prompt.run(snippet("chains/02_chain"))

    assert printed == "[-1.0, 1]\n"
