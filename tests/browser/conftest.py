"""A headless Chromium, and a real site whose admin it visits; no page may have an error."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.site import Site
from tests.conftest import StartedProject
from tests.harness import temporary_folder
from tests.servers import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield Debian's Chromium.

    For a module, not the session: while it is driven, asyncio's loop runs in the thread of the
    tests, and Django refuses the ORM to all others there.
    """
    executable = shutil.which("chromium")
    if executable is None:
        missing("chromium is not installed: apt-get install chromium")
    if find_spec("playwright") is None:
        missing("playwright is not installed: pip install playwright")
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def running_site() -> Iterator[Site]:
    """Yield a site of which the web server runs."""
    with temporary_folder() as folder:
        project = StartedProject(folder)
        project.starts_anew = False
        try:
            yield Site(project)
        finally:
            project.close()


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    """Yield the site with empty tables and no cluster."""
    yield running_site
    running_site.clear()


@pytest.fixture
def page(browser: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Yield a page of somebody who may do everything; at the end it is photographed.

    Parametrise it indirectly with options of the context, such as `viewport`.
    """
    options: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
    context = browser.new_context(**options | getattr(request, "param", {}))
    context.add_cookies(
        [{"name": "sessionid", "value": site.session, "url": f"http://{site.address}"}]
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on(
        "response",
        lambda got: errors.append(f"{got.status} {got.url}") if not is_fine(got) else None,
    )
    yield page
    photograph(page, request.node.name)
    context.close()
    assert not errors, "\n".join(errors)


def is_fine(response: Any) -> bool:
    return bool(response.status < 400)


def photograph(page: Page, name: str) -> None:
    """Save the whole page as it is now, under the test's name."""
    SCREENSHOTS.mkdir(exist_ok=True)
    path = SCREENSHOTS / f"{re.sub(r'[^a-z0-9]+', '_', name.removeprefix('test_')).strip('_')}.png"
    is_longer = page.evaluate("document.documentElement.scrollHeight > innerHeight")
    page.screenshot(path=path, full_page=is_longer)  # which takes twice as long
    print(f"screenshot: {path}")
