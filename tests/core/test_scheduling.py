"""When a schedule is due next, and how its arguments are read."""

import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from django_q import scheduling
from django_q.errors import ConfigurationError

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")


def clocks(schedule_type, start, count, zone=AMSTERDAM, **options):
    """What the wall clock shows at each of the next occurrences."""
    previous, current, shown = None, start.replace(tzinfo=zone), []
    for _ in range(count):
        following = scheduling.next_run(
            schedule_type, current, zone=zone, previous=previous, **options
        )
        previous, current = current, following
        shown.append(f"{following.astimezone(zone):%Y-%m-%d %H:%M%z}")
    return shown


@pytest.mark.parametrize(
    ("schedule_type", "expected"),
    [
        ("I", "2024-01-15 10:07"),
        ("H", "2024-01-15 11:00"),
        ("D", "2024-01-16 10:00"),
        ("W", "2024-01-22 10:00"),
        ("BW", "2024-01-29 10:00"),
        ("M", "2024-02-15 10:00"),
        ("BM", "2024-03-15 10:00"),
        ("Q", "2024-04-15 10:00"),
        ("Y", "2025-01-15 10:00"),
        ("C", "2024-01-15 22:00"),
    ],
)
def test_each_type_has_its_step(schedule_type, expected):
    start = datetime(2024, 1, 15, 10, tzinfo=UTC)

    following = scheduling.next_run(schedule_type, start, minutes=7, cron="0 22 * * *")

    assert f"{following:%Y-%m-%d %H:%M}" == expected


def test_once_has_no_next_run():
    assert scheduling.next_run("O", datetime(2024, 1, 15, tzinfo=UTC)) is None


def test_an_unknown_type_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'X' is no type of schedule; expected one of O, I, H"):
        scheduling.next_run("X", datetime(2024, 1, 15, tzinfo=UTC))


@pytest.mark.parametrize("schedule_type", ["D", "W", "BW", "M", "BM", "Q", "Y"])
def test_wall_clock_time_is_kept_over_both_switches(schedule_type):
    shown = clocks(schedule_type, datetime(2023, 3, 1, 9), 30)

    assert {clock[11:16] for clock in shown} == {"09:00"}


def test_hours_are_real_hours_over_a_switch():
    shown = clocks("H", datetime(2024, 10, 27, 1, 30), 3)

    assert shown == ["2024-10-27 02:30+0200", "2024-10-27 02:30+0100", "2024-10-27 03:30+0100"]


def test_a_time_that_the_switch_leaves_out_is_late_once():
    shown = clocks("D", datetime(2024, 3, 29, 2, 30), 4)

    assert shown == [
        "2024-03-30 02:30+0100",
        "2024-03-31 03:30+0200",
        "2024-04-01 02:30+0200",
        "2024-04-02 02:30+0200",
    ]


def test_a_time_that_comes_twice_is_due_the_first_time():
    shown = clocks("D", datetime(2024, 10, 26, 2, 30), 2)

    assert shown == ["2024-10-27 02:30+0200", "2024-10-28 02:30+0100"]


def test_a_switch_of_half_an_hour_is_kept_too():
    shown = clocks("D", datetime(2024, 4, 5, 1, 45), 3, zone=LORD_HOWE)

    assert shown == ["2024-04-06 01:45+1100", "2024-04-07 01:45+1100", "2024-04-08 01:45+1030"]


def test_the_day_lost_in_a_short_month_stays_lost():
    shown = clocks("M", datetime(2023, 1, 31, 9), 3)

    assert [clock[:10] for clock in shown] == ["2023-02-28", "2023-03-28", "2023-04-28"]


def test_a_yearly_run_on_the_leap_day_moves_to_the_28th():
    shown = clocks("Y", datetime(2024, 2, 29, 9), 4)

    assert [clock[:10] for clock in shown] == [f"{year}-02-28" for year in range(2025, 2029)]


def test_cron_counts_from_the_occurrence_so_that_missed_ones_are_caught_up():
    missed = datetime(2024, 1, 1, tzinfo=UTC)

    following = scheduling.next_run(
        "C", missed, cron="0 * * * *", now=datetime(2024, 6, 1, tzinfo=UTC)
    )

    assert following == missed + timedelta(hours=1)


def test_cron_in_the_hour_that_is_left_out_runs_an_hour_later_once():
    shown = clocks("C", datetime(2024, 3, 30, 4), 2, cron="30 2 * * *")

    assert shown == ["2024-03-31 03:30+0200", "2024-04-01 02:30+0200"]


def test_cron_of_every_hour_runs_in_the_hour_that_comes_twice():
    shown = clocks("C", datetime(2024, 10, 27, 1, 45), 5, cron="*/30 * * * *")

    assert shown == [
        "2024-10-27 02:00+0200",
        "2024-10-27 02:30+0200",
        "2024-10-27 02:00+0100",
        "2024-10-27 02:30+0100",
        "2024-10-27 03:00+0100",
    ]


def test_cron_of_every_hour_runs_on_through_the_hour_that_is_left_out():
    shown = clocks("C", datetime(2024, 3, 31, 1, 45), 3, cron="*/30 * * * *")

    assert shown == ["2024-03-31 03:00+0200", "2024-03-31 03:30+0200", "2024-03-31 04:00+0200"]


def test_cron_of_one_hour_runs_once_in_the_hour_that_comes_twice():
    shown = clocks("C", datetime(2024, 10, 27, 1), 2, cron="30 2 * * *")

    assert shown == ["2024-10-27 02:30+0200", "2024-10-28 02:30+0100"]


def test_cron_ignores_microseconds():
    start = datetime(2024, 1, 1, 0, 0, 0, 5, tzinfo=UTC)

    assert scheduling.next_run("C", start, cron="* * * * *") == datetime(
        2024, 1, 1, 0, 1, tzinfo=UTC
    )


def test_cron_may_count_seconds_in_a_sixth_field():
    start = datetime(2024, 1, 1, tzinfo=UTC)

    assert scheduling.next_run("C", start, cron="* * * * * */20").second == 20


@pytest.mark.parametrize("cron", [None, "", "nonsense", "61 * * * *"])
def test_a_bad_cron_expression_is_named(cron):
    with pytest.raises(ValueError, match="cron expression"):
        scheduling.next_run("C", datetime(2024, 1, 1, tzinfo=UTC), cron=cron)


def test_a_cron_expression_that_never_comes_true_is_named():
    with pytest.raises(ValueError, match=r"'0 0 30 2 \*' is never due"):
        scheduling.next_run("C", datetime(2024, 1, 1, tzinfo=UTC), cron="0 0 30 2 *")


def test_without_croniter_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "croniter", None)

    with pytest.raises(ConfigurationError, match=r'pip install "django-q-core\[cron\]"'):
        scheduling.next_run("C", datetime(2024, 1, 1, tzinfo=UTC), cron="* * * * *")


@pytest.mark.parametrize("schedule_type", [t for t in scheduling.TYPES if t != "O"])
def test_without_catch_up_the_next_run_is_the_first_one_ahead(schedule_type):
    start = datetime(2021, 1, 31, 2, 30, tzinfo=AMSTERDAM)
    now = datetime(2024, 3, 30, 12, tzinfo=AMSTERDAM)
    options = {"minutes": 7, "cron": "*/7 * * * *", "zone": AMSTERDAM}
    one_by_one = start
    while one_by_one <= now and schedule_type not in ("I", "H", "C"):
        one_by_one = scheduling.next_run(schedule_type, one_by_one, **options)

    ahead = scheduling.next_run(schedule_type, start, now=now, catch_up=False, **options)

    assert ahead > now
    if schedule_type in ("I", "H", "C"):
        assert ahead - now <= timedelta(hours=1)
    else:
        assert f"{ahead:%m-%d}" == f"{one_by_one:%m-%d}"


def test_a_site_without_time_zones_schedules_in_naive_time():
    following = scheduling.next_run("M", datetime(2024, 1, 31, 9))

    assert following == datetime(2024, 2, 29, 9)


# At the edges


@pytest.mark.parametrize(
    ("schedule_type", "options"),
    [("I", {"seconds": 2**31 - 1}), ("H", {}), ("D", {}), ("BW", {}), ("M", {}), ("Y", {})],
)
@pytest.mark.parametrize("zone", [UTC, None])
def test_what_would_be_due_after_the_last_year_is_an_error_that_says_so(
    schedule_type, options, zone
):
    last = datetime(9999, 12, 31, 23, 30, tzinfo=zone)

    with pytest.raises(ValueError, match="after the year 9999"):
        scheduling.next_run(schedule_type, last, zone=zone and AMSTERDAM, **options)


@pytest.mark.parametrize(("minutes", "seconds"), [(0, 0), (None, None), (1, 0), (5, 60)])
def test_nothing_but_a_minute_is_meant_by_a_step_of_nothing(minutes, seconds):
    start = datetime(2024, 1, 1, tzinfo=UTC)

    following = scheduling.next_run("I", start, minutes=minutes, seconds=seconds)

    assert following == start + timedelta(minutes=1)


def test_a_step_of_many_years_of_seconds_is_possible():
    start = datetime(2024, 1, 1, tzinfo=UTC)

    assert scheduling.next_run("I", start, seconds=2**31 - 1).year == 2092


@pytest.mark.parametrize(
    ("schedule_type", "expected"),
    [
        ("I", "2024-04-01 02:32:00.000250"),
        ("H", "2024-04-01 03:30:00.000250"),
        ("D", "2024-04-02 02:30:00.000250"),
        ("W", "2024-04-07 02:30:00.000250"),
        ("M", "2024-04-30 02:30:00.000250"),
        ("Y", "2025-03-31 02:30:00.000250"),
        ("C", "2024-04-02 02:00:00"),
    ],
)
def test_naive_time_knows_no_switch_and_keeps_its_microseconds(schedule_type, expected):
    start = datetime(2024, 3, 31, 2, 30, 0, 250)
    now = datetime(2024, 4, 1, 2, 31)

    following = scheduling.next_run(
        schedule_type, start, minutes=7, cron="0 2 * * *", zone=AMSTERDAM, now=now, catch_up=False
    )

    assert str(following) == expected


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Asia/Kathmandu", "Etc/GMT+12"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "30 * * * *"])
def test_where_no_clock_is_switched_cron_has_the_same_pace_all_year(zone, cron):
    start = datetime(2024, 1, 1, 2, 30, tzinfo=ZoneInfo(zone))

    days = [start + timedelta(days=day) for day in range(0, 366, 5)]
    steps = {scheduling.next_run("C", day, cron=cron, zone=zone) - day for day in days}

    assert steps == {timedelta(hours=1) if "* * * *" in cron else timedelta(days=1)}


def test_an_expression_whose_years_are_over_has_no_next_run():
    start = datetime(2024, 1, 1, tzinfo=UTC)

    assert scheduling.next_run("C", start, cron="0 8 * * * 0 2023", zone=AMSTERDAM) is None
    assert scheduling.next_run("C", start, cron="0 * * * * 0 2023", zone=AMSTERDAM) is None


# Arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ()),
        ("", ()),
        ("  ", ()),
        ("()", ()),
        ("2,-2", (2, -2)),
        ("(1,)", (1,)),
        ("'John'", ("John",)),
        ("[1, 2]", ([1, 2],)),
        ((1, 2), (1, 2)),
    ],
)
def test_args_are_read_in_each_spelling(text, expected):
    assert scheduling.parse_args(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        (" ", {}),
        ("{}", {}),
        ("{'x': 1}", {"x": 1}),
        ("x=1, y='two', z=-3.5", {"x": 1, "y": "two", "z": -3.5}),
        ({"x": 1}, {"x": 1}),
    ],
)
def test_kwargs_are_read_in_each_spelling(text, expected):
    assert scheduling.parse_kwargs(text) == expected


@pytest.mark.parametrize("text", ["(1,", "John", "f(1)", "1 2"])
def test_args_that_are_no_literals_are_refused_with_the_cure(text):
    with pytest.raises(ValueError, match=r"args of the schedule cannot be read: .* literals"):
        scheduling.parse_args(text)


@pytest.mark.parametrize(
    "text", ["1, 2", "x", "x=y", "{1: 2}", "**{'a': 1}", "x=1) + f(y=2", "'s'"]
)
def test_kwargs_that_are_no_named_literals_are_refused(text):
    with pytest.raises(ValueError, match="kwargs of the schedule cannot be read"):
        scheduling.parse_kwargs(text)


def test_queue_options_are_taken_out_of_the_kwargs():
    row = SimpleNamespace(args="1", kwargs="x=2, q_options={'timeout': 30}")

    assert scheduling.arguments(row) == ((1,), {"x": 2}, {"timeout": 30})


def test_queue_options_that_are_no_dict_are_refused():
    row = SimpleNamespace(args="", kwargs="q_options=5")

    with pytest.raises(ValueError, match="q_options of a schedule must be a dict"):
        scheduling.arguments(row)
