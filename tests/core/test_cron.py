"""Cron expressions: which are read, and which fit a type of schedule."""

import sys
from datetime import datetime

import pytest

from django_q import cron
from django_q.errors import ConfigurationError

NOON = datetime(2026, 1, 1, 12)


@pytest.mark.parametrize(
    ("expression", "following"),
    [
        ("*/5 * * * *", "2026-01-01 12:05:00"),
        ("0 22 * * 1-5", "2026-01-01 22:00:00"),
        ("0 8 L * *", "2026-01-31 08:00:00"),
        ("0 8 29 2 *", "2028-02-29 08:00:00"),
        ("0 8 * * mon#1", "2026-01-05 08:00:00"),
        ("0 8 * * L5", "2026-01-30 08:00:00"),
        ("* * * * * */20", "2026-01-01 12:00:20"),
        ("0 8 * * * 30", "2026-01-02 08:00:30"),
        ("0 8 1 1 * 0 2030", "2030-01-01 08:00:00"),
        ("0 8 1 1 * 0 2099", "2099-01-01 08:00:00"),
        ("@hourly", "2026-01-01 13:00:00"),
        ("@daily", "2026-01-02 00:00:00"),
        ("@weekly", "2026-01-04 00:00:00"),
    ],
)
def test_an_expression_has_a_first_time_after_another(expression, following):
    cron.check(expression)

    assert str(cron.read(expression).after(NOON)) == following


def test_an_expression_whose_years_are_over_has_no_next_time():
    assert cron.read("0 8 * * * 0 2025").after(NOON) is None


def test_an_expression_whose_years_are_over_is_refused_from_then_on():
    cron.check("0 8 * * * 0 2025", since=datetime(2025, 12, 31, 7))

    with pytest.raises(ValueError, match="is never due: the years it names are over"):
        cron.check("0 8 * * * 0 2025", since=NOON)


@pytest.mark.parametrize(
    "wrong", [None, "", "nonsense", "61 * * * *", "* * *", "@reboot", "* " * 8]
)
def test_what_is_no_expression_is_refused_with_an_example(wrong):
    with pytest.raises(ValueError, match=r"cron expression such as '\*/5 \* \* \* \*'"):
        cron.check(wrong)


@pytest.mark.parametrize("by_chance", ["H H * * *", "R * * * *", "0 h(2-4) * * *", "0 r/3 * * *"])
def test_a_time_left_to_chance_is_refused_since_clusters_could_not_agree(by_chance):
    with pytest.raises(ValueError, match="leaves a time to chance"):
        cron.check(by_chance)


@pytest.mark.parametrize("never", ["0 0 31 2 *", "0 0 30 2 * 0", "0 0 29 2 * 0 2027"])
def test_what_is_never_due_is_refused(never):
    with pytest.raises(ValueError, match="is never due"):
        cron.check(never)


def test_without_croniter_an_expression_read_before_is_refused_too(monkeypatch):
    cron.check("* * * * *")
    monkeypatch.setitem(sys.modules, "croniter", None)

    with pytest.raises(ConfigurationError, match=r'pip install "django-q-core\[cron\]"'):
        cron.check("* * * * *")


def test_an_expression_is_expanded_once_and_not_at_each_reading():
    assert cron.read("17 3 * * 2") is cron.read("17 3 * * 2")


@pytest.mark.parametrize(
    ("schedule_type", "expression"),
    [
        ("H", "30 * * * *"),
        ("H", "0 0-23 * * *"),
        ("H", "30 */1 * * * 15"),
        ("H", "@hourly"),
        ("D", "0 8 * * *"),
        ("D", "0 8 1-31 1-12 *"),
        ("D", "0 8 ? * ? 59"),
        ("D", "0 8 * * * 0 *"),
        ("D", "@daily"),
        ("W", "0 8 * * 1"),
        ("W", "0 8 * * 7"),
        ("W", "@weekly"),
        ("M", "0 8 1 * *"),
        ("M", "0 8 l * *"),
        ("M", "0 8 28 * *"),
        ("M", "0 8 * * mon#1"),
        ("M", "0 8 * * l5"),
        ("M", "@monthly"),
        ("C", "*/7 2 * * *"),
    ],
)
def test_an_expression_fits_the_type_that_is_as_often_due(schedule_type, expression):
    assert cron.misfit(schedule_type, expression) is None


@pytest.mark.parametrize(
    ("schedule_type", "expression", "field"),
    [
        ("H", "*/30 * * * *", "minute"),
        ("H", "0 8-18 * * *", "hour"),
        ("H", "0 * * * 1-5", "day of week"),
        ("H", "0 * * * * */30", "second"),
        ("D", "* 8 * * *", "minute"),
        ("D", "0 8,20 * * *", "hour"),
        ("D", "0 * * * *", "hour"),
        ("D", "0 8 * * 1-5", "day of week"),
        ("D", "0 8 1 * *", "day of month"),
        ("D", "0 8 * 1-11 *", "month"),
        ("D", "0 8 * * * *", "second"),
        ("D", "0 8 * * * 0 2030", "year"),
        ("W", "0 8 * * *", "day of week"),
        ("W", "0 8 * * 1,4", "day of week"),
        ("W", "0 8 * * 1#1", "day of week"),
        ("W", "0 8 1 * 1", "day of month"),
        ("M", "0 8 * * *", "day of month"),
        ("M", "0 8 1,15 * *", "day of month"),
        ("M", "0 8 31 * *", "day of month"),
        ("M", "0 8 1 * 1", "day of week"),
        ("M", "0 8 * * 1#5", "day of week"),
        ("M", "0 8 * * 1#1,1#2", "day of week"),
    ],
)
def test_one_that_does_not_fit_is_told_by_its_field(schedule_type, expression, field):
    why = cron.misfit(schedule_type, expression)

    assert f"the {field} of {expression!r}" in why
    assert f"type {schedule_type!r} needs a cron expression that is due exactly once a" in why


@pytest.mark.parametrize("schedule_type", ["O", "I", "BW", "BM", "Q", "Y"])
def test_other_types_take_no_cron_expression(schedule_type):
    why = cron.misfit(schedule_type, "0 8 * * *")

    assert f"type {schedule_type!r} takes no cron expression, but got '0 8 * * *'" in why


def test_an_expression_that_cannot_be_read_fits_nothing():
    with pytest.raises(ValueError, match="no cron expression"):
        cron.misfit("D", "61 8 * * *")
