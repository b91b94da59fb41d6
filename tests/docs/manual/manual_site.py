"""The project in which the manual's snippets run: their modules, a search engine, a mailbox."""

from __future__ import annotations

from email import message_from_string
from email.message import Message
from pathlib import Path

from tests.docs.manual.prompt import Prompt
from tests.docs.manual.snippets import snippet
from tests.harness import ClusterProcess, Project

HOOKS = """
def print_result(task):
    print(f"{task.result}\\n", end="")  # in one go, as others print between
"""
LIBRARY_APP = """
from django.apps import AppConfig

class LibraryConfig(AppConfig):
    name = "library"

    def ready(self):
        from library import signals
"""
LIBRARY_MODELS = """
from django.db import models

class Document(models.Model):
    text = models.TextField()
"""
LIBRARY_INDEXES = """
from haystack import indexes
from library.models import Document

class DocumentIndex(indexes.SearchIndex, indexes.Indexable):
    text = indexes.CharField(document=True, model_attr="text")

    def get_model(self):
        return Document
"""
EXPIRED_SESSION = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
yesterday = timezone.now() - timedelta(days=1)
Session.objects.create(session_key="old", session_data="", expire_date=yesterday)
"""
SESSIONS = "SELECT session_key FROM django_session"


class Site:
    """A project with a running cluster, and a prompt in it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.mail_folder = project.path / "mail"
        self._configure()
        self._write_modules()
        project.manage("migrate", "--run-syncdb", "--verbosity", "0")
        self.prompt = Prompt(project)
        self.cluster: ClusterProcess = project.start_cluster()
        self.cluster.wait_for_line("running")

    def close(self) -> None:
        """End the prompt; the project ends the cluster."""
        self.prompt.close()

    def mails_to(self, address: str) -> list[Message]:
        """Return the mails that were sent to an address, the oldest first."""
        # By time: within one second the names that Django gives the files are in no order.
        files = sorted(self.mail_folder.glob("*.log"), key=lambda file: file.stat().st_mtime_ns)
        texts = [text for file in files for text in file.read_text().split("-" * 79 + "\n")]
        mails = [message_from_string(text) for text in texts if text.strip()]
        return [mail for mail in mails if mail["To"] == address]

    def wait_for_mail_to(self, address: str, count: int = 1) -> list[Message]:
        """Wait for mails to an address, and return them."""
        found: list[Message] = self.project.wait_until(
            lambda: len(mails := self.mails_to(address)) >= count and mails,
            what=f"{count} mails to {address}",
        )
        return found

    def wait_for_task(self, func: str, count: int = 1) -> list[bool]:
        """Wait until a function was called so often; return how it went each time."""
        sql = "SELECT success FROM django_q_task WHERE func = ?"
        found: list[bool] = self.project.wait_until(
            lambda: len(rows := self.project.query(sql, func)) >= count and rows,
            what=f"{count} calls of {func}",
        )
        return [bool(success) for (success,) in found]

    def leave_an_expired_session(self) -> None:
        """Leave something for the command clearsessions to do."""
        self.prompt.run(EXPIRED_SESSION)
        assert self.project.query(SESSIONS) != []

    def wait_until_sessions_are_cleared(self) -> None:
        """Wait until the command has run."""
        self.project.wait_until(
            lambda: self.project.query(SESSIONS) == [], what="sessions to be cleared"
        )

    def _configure(self) -> None:
        path = self.project.path
        self.project.configure(
            {"ack_failures": True, "max_attempts": 1, "save_limit": 0},
            INSTALLED_APPS=[
                "django.contrib.contenttypes",
                "django.contrib.auth",
                "django.contrib.sessions",
                "haystack",
                "django_q",
                "library",
            ],
            CACHES={
                "default": {
                    "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                    "LOCATION": str(path / "cache"),
                    "OPTIONS": {"MAX_ENTRIES": 10_000},
                }
            },
            EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend",
            EMAIL_FILE_PATH=str(self.mail_folder),
            ADMINS=[("Admin", "admin@example.com")],
            HAYSTACK_CONNECTIONS={
                "default": {
                    "ENGINE": "haystack.backends.whoosh_backend.WhooshEngine",
                    "PATH": str(path / "whoosh"),
                }
            },
        )

    def _write_modules(self) -> None:
        parzen = _smaller(snippet("examples/12_parzen_group"))
        modules = {
            "hooks.py": HOOKS,
            "tasks.py": "\n".join(
                [
                    snippet("examples/03_signals_task"),
                    snippet("examples/04_signals_again"),
                    snippet("examples/06_report_tasks"),
                    snippet("examples/07_haystack", begin="# tasks.py"),
                    snippet("schedules/03_wrapper", end="# now you can schedule it"),
                ]
            ),
            "views.py": snippet("examples/05_report_view"),
            "welcome.py": snippet("examples/01_emails"),
            "email_changed.py": snippet("examples/02_signals"),
            "parzen_group.py": parzen,
            "parzen_iter.py": parzen + _smaller(snippet("examples/13_parzen_iter")),
            "library/__init__.py": "",
            "library/apps.py": LIBRARY_APP,
            "library/models.py": LIBRARY_MODELS,
            "library/search_indexes.py": LIBRARY_INDEXES,
            "library/signals.py": snippet("examples/07_haystack", end="# tasks.py"),
            "setup.py": "",
        }
        for name, text in modules.items():
            path: Path = self.project.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def _smaller(code: str) -> str:
    """Draw samples of 250 points: with the manual's 10,000 a hundred tasks take half a minute."""
    assert "10000)" in code
    return code.replace("10000)", "250)")
