"""The trivial task: it notes in a ledger that it ran, and when."""

import os
import time

_ledger: list[int] = []


def note(label: int) -> None:
    """Append one line `label nanoseconds`; a single small O_APPEND write is never torn or lost."""
    if not _ledger:
        path = os.path.join(os.environ["BENCH_FOLDER"], "ledger")
        _ledger.append(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    os.write(_ledger[0], b"%d %d\n" % (label, time.time_ns()))
