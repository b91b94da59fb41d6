"""Background tasks for Django: queue work, run it in a cluster of processes, keep the results.

Importing this package has no side effect and needs no settings.
"""

from django_q.__about__ import __version__ as __version__

VERSION = tuple(int(part) for part in __version__.split(".")[:3] if part.isdigit())

# As ever the names of modules: `from django_q import *` imports them, `import django_q` does not.
__all__ = ["cluster", "conf", "models", "tasks"]
