"""`schedule()`: what it saves and what it refuses."""

import sys
from datetime import UTC, date, datetime, timedelta

import arrow
import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from django_q.errors import TaskRefused
from django_q.models import Schedule
from django_q.scheduling import arguments
from django_q.tasks import schedule

pytestmark = pytest.mark.django_db


def test_everything_is_kept_as_it_was_given():
    at = datetime(2030, 1, 1, 18, tzinfo=UTC)

    made = schedule(
        "math.hypot", 3, 4, name="triangle", hook="hooks.print_result", schedule_type="I",
        minutes=5, repeats=24, next_run=at, cluster="short", intended_date_kwarg="day",
        q_options={"timeout": 30}, scale=2,
    )  # fmt: skip

    saved = Schedule.objects.get(pk=made.pk)
    assert (saved.func, saved.hook, saved.name) == ("math.hypot", "hooks.print_result", "triangle")
    assert (saved.schedule_type, saved.minutes, saved.repeats) == ("I", 5, 24)
    assert (saved.next_run, saved.cluster, saved.intended_date_kwarg) == (at, "short", "day")
    assert arguments(saved) == ((3, 4), {"scale": 2}, {"timeout": 30})


def test_a_bare_schedule_runs_once_and_now():
    saved = schedule("math.pi")

    assert (saved.schedule_type, saved.repeats, saved.next_run is not None) == ("O", -1, True)


def test_a_name_that_is_taken_is_refused():
    schedule("math.sqrt", 9, name="root")

    with pytest.raises(IntegrityError, match="a schedule named 'root' exists already"):
        schedule("math.sqrt", 9, name="root")


def test_many_schedules_may_have_no_name():
    schedule("math.sqrt", 9)
    schedule("math.sqrt", 9)

    assert Schedule.objects.count() == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"schedule_type": "X"}, "'X' is no type of schedule; expected one of 'O', 'I', 'H'"),
        ({"schedule_type": "C", "cron": "nonsense"}, "'nonsense' is no cron expression"),
        ({"schedule_type": "C"}, "The type Cron needs a cron expression"),
        ({"intended_date_kwarg": "no name"}, "is not the name of a keyword argument"),
        ({"name": "n" * 101}, "name.* at most 100 characters"),
        ({"minutes": -1}, "minutes"),
        ({"schedule_type": "I", "minutes": 0}, "minutes must be a whole number, 1 or more, not 0"),
        ({"schedule_type": "I", "minutes": -5}, "minutes must be a whole number, 1 or more"),
        ({"schedule_type": "I", "minutes": 2.5}, "minutes must be a whole number, 1 or more"),
        ({"schedule_type": "I", "seconds": 0}, "seconds must be a whole number, 1 or more, not 0"),
        ({"schedule_type": "I", "seconds": "x"}, "seconds must be a whole number"),
        ({"schedule_type": "I", "seconds": 5, "minutes": 5}, "minutes=5 and seconds=5 are both"),
        ({"repeats": "x"}, "repeats must be a whole number, not 'x'"),
        ({"repeats": None}, "repeats must be a whole number, not None"),
        ({"next_run": "tomorrow"}, "next_run must be a datetime, or a text such as '2030-01-31"),
        ({"next_run": "2030-02-31"}, "next_run must be a datetime"),
        ({"next_run": 5}, "next_run must be a datetime"),
        ({"schedule_type": "D", "cron": "*/5 * * * *"}, "type 'D' needs a cron expression that"),
        ({"schedule_type": "H", "cron": "0 8 * * *"}, "type 'H' needs a cron expression that"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_field_and_the_cure(wrong, reason):
    with pytest.raises(ValidationError, match=reason):
        schedule("math.sqrt", 9, **wrong)

    assert not Schedule.objects.exists()


def test_an_argument_that_is_no_literal_is_refused_at_once():
    with pytest.raises(TaskRefused, match="args of the schedule cannot be read"):
        schedule("math.sqrt", datetime(2030, 1, 1, tzinfo=UTC))


def test_a_function_is_kept_as_its_dotted_path():
    assert schedule(arguments, 1).func == "django_q.scheduling.arguments"


def test_a_function_without_a_dotted_path_is_refused():
    with pytest.raises(TaskRefused, match="needs the dotted path of a function"):
        schedule(lambda: None)


SIX_PM = datetime(2030, 1, 31, 18, tzinfo=UTC)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("next_run", "expected"),
    [
        (SIX_PM, SIX_PM),
        (datetime(2030, 1, 31, 19), SIX_PM),
        (arrow.get(SIX_PM), SIX_PM),
        ("2030-01-31T18:00:00Z", SIX_PM),
        ("2030-01-31 19:00", SIX_PM),
        ("2030-01-31", SIX_PM.replace(day=30, hour=23)),
        (date(2030, 1, 31), SIX_PM.replace(day=30, hour=23)),
    ],
)
def test_the_next_run_may_be_written_in_many_ways(settings, next_run, expected):
    settings.TIME_ZONE = "Europe/Amsterdam"

    made = schedule("math.pi", next_run=next_run)

    assert made.next_run == Schedule.objects.get().next_run == expected


@pytest.mark.parametrize("next_run", [SIX_PM, datetime(2030, 1, 31, 19), "2030-01-31 19:00"])
def test_without_time_zones_the_next_run_is_naive(settings, next_run):
    settings.TIME_ZONE = "Europe/Amsterdam"
    settings.USE_TZ = False

    assert schedule("math.pi", next_run=next_run).next_run == datetime(2030, 1, 31, 19)


# Seconds


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(10, 1), (60, 1), (61, 2), ("90", 2), (10**7, 32767)]
)
def test_seconds_are_kept_with_the_minutes_that_an_old_scheduler_reads(seconds, minutes):
    made = schedule("math.floor", 1, schedule_type="I", seconds=seconds)

    assert (made.seconds, made.minutes) == (int(seconds), minutes)
    assert arguments(made) == ((1,), {}, {})
    assert made.calculate_next_run() == made.next_run + timedelta(seconds=int(seconds))


@pytest.mark.parametrize("options", [{}, {"schedule_type": "H"}])
def test_with_any_other_type_seconds_go_to_the_function(options):
    made = schedule("shop.tasks.wait", seconds=10, **options)

    assert made.seconds is None
    assert arguments(made) == ((), {"seconds": 10}, {})


# Cron


def test_a_cron_schedule_is_first_due_when_its_expression_says():
    saved = schedule("math.hypot", 3, 4, schedule_type=Schedule.CRON, cron="0 22 * * 1-5")

    assert (saved.next_run.hour, saved.next_run.minute) == (22, 0)


@pytest.mark.parametrize(
    ("schedule_type", "cron"),
    [("D", "0 8 * * *"), ("H", "5 * * * *"), ("W", "0 8 * * 1"), ("M", "0 8 1 * *")],
)
def test_a_type_with_a_cron_expression_that_fits_is_due_when_that_says(schedule_type, cron):
    saved = schedule("math.hypot", 3, 4, schedule_type=schedule_type, cron=cron)

    assert (saved.schedule_type, saved.cron) == ("C", cron)
    assert (saved.next_run.minute, saved.next_run.hour) in {(0, 8), (5, saved.next_run.hour)}


def test_a_cron_expression_that_nothing_reads_is_said_to_be_ignored(caplog):
    saved = schedule("math.hypot", 3, 4, schedule_type="Y", cron="0 8 * * *")

    assert (saved.schedule_type, saved.cron) == ("Y", "0 8 * * *")
    assert [record.getMessage() for record in caplog.records] == [
        "schedule(): cron='0 8 * * *' is ignored, since schedule_type is 'Y'; use 'C'"
    ]


@pytest.mark.parametrize("schedule_type", ["C", "D"])
def test_without_croniter_the_refusal_says_what_to_install(monkeypatch, schedule_type):
    monkeypatch.setitem(sys.modules, "croniter", None)

    with pytest.raises(ValidationError, match=r"django-q-core\[cron\]"):
        schedule("math.pi", schedule_type=schedule_type, cron="0 8 * * *")
