"""Tasks that raise, overrun, end their worker, or hold or return what nobody can read.

It costs the task itself, recorded with the reason, and everything else goes on.
"""

from typing import Any

from tests.harness import Project

GOOD = [f"good-{number}" for number in range(20)]

ENQUEUE_GOOD = f"""
from django_q.tasks import async_task
def good(labels):
    for label in labels:
        async_task('tests.jobs.ok', label, task_name=label)
good({GOOD[:10]!r})
"""

HANDLERS = '''\
"""An app whose signal handlers raise: before one of the tasks, and after every task."""

from django.apps import AppConfig

from django_q.signals import post_execute, post_execute_in_worker, pre_execute


def refuse(sender, task, **kwargs):
    if task["name"] == "refused":
        raise RuntimeError("the handler says no")


def complain(sender, **kwargs):
    raise RuntimeError("too late to matter")


class Config(AppConfig):
    name = "handlers"

    def ready(self):
        pre_execute.connect(refuse)
        post_execute_in_worker.connect(complain)
        post_execute.connect(complain)
'''

ENQUEUE_BAD = """
import tests.jobs
def vanished():
    pass
# The function is there while the task is queued, and gone when it is run.
vanished.__module__, vanished.__qualname__ = "tests.jobs", "vanished"
tests.jobs.vanished = vanished
async_task(vanished, task_name="unloadable")
async_task("tests.jobs.generator", 0, task_name="unpicklable")
async_task("tests.jobs.ok", "refused", task_name="refused")
async_task("tests.jobs.ok", "hooked", task_name="hooked", hook="tests.jobs.failing_hook")
get_broker().enqueue(SignedPackage.dumps(
    {"id": "x" * 32, "name": "n" * 150, "func": "tests.jobs.ok", "args": ("long",), "kwargs": {},
     "started": timezone.now()}))
"""


def outcomes(project: Project) -> dict[str, tuple[bool, int, str]]:
    """Return success, attempts and result of each recorded task by name."""
    found: dict[str, Any] = project.run(
        "from django_q.models import Task\n"
        "{task.name: (task.success, task.attempt_count, str(task.result))"
        " for task in Task.objects.all()}"
    )
    return {name: tuple(outcome) for name, outcome in found.items()}


def run_to_the_end(project: Project) -> dict[str, tuple[bool, int, str]]:
    """Run a cluster until nothing is queued any more, with more good work behind the bad."""
    project.run(f"{ENQUEUE_GOOD.rsplit('good(', 1)[0]}\ngood({GOOD[10:]!r})")
    cluster = project.start_cluster()
    project.wait_until(lambda: project.queue.is_empty, 30, "an empty queue")
    assert cluster.stop() == 0, cluster.log
    found = outcomes(project)
    assert [found.pop(label)[:2] for label in GOOD] == [(True, 1)] * len(GOOD)
    assert {label: n for label, n in project.starts().items() if label in GOOD} == (
        dict.fromkeys(GOOD, 1)
    )
    return found


def test_a_task_that_raises_is_tried_as_often_as_the_rules_say(project: Project) -> None:
    project.configure({"max_attempts": 3, "backoff": 0})
    project.run(
        f"{ENQUEUE_GOOD}\n"
        "async_task('tests.jobs.fail', 'hopeless', task_name='hopeless')\n"
        "async_task('tests.jobs.fail_times', 'unlucky', 1, task_name='unlucky')"
    )

    found = run_to_the_end(project)

    assert found["unlucky"] == (True, 2, "unlucky")
    success, attempts, result = found["hopeless"]
    assert (success, attempts) == (False, 3)
    assert "Traceback" in result
    assert "ValueError: on purpose" in result
    assert (project.starts()["hopeless"], project.starts()["unlucky"]) == (3, 2)


def test_a_task_that_overruns_its_timeout_is_ended_whether_or_not_it_yields(
    project: Project,
) -> None:
    project.configure({"timeout": 0.3, "max_attempts": 1})
    project.run(
        f"{ENQUEUE_GOOD}\n"
        "async_task('tests.jobs.sleep', 'yields', 60, task_name='yields')\n"
        "async_task('tests.jobs.stubborn', 'stubborn', 60, task_name='stubborn')"
    )

    found = run_to_the_end(project)

    assert "exceeded maximum timeout" in found["yields"][2]
    assert "did not yield; its worker was killed" in found["stubborn"][2]
    assert [found[name][:2] for name in ("yields", "stubborn")] == [(False, 1)] * 2
    ignored = [note.label for note in project.ledger() if note.event == "ignored"]
    assert set(ignored) == {"stubborn"}
    assert "stubborn" not in {note.label for note in project.ledger() if note.event == "end"}


def test_whatever_ends_a_worker_is_named_and_its_second_death_ends_the_task(
    project: Project,
) -> None:
    project.configure({"max_attempts": 9, "backoff": 0})
    project.run(
        f"{ENQUEUE_GOOD}\n"
        "async_task('tests.jobs.kill_process', 'killed', task_name='killed')\n"
        "async_task('tests.jobs.segfault', 'segfault', task_name='segfault')\n"
        "async_task('tests.jobs.exit_process', 'exit', task_name='exit')"
    )

    found = run_to_the_end(project)

    assert {name: outcome[:2] for name, outcome in found.items()} == dict.fromkeys(
        ("killed", "segfault", "exit"), (False, 2)
    )
    assert "was ended by SIGKILL" in found["killed"][2]
    assert "was ended by SIGSEGV" in found["segfault"][2]
    assert "exited with status 3" in found["exit"][2]


def test_what_cannot_be_read_returned_recorded_or_handled_costs_its_task_alone(
    project: Project,
) -> None:
    (project.path / "handlers.py").write_text(HANDLERS)
    project.configure(
        {"max_attempts": 1},
        INSTALLED_APPS=["django.contrib.contenttypes", "django_q", "handlers.Config"],
    )
    imports = (
        "from django.utils import timezone\n"
        "from django_q.brokers import get_broker\n"
        "from django_q.signing import SignedPackage\n"
    )
    project.run(f"{imports}{ENQUEUE_GOOD}{ENQUEUE_BAD}")

    found = run_to_the_end(project)

    assert found.pop("hooked")[0] is True
    assert "has at most 100 characters, not 150" in found.pop("n" * 100)[2]
    reasons = {"unloadable": "vanished", "unpicklable": "pickle", "refused": "says no"}
    assert set(found) == set(reasons)
    assert all(not found[name][0] and reason in found[name][2] for name, reason in reasons.items())
    assert set(project.starts()) - set(GOOD) == {"0", "hooked"}
