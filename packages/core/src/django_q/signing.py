"""Signs and reads packages: `django.core.signing`'s format, at a fraction of its cost.

The text is `[.]BASE64:TIMESTAMP:SIGNATURE` exactly as `signing.dumps(task, salt=name,
serializer=…, compress=…)` writes it (https://docs.djangoproject.com/en/stable/topics/signing/),
so that Django Q2 reads ours and we read theirs. Django derives the HMAC key anew for each call,
about 20 µs; here the keyed hashes are prepared once per key and salt and copied.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
import time
import zlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django.conf import settings as django_settings
from django.core.signing import BadSignature, b62_decode, b62_encode

from django_q.conf import Conf, Settings, get_settings
from django_q.errors import ConfigurationError

__all__ = ["BadSignature", "JSONSerializer", "PickleSerializer", "SignedPackage", "unsign"]

_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")
_BLOCK_SIZE = 64  # of SHA-256
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


class Serializer(Protocol):
    """Turns a task into bytes and back."""

    def dumps(self, obj: Any) -> bytes: ...

    def loads(self, data: bytes) -> Any: ...


class PickleSerializer:
    """The wire format of Django Q and Django Q2."""

    @staticmethod
    def dumps(obj: Any) -> bytes:
        return pickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def loads(data: bytes) -> Any:
        return pickle.loads(data)


class JSONSerializer:
    """Values only, never code: for sites that allow no pickle.

    What JSON lacks travels as `{"!": [kind, text]}`, so that every value comes back as it was.
    """

    @staticmethod
    def dumps(obj: Any) -> bytes:
        return json.dumps(_to_json(obj), separators=(",", ":")).encode()

    @staticmethod
    def loads(data: bytes) -> Any:
        return json.loads(data, object_hook=_from_json)


_TAG = "!"

_PACK: dict[type, Callable[[Any], Any]] = {
    tuple: lambda value: [_to_json(item) for item in value],
    set: lambda value: [_to_json(item) for item in value],
    frozenset: lambda value: [_to_json(item) for item in value],
    bytes: lambda value: b2a_base64(value, newline=False).decode(),
    datetime: datetime.isoformat,
    date: date.isoformat,
    time_of_day: time_of_day.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Decimal: str,
    UUID: str,
}
_UNPACK: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": a2b_base64,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time_of_day.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "Decimal": Decimal,
    "UUID": UUID,
    "dict": dict,
}


def _to_json(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_to_json(item) for item in value]
    if type(value) is dict:
        return _dict_to_json(value)
    pack = _PACK.get(type(value))
    if pack is None:
        raise TypeError(
            f'Q_CLUSTER["serializer"] is "json", which cannot carry {value!r} '
            f"({type(value).__qualname__}). Pass plain values, and functions by dotted path."
        )
    return {_TAG: [type(value).__name__, pack(value)]}


def _dict_to_json(value: dict[Any, Any]) -> dict[str, Any]:
    if _TAG not in value and all(type(key) is str for key in value):
        return {key: _to_json(item) for key, item in value.items()}
    pairs = [[_to_json(key), _to_json(item)] for key, item in value.items()]
    return {_TAG: ["dict", pairs]}


def _from_json(found: dict[str, Any]) -> Any:
    if _TAG not in found:
        return found
    kind, packed = found[_TAG]
    return _UNPACK[kind](packed)


_SERIALIZERS: dict[str, type[PickleSerializer] | type[JSONSerializer]] = {
    "pickle": PickleSerializer,
    "json": JSONSerializer,
}


class _Key:
    """An HMAC-SHA256 key whose two hashes are prepared, so that a signature copies them."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, salt: str, secret: str | bytes) -> None:
        secret = secret.encode() if isinstance(secret, str) else secret
        derived = hashlib.sha256(f"{salt}signer".encode() + secret).digest()
        padded = derived.ljust(_BLOCK_SIZE, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER_PAD))
        self._outer = hashlib.sha256(padded.translate(_OUTER_PAD))

    def signature(self, value: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(value)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return _b64_encode(outer.digest())


class _Keys(NamedTuple):
    """What one `Settings` signs with (the first) and accepts (all)."""

    settings: Settings
    keys: tuple[_Key, ...]


_keys: _Keys | None = None


def _keys_in_force() -> _Keys:
    global _keys  # noqa: PLW0603 - derived once per Settings, which is a new object on change
    settings = get_settings()
    if _keys is None or _keys.settings is not settings:
        _keys = _Keys(settings, tuple(_Key(settings.name, secret) for secret in _secrets()))
    return _keys


def _secrets() -> list[str | bytes]:
    secret_key = Conf.SECRET_KEY
    if not secret_key:
        raise ConfigurationError(
            "SECRET_KEY is missing from the Django settings: tasks are signed with it, so set it "
            "to the same value for the processes that enqueue and for the cluster."
        )
    return [secret_key, *django_settings.SECRET_KEY_FALLBACKS]


class SignedPackage:
    """Signed text of any picklable object, as it travels through the broker."""

    @staticmethod
    def dumps(obj: Any, compressed: bool | None = None) -> str:
        """Serialize and sign; `compressed` None means what Q_CLUSTER["compress"] says."""
        settings, keys = _keys_in_force()
        data = _SERIALIZERS[settings.serializer].dumps(obj)
        text = b""
        if settings.compress if compressed is None else compressed:
            smaller = zlib.compress(data)
            if len(smaller) < len(data) - 1:
                text, data = b".", smaller
        text = b"%b%b:%b" % (text, _b64_encode(data), _timestamp())
        return (b"%b:%b" % (text, keys[0].signature(text))).decode("ascii")

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """Verify, then deserialize. Raises BadSignature before a byte of it is interpreted."""
        return deserialize(unsign(text))


def unsign(text: str | bytes) -> bytes:
    """Verify the signature and return the serialized bytes. Raises BadSignature."""
    value = _verified(text)
    encoded = value.rpartition(b":")[0]
    if encoded.startswith(b"."):
        return zlib.decompress(_b64_decode(encoded[1:]))
    return _b64_decode(encoded)


def signed_at(text: str | bytes) -> float:
    """When the package was signed, in seconds since the epoch."""
    stamp = _verified(text).rpartition(b":")[2].decode("ascii")
    return float(b62_decode(stamp))


def deserialize(data: bytes) -> Any:
    """What was serialized. A site on JSON reads nothing else; one on pickle reads both."""
    if data[:1] == b"{":
        return JSONSerializer.loads(data)
    return _SERIALIZERS[get_settings().serializer].loads(data)


def _verified(text: str | bytes) -> bytes:
    try:
        signed = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except (TypeError, UnicodeEncodeError):
        raise BadSignature("The package is not signed text.") from None
    value, separator, signature = signed.rpartition(b":")
    if not separator or b":" not in value:
        raise BadSignature("The package carries no signature.")
    for key in _keys_in_force().keys:
        if hmac.compare_digest(signature, key.signature(value)):
            return value
    raise BadSignature(
        "The signature does not match: the package was signed with another SECRET_KEY or another "
        f'Q_CLUSTER["name"] than {get_settings().name!r}.'
    )


_stamped: tuple[int, bytes] = (0, b"0")


def _timestamp() -> bytes:
    """This second in base 62, computed once per second."""
    global _stamped  # noqa: PLW0603
    now = int(time.time())
    if _stamped[0] != now:
        _stamped = (now, b62_encode(now).encode())
    return _stamped[1]


def _b64_encode(data: bytes) -> bytes:
    return b2a_base64(data, newline=False).translate(_TO_URLSAFE).rstrip(b"=")


def _b64_decode(encoded: bytes) -> bytes:
    return a2b_base64(encoded.translate(_FROM_URLSAFE) + b"=" * (-len(encoded) % 4))
