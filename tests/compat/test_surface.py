"""Everything that code for Django Q2 imports, calls and reads is there: surface.toml lists it."""

import inspect
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.apps import apps
from django.dispatch import Signal

from django_q import signals
from django_q.brokers import get_broker
from django_q.cluster import Cluster
from django_q.models import Schedule
from django_q.status import Stat
from django_q.tasks import AsyncTask, Chain, Iter

SURFACE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("surface.toml").read_text())
NAMES = [(module, name) for module, names in SURFACE["modules"].items() for name in names]
FIELDS = [
    (model, name, *expected)
    for model, fields in SURFACE["fields"].items()
    for name, expected in fields.items()
]
MAY_BE_NONE = {
    *("psutil", "croniter", "resource", "setproctitle", "prometheus_multiprocess"),
    "error_reporter",
}

pytestmark = pytest.mark.filterwarnings("ignore:.* has moved:DeprecationWarning")


def locate(path: str) -> Any:
    """Return what a dotted path leads to: a module, then attributes."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise AssertionError(f"{path} leads nowhere")


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_name_can_be_imported(module: str, name: str) -> None:
    found = getattr(import_module(module), name)

    assert found is not None or name in MAY_BE_NONE


def test_the_package_names_its_four_modules_without_importing_them() -> None:
    code = "import sys, django_q; print(django_q.__all__, 'django' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['cluster', 'conf', 'models', 'tasks'] False"


@pytest.mark.parametrize("path", SURFACE["calls"])
def test_every_call_takes_the_parameters_that_it_took(path: str) -> None:
    expected = SURFACE["calls"][path]
    given = list(inspect.signature(locate(path)).parameters.values())

    assert len(given) >= len(expected)
    for want, parameter in zip(expected, given, strict=False):
        assert want.startswith(":") or str(parameter).split(":")[0].split("=")[0] == want
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in given[len(expected) :]:
        assert parameter.default is not parameter.empty or parameter.kind in optional


@pytest.mark.django_db
@pytest.mark.parametrize("path", SURFACE["attributes"])
def test_every_object_has_the_attributes_that_it_had(path: str) -> None:
    makers: dict[str, Any] = {
        "Iter": lambda: Iter("math.floor"),
        "Chain": Chain,
        "AsyncTask": lambda: AsyncTask("math.floor", 1.5),
        "Broker": get_broker,
        "Cluster": Cluster,
        "Stat": lambda: Stat({}),
    }
    with mock.patch("signal.signal"):
        made = makers[path.rpartition(".")[2]]()

    assert [name for name in SURFACE["attributes"][path] if not hasattr(made, name)] == []


@pytest.mark.parametrize(("model", "name", "kind", "max_length", "null"), FIELDS)
def test_every_column_is_as_wide_and_as_nullable_as_it_was(
    model: str, name: str, kind: str, max_length: int, null: bool
) -> None:
    field = apps.get_model("django_q", model)._meta.get_field(name)

    assert (field.get_internal_type(), field.null) == (
        "TextField" if kind == "PickledObjectField" else kind,
        null,
    )
    assert type(field).__name__ == kind
    assert (field.max_length or 0) == max_length


def test_every_column_of_ours_may_be_left_out_by_an_old_producer() -> None:
    ours = [
        field
        for model, known in SURFACE["fields"].items()
        for field in apps.get_model("django_q", model)._meta.concrete_fields
        if field.name not in known
    ]

    assert ours
    assert [field for field in ours if not field.null and not field.has_db_default()] == []


def test_the_types_of_schedules_keep_their_letters() -> None:
    letters = {name: getattr(Schedule, name) for name in SURFACE["schedule_types"]}

    assert letters == SURFACE["schedule_types"]
    assert [letter for letter, _ in Schedule.TYPE] == list(letters.values())


@pytest.mark.parametrize("name", SURFACE["modules"]["django_q.signals"])
def test_every_signal_is_a_signal_of_django(name: str) -> None:
    assert isinstance(getattr(signals, name), Signal)
