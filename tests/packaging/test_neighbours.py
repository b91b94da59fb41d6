"""What others have published for Django Q works beside the wheels as it is."""

from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest

from tests.packaging.conftest import Wheel
from tests.packaging.environments import InstalledSite, add, installed

SEND = """\
from django.core.mail import EmailMultiAlternatives, send_mail
mail = EmailMultiAlternatives("Report", "As text", "from@example.com", ["anna@example.com"])
mail.attach_alternative("<p>As a page</p>", "text/html")
mail.attach("report.csv", "1,2\\n", "text/csv")
[send_mail("Welcome", "Good to see you", None, ["anna@example.com"]), mail.send()]
"""


@pytest.fixture
def site(wheels: list[Wheel]) -> Iterator[InstalledSite]:
    """Yield a site that queues its mails by django-q-email, as published on PyPI."""
    with installed(wheels, "orm") as site:
        # It asks for Django Q, whose files would replace ours.
        add(Path(site.interpreter), "--no-deps", "django-q-email==5.0.1")
        site.configure(
            {"workers": 1},
            EMAIL_BACKEND="django_q_email.backends.DjangoQBackend",
            DJANGO_Q_EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend",
            EMAIL_FILE_PATH=str(site.path / "mail"),
        )
        site.migrate()
        yield site


def test_django_q_email_sends_mails_by_tasks(site: InstalledSite) -> None:
    mails = site.path / "mail"

    assert site.run(SEND) == [1, 1]
    assert not mails.exists()
    cluster = site.start_cluster("--run-once")

    assert cluster.wait() == 0, cluster.log
    assert {(task["func"], task["success"]) for task in site.tasks()} == {
        ("django_q_email.backends.send_message", 1)
    }
    texts = [path.read_text().rpartition("-" * 79)[0] for path in mails.iterdir()]
    sent = {mail["Subject"]: mail for mail in map(message_from_string, texts)}
    assert {mail["To"] for mail in sent.values()} == {"anna@example.com"}
    assert sent["Welcome"].get_payload() == "Good to see you\n"
    types = [part.get_content_type() for part in sent["Report"].walk()]
    assert types[2:] == ["text/plain", "text/html", "text/csv"]
