"""Signatures: who may put work on the queue, and what carries it."""

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_q.conf import Conf, get_settings
from django_q.errors import ConfigurationError
from django_q.signing import BadSignature, JSONSerializer, SignedPackage


def test_what_was_signed_comes_back() -> None:
    assert SignedPackage.loads(SignedPackage.dumps({"a": (1, 2)})) == {"a": (1, 2)}


def test_bytes_from_the_broker_are_read() -> None:
    assert SignedPackage.loads(SignedPackage.dumps([1]).encode()) == [1]


@pytest.mark.parametrize(
    "text", ["", "unsigned", "no:signature", "a:b:c", ":::", "ü:1:x", b"\xff:1:x", b"", None, 7]
)
def test_what_nobody_signed_is_refused(text: str) -> None:
    with pytest.raises(BadSignature):
        SignedPackage.loads(text)


@given(st.data())
def test_a_changed_character_is_noticed(data: st.DataObject) -> None:
    text = SignedPackage.dumps([1, 2, 3])
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("aZ0-_:.").filter(lambda each: each != text[place]))

    with pytest.raises(BadSignature):
        SignedPackage.loads(text[:place] + other + text[place + 1 :])


def test_an_altered_payload_is_not_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    text, other = SignedPackage.dumps("work"), SignedPackage.dumps("other work")
    forged = other.split(":")[0] + text[text.index(":") :]
    monkeypatch.setattr("pickle.loads", lambda data: pytest.fail("the payload was interpreted"))

    with pytest.raises(BadSignature):
        SignedPackage.loads(forged)


def test_a_rotated_key_still_reads_what_waits(settings: Any) -> None:
    waiting = SignedPackage.dumps("waiting")

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]

    assert SignedPackage.loads(waiting) == "waiting"


def test_a_rotated_key_signs_what_is_new(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]
    text = SignedPackage.dumps("work")

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "old", []

    with pytest.raises(BadSignature):
        SignedPackage.loads(text)


def test_a_missing_secret_key_is_said_in_one_sentence(settings: Any) -> None:
    settings.SECRET_KEY = ""

    with pytest.raises(ConfigurationError, match="SECRET_KEY is missing"):
        SignedPackage.dumps("work")


def test_a_secret_key_assigned_to_conf_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SignedPackage.dumps("work")

    monkeypatch.setattr(Conf, "SECRET_KEY", "assigned")

    with pytest.raises(BadSignature):
        SignedPackage.loads(text)


def test_small_packages_are_not_compressed() -> None:
    assert not SignedPackage.dumps("x", compressed=True).startswith(".")


def test_compress_follows_the_settings(settings: Any) -> None:
    settings.Q_CLUSTER = {"compress": True}

    assert SignedPackage.dumps("x" * 1000).startswith(".")
    assert not SignedPackage.dumps("x" * 1000, compressed=False).startswith(".")


class TestJSON:
    @pytest.fixture(autouse=True)
    def _json(self, settings: Any) -> None:
        settings.Q_CLUSTER = {"serializer": "json"}

    @pytest.mark.parametrize(
        "value",
        [
            (1, [2, (3,)]),
            {"!": 1},
            {1: "a", (2, 3): "b"},
            {"a": {1, 2}},
            b"\x00\xff",
            datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
            date(2026, 1, 2),
            time(3, 4),
            timedelta(days=-1, microseconds=3),
            Decimal("1.50"),
            uuid.UUID(int=7),
            float("inf"),
        ],
    )
    def test_every_value_comes_back_as_it_was(self, value: object) -> None:
        back = SignedPackage.loads(SignedPackage.dumps(value))

        assert (back, type(back)) == (value, type(value))

    def test_what_it_cannot_carry_is_named(self) -> None:
        class Color(enum.IntEnum):
            RED = 1

        with pytest.raises(TypeError, match=r"cannot carry <Color.RED: 1> .*Color"):
            JSONSerializer.dumps({"args": (Color.RED,)})

    def test_a_pickle_is_never_read(self, settings: Any) -> None:
        settings.Q_CLUSTER = {}
        pickled = SignedPackage.dumps({"a": 1})
        settings.Q_CLUSTER = {"serializer": "json"}

        with pytest.raises(ValueError, match="can't decode"):
            SignedPackage.loads(pickled)

    def test_a_site_still_on_pickle_reads_it(self, settings: Any) -> None:
        text = SignedPackage.dumps({"a": (1,)})
        settings.Q_CLUSTER = {}

        assert get_settings().serializer == "pickle"
        assert SignedPackage.loads(text) == {"a": (1,)}
