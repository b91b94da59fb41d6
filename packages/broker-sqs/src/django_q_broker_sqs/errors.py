"""The errors of the broker: SQS is away, or it refuses whoever asks or what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from django_q.errors import BrokerUnavailable, ConfigurationError, UnsupportedByBroker

AWAY = (
    EndpointConnectionError,
    ConnectTimeoutError,
    ReadTimeoutError,
    ConnectionClosedError,
    ProxyConnectionError,
    HTTPClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    OSError,
)

BUSY = ("Throttl", "SlowDown", "TooManyRequests", "Unavailable", "Internal", "OverLimit", "Timeout")
"""What is in the codes of answers that may be another one later."""

OUTDATED = ("ExpiredToken", "RequestExpired", "InvalidSecurityToken.Expired")
"""Temporary credentials, which are renewed without us, or a clock that is wrong."""

REFUSED = (
    "AccessDenied",
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "KMS.AccessDenied",
    "KmsAccessDenied",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)

NO_QUEUE = ("QueueDoesNotExist", "NonExistentQueue")
DELETED_RECENTLY = "QueueDeletedRecently"
PURGED_RECENTLY = "PurgeQueueInProgress"
ALREADY_THERE = ("QueueAlreadyExists", "QueueNameExists")


class SqsUnavailable(BrokerUnavailable):
    """SQS cannot be reached, or takes nothing for the moment."""


class SqsRefused(ConfigurationError):
    """SQS does not know the credentials, or they may not do what a queue needs."""


def code_of(error: BaseException) -> str:
    """What SQS calls its refusal; nothing for other errors."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_about(error: BaseException, *codes: str) -> bool:
    return any(code in code_of(error) for code in codes)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what boto3 raises into errors that say where, what is wrong and what to look at."""
    try:
        yield
    except ClientError as error:
        raise _answer(where, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise SqsRefused(
            f"{where} needs credentials: {_told(error)}. Give aws_access_key_id and "
            'aws_secret_access_key in Q_CLUSTER["sqs"], or set boto3 up in any of its ways.'
        ) from error
    except SSLError as error:
        raise SqsRefused(f"{where} cannot be trusted: {_told(error)}. Look at verify.") from error
    except AWAY as error:
        raise SqsUnavailable(f"{where} cannot be reached: {_told(error)}.") from error
    except BotoCoreError as error:
        raise SqsRefused(f"{where} cannot be asked: {_told(error)}.") from error


def _answer(where: str, error: ClientError) -> Exception:
    said = _told(error)
    if is_about(error, PURGED_RECENTLY):
        return SqsUnavailable(f"{where} purges a queue once in 60 seconds. Try again after them.")
    if is_about(error, DELETED_RECENTLY):
        return SqsUnavailable(f"{where} makes a queue of a deleted one's name after 60 seconds.")
    if is_about(error, *REFUSED) and not is_about(error, *OUTDATED):
        operation = error.operation_name
        return SqsRefused(
            f"{where} refuses {operation}: {said}. Look at the credentials, and whether they may "
            f"sqs:{operation.removesuffix('Batch')} on this queue."
        )
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or is_about(error, *BUSY, *OUTDATED):
        return SqsUnavailable(f"{where} takes nothing for the moment: {said}.")
    return UnsupportedByBroker(f"{where} refuses {error.operation_name}: {said}.")


def of_entry(where: str, failure: Mapping[str, Any]) -> Exception:
    """What became of one entry of a batch, as an error."""
    said = f"{failure.get('Code')}: {str(failure.get('Message', '')).rstrip('.')}"
    if failure.get("SenderFault"):
        return UnsupportedByBroker(f"{where} refuses a package: {said}.")
    return SqsUnavailable(f"{where} takes nothing for the moment: {said}.")


def _told(error: Exception) -> str:
    return str(error).rstrip(".")
