"""Tables for the terminal: what clusters do, live or once.

The modules in here import rich, which is optional: call `require_rich()` before you import one.
"""

from __future__ import annotations

from importlib.util import find_spec

from django_q.errors import ConfigurationError

INSTALL_RICH = (
    'Tables are drawn with rich, which is not installed: pip install "django-q-core[monitor]".'
)


def require_rich() -> None:
    """Raise ConfigurationError, which says what to install, unless tables can be drawn."""
    try:
        found = find_spec("rich.table")
    except (ImportError, ValueError):  # the second: somebody blocks the import in sys.modules
        found = None
    if found is None:
        raise ConfigurationError(INSTALL_RICH)
