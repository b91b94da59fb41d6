"""Keeps the 1.x paths of the brokers' modules, which live in distributions of their own."""

from __future__ import annotations

import sys
from importlib import import_module


def become(old_name: str, new_name: str, extra: str) -> None:
    """Make `old_name` another name of the module `new_name`: one module, not a copy.

    What is patched, subclassed or pickled under the old name is then what runs.
    """
    try:
        sys.modules[old_name] = import_module(new_name)
    except ImportError as error:
        raise ImportError(
            f"{old_name} is provided by {new_name.partition('.')[0]}, which cannot be imported "
            f'({error}). To install it: pip install "django-q-core[{extra}]"',
            name=error.name,
            path=error.path,
        ) from error
