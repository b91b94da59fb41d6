"""`schedule()`: what it saves and what it refuses."""

from datetime import UTC, datetime
from types import SimpleNamespace

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
    "wrong",
    [
        {"schedule_type": "X"},
        {"schedule_type": "C", "cron": "nonsense"},
        {"intended_date_kwarg": "no name"},
        {"name": "n" * 101},
        {"minutes": -1},
    ],
)
def test_a_wrong_field_is_refused_by_the_models_validation(wrong):
    with pytest.raises(ValidationError):
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


def test_an_arrow_is_as_good_as_a_datetime():
    at = datetime(2030, 1, 1, 18, tzinfo=UTC)

    assert schedule("math.pi", next_run=SimpleNamespace(datetime=at)).next_run == at


def test_a_cron_schedule_is_first_due_when_its_expression_says():
    saved = schedule("math.hypot", 3, 4, schedule_type=Schedule.CRON, cron="0 22 * * 1-5")

    assert (saved.next_run.hour, saved.next_run.minute) == (22, 0)


def test_a_daily_schedule_with_a_cron_expression_is_due_when_that_says():
    saved = schedule("math.hypot", 3, 4, schedule_type="D", cron="0 8 * * *")

    assert (saved.schedule_type, saved.next_run.hour, saved.next_run.minute) == ("C", 8, 0)
