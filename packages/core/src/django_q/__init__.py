"""Background tasks for Django: queue work, run it in a cluster of processes, keep the results.

Importing this package has no side effect and needs no settings.
"""

from django_q.__about__ import __version__

VERSION = tuple(int(part) for part in __version__.split(".")[:3] if part.isdigit())

__all__ = ["VERSION", "__version__"]
