"""The manual's chapter Examples."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.docs.manual.manual_site import Site
from tests.docs.manual.prompt import Prompt
from tests.docs.manual.snippets import snippet
from tests.harness import Project

USERS = """
from django.contrib.auth.models import User
def user(name):
    return User.objects.get_or_create(username=name, email=f"{name}@example.com")[0]
"""
AN_HOUR_LATER = """
from datetime import timedelta
from django.utils import timezone
from django_q.models import Schedule
follow_up = Schedule.objects.get(args__contains="anna@example.com")
ahead = (follow_up.next_run - timezone.now()).total_seconds()
Schedule.objects.filter(pk=follow_up.pk).update(next_run=timezone.now())
"""
FOLLOW_UPS = "SELECT count(*) FROM django_q_schedule WHERE args LIKE '%anna@example.com%'"
SEARCH = """
from haystack.query import SearchQuerySet
found = [result.text for result in SearchQuerySet().filter(content=WORD)]
"""


def test_a_welcome_mail_is_sent_and_an_hour_later_a_follow_up_that_leaves_no_schedule(
    site: Site,
) -> None:
    site.prompt.run(USERS + "from welcome import welcome_mail\nwelcome_mail(user('anna'))")
    (welcome,) = site.wait_for_mail_to("anna@example.com")
    site.prompt.run(AN_HOUR_LATER)
    ahead = site.prompt.value("ahead")
    mails = site.wait_for_mail_to("anna@example.com", 2)

    assert 3500 < ahead <= 3600
    assert (welcome["Subject"], welcome["From"]) == ("Welcome", "from@example.com")
    assert "Welcome to our website" in welcome.get_payload()
    assert [mail["Subject"] for mail in mails] == ["Welcome", "Follow up"]
    assert site.project.query(FOLLOW_UPS) == [(0,)]


def test_a_changed_address_is_told_to_everyone_else(site: Site) -> None:
    site.prompt.run(
        USERS + "import email_changed\n"
        "bert, cleo = user('bert'), user('cleo')\n"
        "bert.save()\n"
        "bert.email = 'new-bert@example.com'\n"
        "bert.save()\n"
    )

    (mail,) = site.wait_for_mail_to("cleo@example.com")

    assert "bert has a new email address: new-bert@example.com" in mail.get_payload()
    assert site.mails_to("new-bert@example.com") == site.mails_to("bert@example.com") == []


def test_everyone_else_is_told_by_a_task_each(site: Site) -> None:
    site.prompt.run(
        USERS + "from django_q.tasks import async_task\n"
        "user('dora')\n"
        "async_task('tasks.inform_everyone_async', user('emil'))"
    )

    (mail,) = site.wait_for_mail_to("dora@example.com")

    text = "Dear dora, emil has a new email address: emil@example.com"
    assert text in " ".join(mail.get_payload().split())
    assert site.mails_to("emil@example.com") == []


def test_a_report_is_mailed_by_the_hook(site: Site) -> None:
    site.prompt.run(
        USERS + "from types import SimpleNamespace\n"
        "from views import create_report\n"
        "create_report(SimpleNamespace(user=user('frieda')))"
    )

    (mail,) = site.wait_for_mail_to("frieda@example.com")

    assert mail["Subject"] == "The report you requested"
    assert "We had a great guarter!" in mail.get_payload()


def test_the_failure_of_a_report_is_mailed_to_the_admins(site: Site) -> None:
    site.prompt.run(
        "from django_q.tasks import async_task\n"
        "async_task('tasks.create_html_report', hook='tasks.email_report')"
    )

    (mail,) = site.wait_for_mail_to("admin@example.com")

    assert mail["Subject"].endswith("Report generation failed")
    assert "missing 1 required positional argument" in mail.get_payload()


def test_a_document_is_found_once_it_is_saved_and_after_it_changed(prompt: Prompt) -> None:
    prompt.type(
        "from library.models import Document\n"
        "document = Document.objects.create(text='a heron by the river')\n"
        "document.text = 'a stork by the river'\n"
        "document.save()"
    )

    found = {}
    for word in ("heron", "stork", "river"):
        prompt.run(SEARCH.replace("WORD", repr(word)))
        found[word] = prompt.value("found")

    assert found == {
        "heron": [],
        "stork": ["a stork by the river"],
        "river": ["a stork by the river"],
    }


def test_shell_commands_run_and_give_their_output(site: Site) -> None:
    copy = site.project.path / "setup.py.bak"
    copy.unlink(missing_ok=True)

    site.prompt.type(snippet("examples/08_shell"))

    assert copy.exists()
    assert "setup.py.bak" in site.prompt.value("dir_list").decode()


def test_a_completed_process_comes_back_with_its_arguments(prompt: Prompt) -> None:
    code = snippet("examples/09_shell_run")
    shown = re.findall(r"^>>> (.*)\n(.*)$", code, re.MULTILINE)

    prompt.type(snippet("examples/09_shell_run", end=">>>"))

    assert [expression for expression, _ in shown] == ["r.args", "r.returncode"]
    assert [repr(prompt.value(expression)) for expression, _ in shown] == [
        answer for _, answer in shown
    ]


def test_the_output_of_a_completed_process_comes_through_its_pipe(prompt: Prompt) -> None:
    printed = prompt.type(snippet("examples/10_shell_pipe"))

    assert "manage.py" in printed


def test_a_management_command_is_queued_and_scheduled(site: Site) -> None:
    site.leave_an_expired_session()

    site.prompt.run(snippet("examples/11_call_command"))

    site.wait_until_sessions_are_cleared()
    assert all(site.wait_for_task("django.core.management.call_command", 2))


@pytest.mark.parametrize("module", ["parzen_group", "parzen_iter"])
def test_a_density_is_estimated_for_a_hundred_widths(module: str, prompt: Prompt) -> None:
    prompt.run(
        f"import numpy, {module}\n"
        "numpy.random.seed(5)\n"
        f"found = sorted((float(h), float(p)) for h, p in {module}.parzen_async())"
    )

    widths, densities = zip(*prompt.value("found"), strict=True)

    assert list(widths) == pytest.approx([1 + 0.2 * step / 99 for step in range(100)])
    # The normal density at its mean is 0.16, and a bit lower in so wide a window.
    assert all(0.08 < density < 0.24 for density in densities)


@pytest.fixture
def health(project: Project) -> Iterator[HTTPConnection]:
    """Yield a connection to the health check of a project, on a free port."""
    with closing(socket.create_server(("localhost", 0))) as free:
        port = free.getsockname()[1]
    code = snippet("examples/14_health_check").replace("8080", str(port))
    (project.path / "worker_hc.py").write_text(code)
    server = subprocess.Popen(
        [project.interpreter, "worker_hc.py"],
        cwd=project.path,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == f"Server started at http://localhost:{port}\n"
    yield HTTPConnection("localhost", port, timeout=20)
    server.terminate()
    server.communicate(timeout=20)


def ask(health: HTTPConnection) -> tuple[int, str]:
    """Return the status and the text of the health check's answer."""
    health.request("GET", "/")
    with health.getresponse() as answer:
        return answer.status, answer.read().decode()


def test_the_health_check_answers_as_the_clusters_are(
    project: Project, health: HTTPConnection
) -> None:
    without = ask(health)
    cluster = project.start_cluster()
    project.wait_until(lambda: ask(health)[0] == 200, what="a cluster that is happy")
    running = ask(health)
    assert cluster.stop() == 0, cluster.log
    afterwards = ask(health)

    assert [status for status, _ in (without, running, afterwards)] == [500, 200, 500]
    assert "Health check returned 500 response0 of 0 cluster(s) are happy" in without[1]
    assert "Health check returned 200 response1 of 1 cluster(s) are happy</html>" in running[1]
