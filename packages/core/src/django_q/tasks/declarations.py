"""Keeps the schedules that code declares with `@schedule(...)`, until they are saved.

```python
# shop/tasks.py
from django_q.tasks import schedule

@schedule(cron="0 8 * * 1-5")
def send_invoices() -> None: ...
```
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypedDict, TypeVar, Unpack

from django.apps import apps
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils import timezone
from django.utils.module_loading import module_has_submodule

from django_q import package, scheduling
from django_q.conf import get_settings
from django_q.errors import TaskRefused
from django_q.models import Schedule, validate_cron
from django_q.tasks.timing import moment, timing, whole

Function = TypeVar("Function", bound=Callable[..., Any])

MODULE = "tasks"
"""The module of an app in which its schedules are looked for."""
LONGEST_NAME = 100

TIMING = ("schedule_type", "minutes", "seconds", "cron")


class Options(TypedDict, total=False):
    """What `@schedule(...)` takes."""

    name: str
    schedule_type: str
    minutes: int
    seconds: int
    cron: str
    repeats: int
    next_run: datetime | date | str
    cluster: str
    hook: str | Callable[..., Any]
    intended_date_kwarg: str
    catch_up: bool
    q_options: Mapping[str, Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


KNOWN = tuple(Options.__annotations__)


@dataclass(frozen=True)
class Declaration:
    """One schedule that code declares."""

    name: str
    func: str
    columns: Mapping[str, Any]
    """The other columns as the table shall have them, but for those that change with each run."""
    repeats: int
    first: datetime | None
    """The first time, if one is declared."""
    function: Callable[..., Any] = field(compare=False, repr=False)

    @property
    def module(self) -> str:
        """Where it is declared."""
        return self.function.__module__

    @property
    def digest(self) -> str:
        """64 characters, in three parts: what is timed, how often, and all the rest."""
        timed = [self.columns[name] for name in TIMING]
        rest = sorted(item for item in self.columns.items() if item[0] not in TIMING)
        return (
            _hash(timed, self.first and str(self.first))[:24]
            + _hash(self.repeats)[:16]
            + _hash(self.name, self.func, rest)[:24]
        )

    def row(self, now: datetime) -> Schedule:
        """The row that is made for it, unsaved."""
        return Schedule(
            name=self.name,
            func=self.func,
            repeats=self.repeats,
            next_run=self.first_run(now),
            declaration=self.digest,
            **self.columns,
        )

    def first_run(self, now: datetime) -> datetime | None:
        """Now, unless a first time is declared; one that has passed leaves the next after now."""
        first = self.first
        is_cron = self.columns["schedule_type"] == Schedule.CRON
        if not is_cron and (first is None or first > now):
            return first or now
        # The slot at the first time itself is one, too.
        start = max(now, (first or now) - timedelta(microseconds=1)) if is_cron else first
        assert start is not None
        return scheduling.next_run(
            **{name: self.columns[name] for name in TIMING},
            current=start,
            zone=get_settings().time_zone,
            now=now,
            catch_up=False,
        )

    def problem(self) -> str | None:
        """Why it can never run here, in one sentence; None if it can."""
        try:
            if self.columns["cron"]:
                validate_cron(self.columns["cron"])
            self.first_run(timezone.now())
        except ValidationError as error:
            return f"@schedule on {self.func}: {_told(error)}"
        except (ValueError, OverflowError) as error:
            return f"@schedule on {self.func}: {error}"
        return None


def declare(**options: Unpack[Options]) -> Callable[[Function], Function]:
    """The decorator that declares a schedule of its function, and returns the function as it is."""
    _refuse_unknown(options)

    def register(function: Function) -> Function:
        declaration = _declaration(function, dict(options))
        _refuse_taken(declaration)
        _declared[declaration.name] = declaration
        return function

    return register


def declarations() -> list[Declaration]:
    """All that were made so far, but for those of modules that then failed to import."""
    return [each for each in _declared.values() if each.module in sys.modules]


def discover() -> dict[str, str]:
    """Import the module `tasks` of every app; return those that fail, each with the reason."""
    failed = {}
    for config in apps.get_app_configs():
        if config.module is None or not module_has_submodule(config.module, MODULE):
            continue
        name = f"{config.name}.{MODULE}"
        try:
            import_module(name)
        except Exception as error:  # it is the site's code: anything may come out of it
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def dotted(func: Any) -> Any:
    """The path by which a worker can find it again."""
    if not callable(func):
        return func
    path = package.func_repr(func)
    if path is None or "<" in path:
        raise TaskRefused(
            f"a schedule needs the dotted path of a function, such as 'shop.tasks.send_invoices'; "
            f"{func!r} has none."
        )
    return path


_declared: dict[str, Declaration] = {}


# What is refused


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in KNOWN:
            near = get_close_matches(name, KNOWN, 1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"@schedule() has no option {name!r}.{guess} It takes {', '.join(KNOWN)}; "
                "what the function shall get goes into args and kwargs."
            )


def _refuse_taken(declaration: Declaration) -> None:
    """A module that is imported again may say the same again."""
    other = _declared.get(declaration.name)
    if other is None or other.module not in sys.modules:
        return
    if other.func != declaration.func or other.function is declaration.function:
        raise TaskRefused(
            f"two schedules are named {declaration.name!r}: one declared on {other.func}, one on "
            f"{declaration.func}; give one of them another name=."
        )


def _refuse_wrong_columns(declaration: Declaration) -> None:
    """By the rules of the model; that croniter is missing is no mistake of the declaration."""
    row = Schedule(
        name=declaration.name,
        func=declaration.func,
        repeats=declaration.repeats,
        **declaration.columns,
    )
    row.full_clean(exclude=set() if find_spec("croniter") else {"cron"})


# How a declaration is made


def _declaration(function: Any, options: dict[str, Any]) -> Declaration:
    path = _path(function)
    name = options.get("name") or path
    if len(name) > LONGEST_NAME:
        raise TaskRefused(
            f"@schedule on {path}: its name has {len(name)} characters, and {LONGEST_NAME} are "
            f"possible; give a shorter name=. It is {name!r}."
        )
    try:
        first = options.get("next_run")
        made = Declaration(
            name=name,
            func=path,
            columns=_timing(options) | _others(options),
            repeats=whole("repeats", options.get("repeats", -1)),
            first=None if first is None else moment(first),
            function=function,
        )
        _refuse_wrong_columns(made)
    except ValidationError as error:
        raise TaskRefused(f"@schedule on {path}: {_told(error)}") from error
    return made


def _path(function: Any) -> str:
    path = f"{getattr(function, '__module__', None)}.{getattr(function, '__qualname__', function)}"
    if not callable(function) or getattr(function, "__qualname__", ".") != function.__name__:
        raise TaskRefused(
            f"@schedule on {path}: a worker could not find it; declare a schedule on a function "
            "at the top of a module."
        )
    return str(dotted(function))


def _timing(options: Mapping[str, Any]) -> dict[str, Any]:
    minutes, seconds, cron = (options.get(name) for name in ("minutes", "seconds", "cron"))
    counts = minutes is not None or seconds is not None
    inferred = Schedule.MINUTES if counts else Schedule.CRON if cron else None
    schedule_type = options.get("schedule_type") or inferred
    if schedule_type is None:
        raise ValidationError("say when it runs: cron=, minutes=, seconds= or schedule_type=.")
    if schedule_type == Schedule.ONCE:
        raise ValidationError("what runs once cannot be declared; call schedule() for it.")
    columns = timing(schedule_type, minutes=minutes, seconds=seconds, cron=cron)
    if counts != (columns["schedule_type"] == Schedule.MINUTES):
        raise ValidationError(
            f"schedule_type={Schedule.MINUTES!r} needs minutes= or seconds=, and no other type "
            f"takes them; this one is {schedule_type!r}."
        )
    if bool(cron) != (columns["schedule_type"] == Schedule.CRON):
        raise ValidationError(
            f"schedule_type={Schedule.CRON!r} needs cron=, and only 'H', 'D', 'W' and 'M' take it "
            f"besides; this one is {schedule_type!r}."
        )
    return columns


def _others(options: Mapping[str, Any]) -> dict[str, Any]:
    args, kwargs = options.get("args", ()), options.get("kwargs") or {}
    if isinstance(args, str) or not isinstance(args, Sequence):
        raise ValidationError({"args": f"args must be a list or a tuple, not {args!r}."})
    if not isinstance(kwargs, Mapping):
        raise ValidationError({"kwargs": f"kwargs must be a dict, not {kwargs!r}."})
    q_options = options.get("q_options")
    if q_options is not None:
        kwargs = {**kwargs, "q_options": dict(q_options)}
    return {
        "hook": dotted(options.get("hook")),
        "args": _text(tuple(args)),
        "kwargs": _text(dict(kwargs)),
        "cluster": options.get("cluster"),
        "intended_date_kwarg": options.get("intended_date_kwarg"),
        "catch_up": options.get("catch_up"),
    }


def _text(value: Any) -> str:
    """As `repr()`, but a set is written alike in every process."""
    if type(value) is dict:
        return f"{{{', '.join(f'{_text(key)}: {_text(each)}' for key, each in value.items())}}}"
    if type(value) is set and value:
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    if type(value) is list:
        return f"[{', '.join(map(_text, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _hash(*values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()


def _told(error: ValidationError) -> str:
    """Its sentences, each behind the option that it is about."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        " ".join(messages) if name == NON_FIELD_ERRORS else f"{name}: {' '.join(messages)}"
        for name, messages in error.message_dict.items()
    )
