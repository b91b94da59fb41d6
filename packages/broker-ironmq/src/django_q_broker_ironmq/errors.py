"""What IronMQ, or the way to it, has answered, in the words of Django Q."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from django_q.errors import BrokerUnavailable, ConfigurationError, DjangoQError, UnsupportedByBroker

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TIMED_OUT, TOO_LARGE, TOO_MANY = 401, 403, 404, 408, 413, 429

UNREADABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)


class IronMQRefuses(DjangoQError):
    """IronMQ answers, and does not do it; of a receipt, that its reservation is over."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def explained(server: str) -> Iterator[None]:
    """Turn what requests raises into errors that name the server."""
    try:
        yield
    except requests.HTTPError as error:
        raise _refused(server, error) from error
    except UNREADABLE as error:
        raise ConfigurationError(
            f"{server} has no address that can be asked ({type(error).__name__}). Look at "
            'protocol ("https" or "http"), host, port and cloud of Q_CLUSTER["iron_mq"].'
        ) from error
    except requests.Timeout as error:
        raise BrokerUnavailable(
            f"{server} does not answer. Is it busy, or cut off? Else raise request_timeout."
        ) from error
    except requests.RequestException as error:
        raise BrokerUnavailable(
            f"{server} cannot be reached: {_reason(error)}. Look at host, port and protocol."
        ) from error
    except (KeyError, TypeError) as error:  # what the library makes of a reply without JSON
        raise BrokerUnavailable(
            f"{server} answers with something else than IronMQ does. Is it a proxy that answers?"
        ) from error


def _refused(server: str, error: requests.HTTPError) -> DjangoQError:
    response: Any = error.response  # there is one: the library raises it of a response
    status: int = response.status_code
    said = f"{status} {_said(response)}".rstrip()
    if status == UNAUTHORIZED:
        return ConfigurationError(
            f'{server} refuses the credentials: {said}. Look at "token" and "project_id" of '
            'Q_CLUSTER["iron_mq"], or at its "keystone"; those of IronMQ v2 are not good for v3.'
        )
    if status in {TIMED_OUT, TOO_MANY} or status >= 500:
        return BrokerUnavailable(f"{server} takes nothing for the moment: {said}.")
    if status == TOO_LARGE:
        size = len(response.request.body or "")
        return UnsupportedByBroker(
            f"{server} refuses a request of {size} bytes as too large: {said}. What is allowed "
            "depends on the plan. Pass a reference to the data instead of the data."
        )
    return IronMQRefuses(f"{server} refuses a request: {said}.", status)


def _said(response: Any) -> str:
    """The server's own words: a short text in its JSON, or the name of the status."""
    try:
        text = str(response.json()["msg"])
    except (ValueError, KeyError, TypeError):
        text = str(response.reason or "")
    return text[:200].rstrip(".")


def _reason(error: BaseException) -> str:
    """What the system says, which is far below what urllib3 and requests make of it.

    Their own texts carry addresses of objects and the path of the request.
    """
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return type(error).__name__
