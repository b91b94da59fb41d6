"""The example of a reporter keeps the contract, and tells of the errors of a real cluster."""

import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from tests.examples.conftest import EXAMPLES, Unpack, run_tests
from tests.harness import Project

EXAMPLE = EXAMPLES / "reporter-webhook"


class Door(BaseHTTPRequestHandler):
    """Keeps what is posted as the server's `bodies`."""

    bodies: list[str] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_its_own_tests_pass(unpack: Unpack, tmp_path: Path) -> None:
    unpack(EXAMPLE, tmp_path)

    said = run_tests(EXAMPLE, tmp_path)

    assert re.search(r"\d+ passed", said)


def test_a_failed_task_of_a_cluster_is_posted(project: Project, unpack: Unpack) -> None:
    unpack(EXAMPLE, project.path)
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        server.timeout = 30
        posted = Thread(target=server.handle_request)
        posted.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        project.configure({"error_reporter": {"webhook": {"url": url}}, "max_attempts": 1})
        project.run(
            'from django_q.tasks import async_task; async_task("tests.jobs.fail", 1, "aground")'
        )

        project.start_cluster()
        posted.join()

    text = json.loads(Door.bodies[-1])["text"]
    assert re.match(
        r"The task \S+ \(tests\.jobs\.fail, \w+\) failed: ValueError\('aground'\)", text
    )
