"""What the admin calls a method that it shows as a column."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    Text = str | _StrPromise

Method = TypeVar("Method", bound=Callable[..., Any])


def column(title: Text, *, boolean: bool = False) -> Callable[[Method], Method]:
    """Name a method's column in the admin, which models must not import."""

    def describe(method: Method) -> Method:
        method.short_description = title  # type: ignore[attr-defined]
        if boolean:
            method.boolean = True  # type: ignore[attr-defined]
        return method

    return describe
