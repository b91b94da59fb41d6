"""The import name of 1.x for signing; what it had of its own is Django's by now."""

from django.core.signing import (
    BadSignature,
    JSONSerializer,
    SignatureExpired,
    Signer,
    TimestampSigner,
    dumps,
    loads,
)

__all__ = [
    "BadSignature",
    "JSONSerializer",
    "SignatureExpired",
    "Signer",
    "TimestampSigner",
    "dumps",
    "loads",
]
