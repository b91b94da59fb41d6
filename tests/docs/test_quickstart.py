"""The README's five minutes, as a newcomer types them."""

from typing import Any

import pytest

from tests.docs.test_readme import code_blocks
from tests.harness import ROOT, Project

pytestmark = pytest.mark.starts_anew

SETTINGS, FIRST_TASK, FIRST_SCHEDULE = code_blocks(ROOT / "README.md", "python")


def quickstart(project: Project) -> None:
    """Give the project the README's settings."""
    names: dict[str, Any] = {}
    exec(SETTINGS, names)
    assert "django_q" in names["INSTALLED_APPS"]
    project.configure(names["Q_CLUSTER"])


def test_the_first_task_returns_its_result(project: Project) -> None:
    quickstart(project)
    project.start_cluster().wait_for_line("running")

    answer = project.run(FIRST_TASK.replace("wait=2000", "wait=20000"))

    assert answer == -2.0


def test_the_first_schedule_is_saved(project: Project) -> None:
    quickstart(project)

    project.run(FIRST_SCHEDULE)

    assert project.query("SELECT func, schedule_type FROM django_q_schedule") == [
        ("django.core.management.call_command", "D")
    ]


def test_the_quickstarts_settings_pass_the_system_check(project: Project) -> None:
    quickstart(project)

    done = project.manage("check", "--fail-level", "WARNING")

    assert "no issues" in done.stdout
