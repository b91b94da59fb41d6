"""Schedules, as Django Q2's own tests use them: saved, due, run, and moved on."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from django_q.brokers.memory import Memory
from django_q.models import Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage
from django_q.tasks import schedule
from django_q.utils import add_months, add_years, localtime
from tests.harness import Project

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


# What is saved


@pytest.mark.django_db
def test_a_name_is_given_to_one_schedule_only() -> None:
    first = schedule("math.copysign", 1, -1, name="test math", schedule_type="H", repeats=1)
    assert (first.last_run(), first.success()) == (None, None)

    with pytest.raises(IntegrityError):
        schedule("math.copysign", 1, -1, name="test math", schedule_type="H", repeats=1)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [letter for letter, _ in Schedule.TYPE])
def test_every_type_is_saved(kind: str) -> None:
    options = {"minutes": 10, "cron": "0 22 * * 1-5"} if kind in "IC" else {}

    saved = schedule("math.copysign", 1, -1, schedule_type=kind, **options)

    assert saved.pk
    assert saved.full_clean() is None
    assert str(saved) == "math.copysign"


@pytest.mark.django_db
def test_a_weekday_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError):
        schedule("math.copysign", 1, -1, schedule_type=Schedule.CRON, cron="0 22 * * 1-12")


@pytest.mark.django_db
@pytest.mark.parametrize("through", ["save", "create"])
def test_a_new_cron_schedule_is_due_in_the_future(through: str) -> None:
    fields = {"func": "math.sqrt", "schedule_type": Schedule.CRON, "cron": "0 12 * * *"}
    planned = Schedule(**fields)
    proposed = planned.next_run

    if through == "save":
        planned.save()
    else:
        planned = Schedule.objects.create(**fields)

    assert planned.next_run > proposed
    assert planned.next_run > timezone.now()


# When it is due next


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("start", "due"),
    [
        (
            datetime(2021, 3, 27, 1),
            ["2021-03-28 01:00:00+01:00", "2021-03-29 01:00:00+02:00", "2021-03-30 01:00:00+02:00"],
        ),
        (
            datetime(2021, 10, 29, 1),
            ["2021-10-30 01:00:00+02:00", "2021-10-31 01:00:00+02:00", "2021-11-01 01:00:00+01:00"],
        ),
    ],
    ids=["spring", "autumn"],
)
@pytest.mark.filterwarnings("ignore:DateTimeField Schedule.next_run received a naive datetime")
def test_a_daily_schedule_keeps_its_hour_when_the_clocks_change(
    settings: Any, start: datetime, due: list[str]
) -> None:
    settings.TIME_ZONE = "Europe/Amsterdam"
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "time_zone": "Europe/Amsterdam"}
    saved = schedule("math.copysign", 1, -1, schedule_type="D", next_run=start)
    saved.refresh_from_db()
    assert saved.next_run == start.replace(tzinfo=AMSTERDAM)

    found = []
    for _ in due:
        saved.next_run = saved.calculate_next_run()
        found.append(str(saved.next_run.astimezone(AMSTERDAM)))

    assert found == due


@pytest.mark.django_db
def test_what_is_due_can_be_queued_without_a_cluster() -> None:
    broker = Memory("scheduler_test")
    past, future = (timezone.now() + timedelta(hours=hours) for hours in (-12, 12))
    due = schedule("math.copysign", 1, -1, schedule_type="H", next_run=past)
    schedule("math.sqrt", 4, schedule_type="H", next_run=future)

    scheduler(broker=broker)

    [package] = [package for _, package in broker.dequeue() or ()]
    due.refresh_from_db()
    assert SignedPackage.loads(package)["id"] == due.task
    assert due.next_run == past + timedelta(hours=1)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        (datetime(2020, 2, 2), 3, datetime(2020, 5, 2)),
        (datetime(2020, 11, 2), 3, datetime(2021, 2, 2)),
        (datetime(2020, 1, 31), 1, datetime(2020, 2, 29)),
    ],
)
def test_months_are_added(start: datetime, months: int, end: datetime) -> None:
    assert add_months(start, months) == end


@pytest.mark.parametrize(
    ("start", "end"), [(date(2020, 2, 2), date(2021, 2, 2)), (date(2020, 2, 29), date(2021, 2, 28))]
)
def test_years_are_added(start: date, end: date) -> None:
    assert add_years(start, 1) == end


@pytest.mark.parametrize("use_tz", [True, False])
def test_local_time_is_aware_where_the_site_is(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz

    assert timezone.is_aware(localtime()) == use_tz


# What a cluster makes of them

SCHEDULE_ALL = """
from datetime import timedelta
from django.utils import timezone
from django_q.brokers.memory import Memory
from django_q.models import Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage
from django_q.tasks import schedule

hook = "tests.jobs.note_hook"
for kind, _ in Schedule.TYPE:
    options = {"minutes": 10} if kind == "I" else {}
    repeats = -1 if kind == "O" else 1
    if kind != "C":
        schedule("tests.jobs.ok", kind, name=kind, schedule_type=kind, repeats=repeats, hook=hook,
                 **options)
Schedule.objects.create(
    name="model", func="tests.jobs.ok", args="2", kwargs='answer="model"', schedule_type="D",
)
schedule("tests.jobs.ok", "cron", name="cron", schedule_type="C", cron="0 0 29 2 *")
schedule("tests.jobs.ok", "elsewhere", name="elsewhere", schedule_type="H", cluster="elsewhere")
schedule("tests.jobs.ok", "here", name="here", schedule_type="O", repeats=1, cluster="project")
schedule(
    "builtins.dict", name="intended", schedule_type="O", repeats=1, intended_date_kwarg="day",
    next_run=timezone.now() - timedelta(hours=1),
).next_run.isoformat()
"""

READ_ALL = """
from django_q.brokers.memory import Memory
from django_q.models import Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage
from django_q.tasks import fetch
{
    row.name: [
        row.repeats, row.success(), bool(row.last_run()), row.next_run.isoformat(),
        fetch(row.task).result if row.task else None,
    ]
    for row in Schedule.objects.all()
}
"""

ROUTER = """\
class Router:
    def database(self, model, **hints):
        return "other" if model._meta.app_label == "auth" else "default"

    db_for_read = db_for_write = database
"""


def test_every_type_of_schedule_runs_and_moves_on(project: Project) -> None:
    intended = project.run(SCHEDULE_ALL)
    began = datetime.now(UTC)

    cluster = project.start_cluster()
    project.wait_for_tasks(13)
    assert cluster.stop() == 0, cluster.log

    kinds = ["O", "I", "H", "D", "W", "BW", "M", "BM", "Q", "Y"]
    assert project.starts() == dict.fromkeys([*kinds, "2", "here"], 1)
    assert len([note for note in project.ledger() if note.event == "hook"]) == len(kinds)
    rows = project.run(READ_ALL)
    assert "O" not in rows
    assert {name: row[:3] for name, row in rows.items()} == {
        **{kind: [0, True, True] for kind in [*kinds[1:], "here", "intended"]},
        "model": [-2, True, True],
        **{name: [-1, None, False] for name in ("cron", "elsewhere")},
    }
    assert rows["model"][4] == "model"
    assert rows["intended"][4] == {"day": intended}
    due = {name: datetime.fromisoformat(row[3]) for name, row in rows.items()}
    assert due["H"] < began + timedelta(hours=1)
    assert due["BW"].date() in {(began + timedelta(days=days)).date() for days in (13, 14)}
    assert due["BM"].date() in {
        add_months(began + timedelta(days=days), 2).date() for days in (-1, 0)
    }


@pytest.mark.parametrize("catch_up", [True, False])
def test_catch_up_says_whether_missed_runs_are_made_up_for(
    project: Project, catch_up: bool
) -> None:
    project.configure({"catch_up": catch_up})
    project.run(
        "from datetime import timedelta; from django.utils import timezone\n"
        "from django_q.tasks import schedule\n"
        "schedule('tests.jobs.ok', 'late', schedule_type='H', name='late',\n"
        "         next_run=timezone.now() - timedelta(hours=11, minutes=30)).pk"
    )

    cluster = project.start_cluster()
    project.wait_for_tasks(12 if catch_up else 1)
    assert cluster.stop() == 0, cluster.log

    assert project.starts() == {"late": 12 if catch_up else 1}
    [next_run] = project.run(
        "from django_q.models import Schedule; [s.next_run.timestamp() for s in "
        "Schedule.objects.all()]"
    )
    assert next_run > datetime.now(UTC).timestamp()


def test_schedules_lie_in_the_database_that_the_router_gives_them(project: Project) -> None:
    (project.path / "routers.py").write_text(ROUTER)
    nowhere = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(project.path / "other.sqlite3")}
    project.configure(
        {},
        DATABASES={"default": project.database.settings, "other": nowhere},
        DATABASE_ROUTERS=["routers.Router"],
    )
    project.run(
        "from django_q.tasks import schedule\n"
        "schedule('tests.jobs.ok', 'scheduled', schedule_type='H').pk"
    )

    cluster = project.start_cluster()
    project.wait_for_tasks(1)
    assert cluster.stop() == 0, cluster.log

    assert project.starts() == {"scheduled": 1}
