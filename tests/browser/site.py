"""A site with its admin: a project whose `runserver` answers, and a user who is logged in."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.conftest import StartedProject
from tests.harness import ClusterProcess, Gate
from tests.servers import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

APPS = ("admin", "auth", "contenttypes", "messages", "sessions", "staticfiles")
CONTRIB = "django.contrib"

URLS = """\
from django.contrib import admin
from django.http import HttpResponse, HttpResponseForbidden
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def run(request):
    if request.headers["X-Project"] != {project!r}:
        return HttpResponseForbidden()
    exec(request.body, {{}})
    return HttpResponse()


urlpatterns = [
    path("admin/", admin.site.urls),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
    path("run", run),
]
"""
"""The web server runs what a test asks for: starting Python for it would take longer."""

LOG_IN = """\
from importlib import import_module
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser("root"))
client.cookies[settings.SESSION_COOKIE_NAME].value
"""

AT_HAND = """\
from datetime import timedelta
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task
"""

TABLES = ("task", "schedule", "ormq", "clusterstatus")

SETTINGS: dict[str, Any] = {
    "DEBUG": True,
    "ALLOWED_HOSTS": ["127.0.0.1"],
    "INSTALLED_APPS": [*(f"{CONTRIB}.{app}" for app in APPS), "django_q"],
    "MIDDLEWARE": [
        f"{CONTRIB}.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        f"{CONTRIB}.auth.middleware.AuthenticationMiddleware",
        f"{CONTRIB}.messages.middleware.MessageMiddleware",
    ],
    "ROOT_URLCONF": "site_urls",
    "STATIC_URL": "static/",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    f"{CONTRIB}.auth.context_processors.auth",
                    f"{CONTRIB}.messages.context_processors.messages",
                ]
            },
        }
    ],
}


class Site:
    """What the tests ask the site's project for; Django itself runs in other processes."""

    def __init__(self, project: StartedProject) -> None:
        self.project = project
        self._gates: list[Gate] = []
        self.address = f"127.0.0.1:{free_port()}"
        (project.path / "site_urls.py").write_text(URLS.format(project=project.id))
        self.configure({})
        project.migrate()
        self.session: str = project.run(LOG_IN)
        self.start()

    def configure(self, Q_CLUSTER: dict[str, Any], **settings: Any) -> None:  # noqa: N803
        """Write the settings anew; what runs notices nothing."""
        self.project.configure(Q_CLUSTER, **SETTINGS | settings)

    def start(self) -> None:
        """Start the web server, and return when it answers."""
        command = [sys.executable, "manage.py", "runserver", "--noreload", self.address]
        self.server = ClusterProcess(command, self.project, self.project.env)
        self.project.clusters.append(self.server)
        self.project.wait_until(self._answers, what="an answer of runserver")

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.address}/admin/login/", timeout=5).close()
        except OSError:
            return False
        return True

    def url(self, path: str = "") -> str:
        """Return the address of a page of this app's admin."""
        return f"http://{self.address}/admin/django_q/{path}"

    def start_cluster(self, *arguments: str) -> ClusterProcess:
        """Start a cluster, and return when it runs."""
        cluster = self.project.start_cluster(*arguments)
        cluster.wait_for_line("running.")
        return cluster

    def run(self, code: str) -> None:
        """Run code in the web server, with `async_task` and the models at hand."""
        address = f"http://{self.address}/run"
        body = f"{AT_HAND}{code}".encode()
        request = urllib.request.Request(address, body, {"X-Project": self.project.id})
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{code}\n{self.server.log}") from error

    def visit_until(self, page: Page, path: str, text: str) -> None:
        """Load a page of this app's admin again and again until it shows a text."""

        def shows() -> bool:
            page.goto(self.url(path))
            return page.get_by_text(text).count() > 0

        self.project.wait_until(shows, what=f"{text!r} on the page {path!r}")

    def gate(self) -> Gate:
        """Make a gate for `tests.jobs.gate`; it is opened at the end of the test at the latest."""
        self._gates.append(self.project.gate(f"gate-{len(self._gates)}"))
        return self._gates[-1]

    def clear(self) -> None:
        """Stop the clusters and empty the tables, for the next test."""
        for gate in self._gates:
            gate.open()
        for cluster in self.project.clusters:
            if cluster is not self.server and cluster.process.poll() is None:
                cluster.stop()
        for table in TABLES:
            self.project.query(f"DELETE FROM django_q_{table}")
