"""The task dict: what it may hold, and how it is read without trusting it."""

import datetime as dt
import enum
import functools
import math
import pickle
import sys
import types
import zoneinfo
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from django_q import package
from django_q.errors import BadPackage
from django_q.signing import BadSignature, SignedPackage


def task(**changes: Any) -> dict[str, Any]:
    name, task_id = package.new_id()
    return {
        "id": task_id,
        "name": name,
        "func": "math.sqrt",
        "args": (4,),
        "kwargs": {},
        "started": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        **changes,
    }


class Thing:
    def __init__(self, size: int = 0) -> None:
        self.size = size

    def method(self) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...


class Color(enum.Enum):
    RED = 1


class Bomb:
    """Does its harm when it is unpickled."""

    def __reduce__(self) -> Any:
        return explode, ()


exploded: list[str] = []


def explode() -> None:
    exploded.append("boom")


@pytest.fixture
def vanished() -> Iterator[str]:
    """A package whose function is in a module that this process does not have."""
    module = types.ModuleType("vanished_module")
    exec("def work(): pass", module.__dict__)
    sys.modules["vanished_module"] = module
    text = package.dumps(task(func=module.work, name="lost"))
    del sys.modules["vanished_module"]
    return text


class TestLoads:
    def test_a_task_comes_back(self) -> None:
        sent = task(func=functools.reduce, group="g", hook=Thing.method)

        assert package.loads(package.dumps(sent)) == sent

    @pytest.mark.parametrize("missing", ["id", "name", "func", "args", "kwargs", "started"])
    def test_a_task_that_lacks_a_key_is_bad(self, missing: str) -> None:
        sent = task()
        del sent[missing]

        with pytest.raises(BadPackage, match=f"lacks {missing}"):
            package.loads(package.dumps(sent))

    @pytest.mark.parametrize("payload", [None, [1], "text", 7])
    def test_what_is_no_dict_is_bad(self, payload: object) -> None:
        with pytest.raises(BadPackage, match=type(payload).__name__):
            package.loads(SignedPackage.dumps(payload))

    @pytest.mark.parametrize("changes", [{"args": "abc"}, {"kwargs": [1]}, {"id": 7}])
    def test_a_task_of_the_wrong_shape_is_bad(self, changes: dict[str, Any]) -> None:
        with pytest.raises(BadPackage):
            package.loads(package.dumps(task(**changes)))

    def test_a_missing_module_is_bad_and_named(self, vanished: str) -> None:
        with pytest.raises(BadPackage, match="vanished_module"):
            package.loads(vanished)

    def test_unsigned_text_is_nobodys_task(self) -> None:
        with pytest.raises(BadSignature):
            package.loads("gAWVAAAA:1abcde:xyz")


class TestInspect:
    def test_a_task_of_a_vanished_module_tells_who_it_was(self, vanished: str) -> None:
        seen = package.inspect(vanished)

        assert (seen["name"], seen["func"]) == ("lost", "vanished_module.work")
        assert seen["args"] == (4,)

    def test_nothing_in_it_runs(self) -> None:
        text = package.dumps(task(args=(Bomb(),)))

        seen = package.inspect(text)

        assert not exploded
        assert repr(seen["args"]) == f"({__name__}.explode,)"

    def test_nothing_in_it_is_imported(self) -> None:
        module = types.ModuleType("never_imported")
        exec("import sys\nclass A: pass", module.__dict__)
        sys.modules["never_imported"] = module
        text = package.dumps(task(args=(module.A(),)))
        del sys.modules["never_imported"]

        package.inspect(text)

        assert "never_imported" not in sys.modules

    @pytest.mark.parametrize(
        "value",
        [
            dt.date(2026, 1, 2),
            dt.datetime(2026, 1, 2, 3, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
            dt.datetime(2026, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            dt.timedelta(1),
            Decimal("1.2"),
            uuid4(),
            OrderedDict(a=1),
            {1, 2},
            frozenset({3}),
            {"nested": [(1, b"x")]},
            1j,
            range(3),
        ],
    )
    def test_plain_values_come_as_they_are(self, value: object) -> None:
        assert package.inspect(package.dumps(task(args=(value,))))["args"] == (value,)

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (Thing(3), "Thing"),
            (Thing, "Thing"),
            (Color.RED, "Color"),
            (Thing.of_class, "Thing.of_class"),
            (Thing().method, "Thing.method"),
        ],
    )
    def test_objects_print_as_their_dotted_path(self, value: object, written: str) -> None:
        (seen,) = package.inspect(package.dumps(task(args=(value,))))["args"]

        assert repr(seen) == f"{__name__}.{written}"

    @pytest.mark.parametrize("value", [Thing(3), defaultdict(list, a=[1]), ValueError("x")])
    def test_a_stand_in_pickles_as_its_path(self, value: object) -> None:
        (seen,) = package.inspect(package.dumps(task(args=(value,))))["args"]

        assert pickle.loads(pickle.dumps(seen)) == repr(seen)

    def test_what_is_missing_is_filled_in(self) -> None:
        seen = package.inspect(SignedPackage.dumps({"id": "a" * 32, "func": "math.sqrt"}))

        assert (seen["name"], seen["args"], seen["kwargs"]) == ("a" * 32, (), {})
        assert seen["started"].tzinfo is dt.UTC

    def test_what_is_no_task_is_bad(self) -> None:
        with pytest.raises(BadPackage):
            package.inspect(SignedPackage.dumps({"no": "id"}))

    def test_an_altered_package_is_refused(self) -> None:
        with pytest.raises(BadSignature):
            package.inspect(package.dumps(task())[:-1] + "!")


class TestProblem:
    def test_a_good_task_has_none(self) -> None:
        assert package.problem(task(group="g" * 100, timeout=0.5, hook="math.ceil")) is None

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"name": "n" * 101}, "name of a task has at most 100 characters, not 101"),
            ({"group": "g" * 101}, "group of a task has at most 100 characters, not 101"),
            ({"cluster": "c" * 101}, "cluster"),
            ({"id": "i" * 33}, "at most 32"),
            ({"func": "a." + "f" * 255}, "func of a task has at most 256 characters, not 257"),
            ({"hook": "a." + "f" * 255}, "hook of a task has at most 256"),
            ({"func": 7}, "not 7"),
            ({"func": None}, "not None"),
            ({"func": "no path"}, "not 'no path'"),
            ({"func": "unknown"}, "not 'unknown'"),
            ({"timeout": 0}, "greater than 0, or None, not 0"),
            ({"timeout": -1}, "not -1"),
            ({"timeout": "5"}, "not '5'"),
            ({"timeout": True}, "not True"),
            ({"timeout": float("nan")}, "not nan"),
        ],
    )
    def test_names_the_limit_and_the_value(self, changes: dict[str, Any], said: str) -> None:
        assert said in str(package.problem(task(**changes)))

    @pytest.mark.parametrize(
        "func",
        ["print", "math.sqrt", "a.b.C.d", "my-module.m0.0001_x.f", print, Thing, Thing().method],
    )
    def test_callables_and_dotted_paths_are_welcome(self, func: object) -> None:
        assert package.problem(task(func=func)) is None


class TestFuncRepr:
    @pytest.mark.parametrize(
        ("func", "written"),
        [
            ("a.b", "a.b"),
            (explode, f"{__name__}.explode"),
            (Thing.of_class, f"{__name__}.Thing.of_class"),
            (print, "<built-in function print>"),
            (None, None),
            ("", None),
        ],
    )
    def test_is_that_of_1x(self, func: object, written: str | None) -> None:
        assert package.func_repr(func) == written


class TestNames:
    def test_an_id_is_32_hex_digits_of_a_uuid(self) -> None:
        name, task_id = package.new_id()

        assert (len(task_id), task_id[12], task_id[16] in "89ab") == (32, "4", True)
        assert name.count("-") == 3

    def test_a_thousand_ids_differ(self) -> None:
        assert len({package.new_id()[1] for _ in range(1000)}) == 1000


class TestJSON:
    def test_functions_travel_by_name(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"serializer": "json"}
        sent = task(func=explode, hook=explode, chain=[(explode, (1,)), explode])

        back = package.loads(package.dumps(sent))

        path = f"{explode.__module__}.explode"
        assert (back["func"], back["hook"], back["chain"]) == (path, path, [(path, (1,)), path])

    @pytest.mark.parametrize(
        ("func", "path"),
        [(math.sqrt, "math.sqrt"), (print, "builtins.print"), (dict, "builtins.dict")],
    )
    def test_builtins_travel_by_name(self, settings: Any, func: object, path: str) -> None:
        settings.Q_CLUSTER = {"serializer": "json"}

        assert package.loads(package.dumps(task(func=func)))["func"] == path

    def test_a_function_that_has_no_name_is_refused(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"serializer": "json"}

        with pytest.raises(TypeError, match="lambda"):
            package.dumps(task(func=lambda: None))

    def test_args_that_are_no_values_are_refused(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"serializer": "json"}

        with pytest.raises(TypeError, match="Thing"):
            package.dumps(task(args=(Thing(),)))
