"""What could be imported from 1.x still can, and what is gone says where to go."""

import multiprocessing
import pickle
import signal
from datetime import date, datetime, timezone
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from django_q import exceptions, queues, timeout, utils
from django_q._moved import _PUBLIC, ENDED, PASSED_ON
from django_q.conf import Conf
from django_q.errors import DjangoQError, TimeoutException
from django_q.timeout import TimeoutHandler

GONE = [(module, name) for module, names in ENDED.items() for name in names]
MOVED = [(module, name) for module, names in PASSED_ON.items() for name in names]


@pytest.mark.parametrize(("module", "name"), GONE)
def test_functions_of_the_old_engine_say_what_to_use_instead(module: str, name: str) -> None:
    function = getattr(import_module(module), name)

    with pytest.raises(DjangoQError, match=rf"{module}.{name}\(\) went with the old engine\. \w+"):
        function("any", arguments=1)


@pytest.mark.parametrize(("module", "name"), MOVED)
def test_names_that_moved_are_passed_on(module: str, name: str) -> None:
    with pytest.deprecated_call(match=f"{module}.{name} has moved"):
        found = getattr(import_module(module), name)

    assert found is getattr(import_module(_PUBLIC[name]), name)


def test_stat_is_still_found_in_monitor() -> None:
    with pytest.deprecated_call():
        from django_q.monitor import Stat

    assert Stat is import_module("django_q.status").Stat


def test_other_names_do_not_exist() -> None:
    with pytest.raises(ImportError, match="nonsense"):
        exec("from django_q.monitor import nonsense")


def test_old_functions_can_be_patched() -> None:
    with mock.patch("django_q.pusher.pusher", return_value=7):
        assert import_module("django_q.pusher").pusher() == 7

    with pytest.raises(DjangoQError):
        import_module("django_q.pusher").pusher()


class TestTimeout:
    def test_the_exception_has_one_identity(self) -> None:
        assert exceptions.TimeoutException is timeout.TimeoutException is TimeoutException
        assert issubclass(TimeoutException, SystemExit)

    def test_a_fraction_of_a_second_is_kept(self) -> None:
        with pytest.raises(TimeoutException, match=r"\(0.01 seconds\)"), TimeoutHandler(0.01):
            signal.pause()

    @pytest.mark.parametrize("unlimited", [None, -1])
    def test_no_limit_arms_nothing(self, unlimited: float | None) -> None:
        before = signal.getsignal(signal.SIGALRM)

        with TimeoutHandler(unlimited):
            assert signal.getsignal(signal.SIGALRM) is before
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)

    def test_the_alarm_of_the_user_is_given_back(self) -> None:
        def mine(*args: object) -> None: ...

        before = signal.signal(signal.SIGALRM, mine)
        try:
            with TimeoutHandler(100):
                assert signal.getitimer(signal.ITIMER_REAL)[0] > 90
            assert signal.getsignal(signal.SIGALRM) is mine
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        finally:
            signal.signal(signal.SIGALRM, before)

    def test_in_another_thread_the_block_just_runs(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def work() -> str:
            with TimeoutHandler(0.001):
                return "ran"

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(work).result(10) == "ran"


class TestQueue:
    def test_counts_what_it_holds(self) -> None:
        queue = queues.Queue()

        queue.put("a")
        queue.put("b")
        first = queue.get(timeout=10)

        assert (first, queue.qsize(), queue.empty()) == ("a", 1, False)
        queue.get(timeout=10)
        queue.close()

    def test_crosses_to_a_child_process(self) -> None:
        context = multiprocessing.get_context("spawn")
        queue = queues.Queue(ctx=context)
        child = context.Process(target=_put, args=(queue,))

        child.start()
        item = queue.get(timeout=30)
        child.join(30)

        assert (item, queue.qsize()) == ("from the child", 0)
        queue.close()


def _put(queue: queues.Queue) -> None:
    queue.put("from the child")


class TestUtils:
    @pytest.mark.parametrize(
        ("day", "months", "result"),
        [
            (date(2026, 1, 31), 1, date(2026, 2, 28)),
            (date(2024, 1, 31), 1, date(2024, 2, 29)),
            (date(2026, 12, 31), 2, date(2027, 2, 28)),
            (date(2026, 3, 31), -1, date(2026, 2, 28)),
            (datetime(2026, 11, 5, 6, 7), 3, datetime(2027, 2, 5, 6, 7)),
        ],
    )
    def test_months_end_where_the_month_ends(self, day: Any, months: int, result: Any) -> None:
        assert utils.add_months(day, months) == result

    def test_years_move_the_29th_of_february_to_the_28th(self) -> None:
        assert utils.add_years(date(2024, 2, 29), 1) == date(2025, 2, 28)
        assert utils.add_years(date(2024, 2, 29), 4) == date(2028, 2, 29)

    def test_localtime_is_in_the_zone_of_schedules(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"time_zone": "Asia/Tokyo"}
        noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)  # noqa: UP017 - as users write it

        assert utils.localtime(noon).hour == 21
        assert utils.localtime().tzinfo == utils.ZoneInfo("Asia/Tokyo")

    def test_localtime_is_naive_without_use_tz(self, settings: Any) -> None:
        settings.USE_TZ = False
        naive = datetime(2026, 1, 1)

        assert utils.localtime(naive) is naive
        assert utils.localtime().tzinfo is None

    def test_connections_are_kept_in_sync_mode(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[str] = []
        monkeypatch.setattr("django.db.close_old_connections", lambda: closed.append("closed"))

        utils.close_old_django_connections()
        monkeypatch.setattr(Conf, "SYNC", True)
        utils.close_old_django_connections()

        assert closed == ["closed"]


def test_the_table_names_modules_that_exist() -> None:
    for module in {*ENDED, *PASSED_ON}:
        assert isinstance(import_module(module), ModuleType)


def test_the_old_exception_pickles() -> None:
    assert pickle.loads(pickle.dumps(exceptions.TimeoutException("x"))).args == ("x",)
