"""Every page and action of this app's admin, driven once by hand, so to speak, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def rows(page: Page) -> Locator:
    return page.locator("#result_list tbody tr")


def act(page: Page, label: str, *names: str) -> None:
    """Mark the rows with these names, or all, and run an action."""
    if names:
        for name in names:
            rows(page).filter(has_text=name).locator("input.action-select").check()
    else:
        page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option(label=label)
    page.locator("button[name=index]").click()


def saved(page: Page) -> str:
    """Return what the admin says it has done."""
    return page.locator("ul.messagelist").inner_text()


# Finished tasks


def finish(site: Site, *names: str, func: str = "tests.jobs.ok", group: str = "") -> None:
    """Run tasks of these names to their end."""
    site.run(
        "import contextlib\n"
        f"for name in {names!r}:\n"
        "    with contextlib.suppress(ValueError):\n"
        f"        async_task({func!r}, name, task_name=name, group={group!r} or None, sync=True)"
    )


def test_successes_are_listed(page: Page, site: Site) -> None:
    finish(site, "mail-ada", "mail-bob", group="mail")
    finish(site, "import-prices")

    page.goto(site.url("success/"))

    assert rows(page).count() == 3
    assert "tests.jobs.ok" in rows(page).first.inner_text()


def test_successes_are_searched(page: Page, site: Site) -> None:
    finish(site, "mail-ada", "mail-bob", group="mail")
    page.goto(site.url("success/"))

    page.locator("#searchbar").fill("mail-b")
    page.locator("#changelist-search input[type=submit]").click()

    assert rows(page).count() == 1
    assert "mail-bob" in rows(page).inner_text()


def test_successes_are_filtered_by_their_group(page: Page, site: Site) -> None:
    finish(site, "mail-ada", "mail-bob", group="mail")
    finish(site, "import-prices", group="import")
    page.goto(site.url("success/"))

    page.locator("#changelist-filter").get_by_role("link", name="import", exact=True).click()

    assert rows(page).count() == 1
    assert "import-prices" in rows(page).inner_text()


def test_the_page_of_a_success_shows_what_it_was_given_and_returned(page: Page, site: Site) -> None:
    site.run("async_task('tests.jobs.ok', 'ada', {'sent': 12}, task_name='mail-ada', sync=True)")
    page.goto(site.url("success/"))

    page.get_by_role("link", name="mail-ada").click()

    shown = page.locator("#content-main").inner_text()
    assert "('ada', {'sent': 12})" in shown
    assert "tests.jobs.ok" in shown
    assert page.locator("[name=_save]").count() == 0


def test_failures_are_listed_with_the_reason(page: Page, site: Site) -> None:
    finish(site, "mail-ada", func="tests.jobs.fail")

    page.goto(site.url("failure/"))

    assert rows(page).count() == 1
    assert "on purpose" in rows(page).inner_text()


def test_the_page_of_a_failure_shows_its_traceback(page: Page, site: Site) -> None:
    finish(site, "mail-ada", func="tests.jobs.fail")
    page.goto(site.url("failure/"))

    page.get_by_role("link", name="mail-ada").click()

    assert "Traceback (most recent call last)" in page.locator("#content-main").inner_text()


def test_a_failure_that_is_resubmitted_runs_again_and_its_row_is_gone(
    page: Page, site: Site
) -> None:
    finish(site, "mail-ada", "mail-bob", func="tests.jobs.fail")
    starts = site.project.starts()["mail-ada"]
    site.start_cluster()
    page.goto(site.url("failure/"))

    act(page, "Resubmit selected tasks to queue", "mail-ada")

    assert "1 task was resubmitted." in saved(page)
    site.project.wait_until(lambda: site.project.starts()["mail-ada"] > starts, what="its start")


def test_finished_tasks_are_deleted_after_a_question(page: Page, site: Site) -> None:
    finish(site, "mail-ada", "mail-bob")
    page.goto(site.url("success/"))
    act(page, "Delete selected Successful tasks", "mail-ada")
    assert "Are you sure" in page.locator("#content").inner_text()

    page.get_by_role("button", name="Yes").click()

    assert "mail-bob" in rows(page).inner_text()
    assert rows(page).count() == 1


# Schedules


def plan(site: Site, name: str, **fields: object) -> None:
    """Make a schedule of which nothing is due."""
    due = "next_run=timezone.now() + timedelta(days=1)"
    fields = {"name": name, "func": "tests.jobs.ok", "args": repr(name)} | fields
    site.run(f"Schedule.objects.create(**{fields!r}, {due})")


def test_schedules_are_listed(page: Page, site: Site) -> None:
    plan(site, "nightly", schedule_type="D")
    plan(site, "hourly", schedule_type="H", repeats=3)

    page.goto(site.url("schedule/"))

    assert rows(page).count() == 2
    assert "nightly" in page.locator("#result_list").inner_text()


def test_a_schedule_is_added(page: Page, site: Site) -> None:
    page.goto(site.url("schedule/"))
    page.get_by_role("link", name="Add scheduled task").click()
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("Function", exact=False).first.fill("tests.jobs.ok")
    page.locator("#id_schedule_type").select_option(label="Daily")

    page.get_by_role("button", name="Save", exact=True).click()

    assert "was added successfully" in saved(page)
    assert "nightly" in rows(page).inner_text()


def test_a_schedule_is_changed(page: Page, site: Site) -> None:
    plan(site, "nightly", schedule_type="D")
    page.goto(site.url("schedule/"))
    page.get_by_role("link", name="nightly").click()
    page.locator("#id_repeats").fill("5")

    page.get_by_role("button", name="Save and continue editing").click()

    assert "was changed successfully" in saved(page)
    assert page.locator("#id_repeats").input_value() == "5"


def test_a_schedule_is_deleted_after_a_question(page: Page, site: Site) -> None:
    plan(site, "nightly", schedule_type="D")
    page.goto(site.url("schedule/"))
    page.get_by_role("link", name="nightly").click()
    page.locator(".deletelink").click()

    page.get_by_role("button", name="Yes").click()

    assert "was deleted successfully" in saved(page)
    assert rows(page).count() == 0


def test_a_schedule_is_run_now(page: Page, site: Site) -> None:
    plan(site, "nightly", schedule_type="D")
    site.start_cluster()
    page.goto(site.url("schedule/"))

    act(page, "Run selected schedules now", "nightly")

    said = saved(page)
    site.project.wait_for_tasks(1)
    page.reload()
    assert "1 schedule" in said
    assert rows(page).locator("img[alt=True]").count() == 1


def test_a_schedule_is_paused(page: Page, site: Site) -> None:
    plan(site, "nightly", schedule_type="D")
    page.goto(site.url("schedule/"))

    act(page, "Pause selected schedules", "nightly")

    assert "1 schedule" in saved(page)
    assert rows(page).locator(".field-get_repeats").inner_text() == "paused"
    assert site.project.query("SELECT repeats FROM django_q_schedule") == [(0,)]


def test_a_schedule_is_resumed(page: Page, site: Site) -> None:
    plan(site, "nightly", schedule_type="D", repeats=0, paused_repeats=-1)
    page.goto(site.url("schedule/"))

    act(page, "Resume selected schedules", "nightly")

    assert "1 schedule" in saved(page)
    assert site.project.query("SELECT repeats FROM django_q_schedule") == [(-1,)]


def test_a_declared_schedule_cannot_be_changed_and_says_why(page: Page, site: Site) -> None:
    plan(site, "nightly", schedule_type="D", declaration="d" * 64)
    page.goto(site.url("schedule/"))

    page.get_by_role("link", name="nightly").click()

    assert "has the decorator @schedule" in page.locator("#content-main").inner_text()
    assert page.locator("#content-main input:not([type=hidden])").count() == 0


# Queued tasks


def queue(site: Site, *names: str) -> None:
    """Queue tasks of these names that may not run before tomorrow."""
    site.run(
        f"for name in {names!r}:\n"
        "    async_task('tests.jobs.ok', name, task_name=name, group='mail')\n"
        "OrmQ.objects.update(lock=timezone.now() + timedelta(days=1))"
    )


def test_queued_tasks_are_listed(page: Page, site: Site) -> None:
    queue(site, "mail-ada", "mail-bob")

    page.goto(site.url("ormq/"))

    assert rows(page).count() == 2
    assert "mail-ada" in page.locator("#result_list").inner_text()


def test_the_page_of_a_queued_task_shows_what_it_will_be_given(page: Page, site: Site) -> None:
    queue(site, "mail-ada")
    page.goto(site.url("ormq/"))

    rows(page).get_by_role("link").click()

    shown = page.locator("#content-main").inner_text()
    assert "('mail-ada',)" in shown
    assert page.locator("#content-main input[type=text]").count() == 3  # the key, a day, a time


def test_a_queued_task_is_moved_to_another_queue_and_put_off(page: Page, site: Site) -> None:
    queue(site, "mail-ada")
    page.goto(site.url("ormq/"))
    rows(page).get_by_role("link").click()
    page.locator("#id_key").fill("slow")
    page.locator("#id_lock_0").fill("2030-01-31")
    page.locator("#id_lock_1").fill("18:00:00")

    page.get_by_role("button", name="Save and continue editing").click()

    assert "was changed successfully" in saved(page)
    ((key, lock),) = site.project.query("SELECT key, lock FROM django_q_ormq")
    assert (key, lock[:16]) == ("slow", "2030-01-31 18:00")


def test_a_queued_task_that_is_released_runs_at_once(page: Page, site: Site) -> None:
    queue(site, "mail-cid", "mail-dot")
    site.start_cluster()
    page.goto(site.url("ormq/"))

    act(page, "Release selected tasks at once", "mail-cid")

    assert "1 task was released." in saved(page)
    site.project.wait_until(lambda: site.project.starts()["mail-cid"] == 1, what="its start")
    assert site.project.starts()["mail-dot"] == 0


def test_queued_tasks_are_deleted_after_a_question(page: Page, site: Site) -> None:
    queue(site, "mail-ada", "mail-bob")
    page.goto(site.url("ormq/"))
    act(page, "Delete selected Queued tasks")

    page.get_by_role("button", name="Yes").click()

    assert "Successfully deleted 2" in saved(page)
    assert rows(page).count() == 0
