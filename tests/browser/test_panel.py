"""The status panel of the admin's page of this app, seen in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOOKS = [
    pytest.param({"color_scheme": "light"}, id="light"),
    pytest.param({"color_scheme": "dark"}, id="dark"),
    pytest.param({"viewport": {"width": 400, "height": 800}}, id="phone"),
]

SILENT_AND_SHORT_OF_A_WORKER = """\
from django_q.status import Stat
facts = {"name": "pictures", "host": "worker-7f9c4", "pid": 71, "status": "Idle", "workers": [1]}
for n, seconds in enumerate((14, 1)):
    told = timezone.now() - timedelta(seconds=seconds)
    born = {"cluster_id": f"{n:032x}", "tob": told - timedelta(days=3), "timestamp": told}
    Stat(facts | born).save()
"""


@pytest.mark.parametrize("page", LOOKS, indirect=True)
def test_the_panel_shows_a_living_cluster_and_what_it_runs(page: Page, site: Site) -> None:
    gate = site.gate()
    cluster = site.start_cluster()
    site.run(f"async_task('tests.jobs.gate', 'a', {gate.path!r}, task_name='import-prices')")

    site.visit_until(page, "", "tests.jobs.gate")

    row = page.locator(".django-q-clusters tbody tr")
    assert row.count() == 1
    assert str(cluster.pid) in row.inner_text()
    assert "import-prices" in row.inner_text()
    assert "OK: 1 cluster, 2 workers" in page.locator(".django-q-health").inner_text()


@pytest.mark.parametrize("page", LOOKS[1:], indirect=True)
def test_the_panel_says_what_is_wrong(page: Page, site: Site) -> None:
    site.run(SILENT_AND_SHORT_OF_A_WORKER)
    site.run("for n in range(3): async_task('tests.jobs.ok', n)")

    page.goto(site.url())

    health = page.locator(".django-q-health").inner_text()
    assert "3 tasks wait in the queue project" in health
    assert "has told nothing of itself for 1" in health
    assert "has 1 of 2 workers" in health
    assert page.locator(".django-q-queues tbody").inner_text().split() == ["project", "3"]
