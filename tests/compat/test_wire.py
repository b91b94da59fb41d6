"""Packages travel between Django Q2 and this project, and between upgraded and old processes."""

import json
import textwrap
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core import signing as django_signing
from hypothesis import given
from hypothesis import strategies as st

from django_q import package
from django_q.signing import BadSignature, PickleSerializer, SignedPackage

RECORDED = json.loads((Path(__file__).parent / "recorded_by_django_q2.json").read_text())
"""Made by Django Q2 1.11.1 with SECRET_KEY "recorded-key" and the name "recorded"."""

TASK = {
    "id": "0123456789abcdef0123456789abcdef",
    "name": "one-two-three-four",
    "func": "math.sqrt",
    "args": (4,),
    "kwargs": {},
    "started": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.fixture
def as_recorded(settings: Any) -> None:
    settings.SECRET_KEY = "recorded-key"
    settings.Q_CLUSTER = {"name": "recorded"}


@pytest.mark.usefixtures("as_recorded")
class TestPackagesOfDjangoQ2:
    def test_a_plain_task_is_read(self) -> None:
        task = package.loads(RECORDED["plain"])

        assert (task["func"], task["args"]) == ("math.copysign", (2, -2))
        assert len(task["id"]) == 32
        assert task["started"].tzinfo is not None

    def test_functions_and_options_are_read(self) -> None:
        task = package.loads(RECORDED["options"].encode())

        assert task["func"] is textwrap.dedent
        assert {key: task[key] for key in ("name", "group", "hook", "timeout", "save")} == {
            "name": "named",
            "group": "letters",
            "hook": "builtins.print",
            "timeout": 20,
            "save": False,
        }

    def test_values_are_read(self) -> None:
        task = package.loads(RECORDED["values"])

        assert task["args"] == ([Decimal("1.5"), date(2020, 2, 29)],)
        assert task["kwargs"]["reverse"] is True

    def test_chains_are_read(self) -> None:
        assert package.loads(RECORDED["chain"])["chain"] == [("math.ceil", (1.5,), {})]

    def test_compressed_packages_are_read(self) -> None:
        assert RECORDED["compressed"].startswith(".")
        assert package.loads(RECORDED["compressed"])["args"] == ("x" * 500,)

    @pytest.mark.parametrize("kind", sorted(RECORDED))
    def test_each_can_be_inspected(self, kind: str) -> None:
        read, inspected = package.loads(RECORDED[kind]), package.inspect(RECORDED[kind])

        assert inspected == {**read, "func": package.func_repr(read["func"])}

    def test_one_of_another_name_is_refused(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"name": "other"}

        with pytest.raises(BadSignature, match="'other'"):
            package.loads(RECORDED["plain"])


class TestDjangosOwnSigning:
    def test_the_text_is_the_same_to_the_byte(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.time", lambda: 1_800_000_000.5)

        ours = SignedPackage.dumps(TASK)

        assert ours == django_signing.dumps(TASK, salt="tests", serializer=PickleSerializer)

    def test_the_compressed_text_is_the_same_to_the_byte(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.time", lambda: 1_800_000_001.5)
        large = {**TASK, "args": ("x" * 1000,)}

        ours = SignedPackage.dumps(large, compressed=True)

        assert ours.startswith(".")
        assert ours == django_signing.dumps(
            large, salt="tests", serializer=PickleSerializer, compress=True
        )

    @given(values)
    def test_django_reads_ours(self, value: object) -> None:
        text = SignedPackage.dumps(value)

        assert django_signing.loads(text, salt="tests", serializer=PickleSerializer) == value

    @given(values, st.booleans())
    def test_ours_reads_djangos(self, value: object, compress: bool) -> None:
        text = django_signing.dumps(
            value, salt="tests", serializer=PickleSerializer, compress=compress
        )

        assert SignedPackage.loads(text) == value

    def test_a_secret_key_longer_than_a_block_signs_alike(self, settings: Any) -> None:
        settings.SECRET_KEY = "k" * 200

        text = SignedPackage.dumps(TASK)

        assert django_signing.loads(text, salt="tests", serializer=PickleSerializer) == TASK
