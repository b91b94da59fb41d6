"""What is kept of a result after its commit is kept also by a cluster that dies before that."""

import pytest

from tests.harness import Project

KILLER = '''\
"""An app whose clusters end, the first time, where FUNCTION is to be called."""

import os
import signal

from django.apps import AppConfig


class Config(AppConfig):
    name = "killer"

    def ready(self):
        from django_q import records

        function = records.FUNCTION

        def kill(*arguments):
            from django_q.models import IterItem

            is_complete = IterItem.objects.count() == 3 or "FUNCTION" == "cache_write"
            if is_complete and not os.path.exists("killed"):
                open("killed", "w").close()
                os.killpg(os.getsid(0), signal.SIGKILL)
            return function(*arguments)

        records.FUNCTION = kill
'''


@pytest.mark.parametrize(
    ("function", "enqueue", "result"),
    [
        ("collate", "async_iter('math.floor', [1, 2, 3])", [1, 2, 3]),
        ("cache_write", "async_task('math.floor', 4, cached=True)", 4),
    ],
    ids=["iterable", "cached"],
)
def test_a_result_survives_a_kill_between_its_commit_and_its_list_or_its_cache(
    function: str, enqueue: str, result: object, project: Project
) -> None:
    (project.path / "killer").mkdir()
    (project.path / "killer/__init__.py").touch()
    (project.path / "killer/apps.py").write_text(KILLER.replace("FUNCTION", function))
    project.configure(
        {"workers": 1, "timeout": 1, "retry": 2},
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django_q",
            "killer",
        ],
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": str(project.path / "cache"),
            }
        },
    )
    task_id = project.run(f"from django_q.tasks import async_iter, async_task\n{enqueue}")
    project.start_cluster().wait()

    project.start_cluster()
    cached = function == "cache_write"
    found = project.run(
        f"from django_q.tasks import result\nresult({task_id!r}, wait=20000, cached={cached})"
    )

    assert (project.path / "killed").exists()
    assert found == result
