"""When a `benchmarks.deadly` broker kills its cluster, and the file that tells it to."""

POINT = "kill-point"
"""Lies in the project's folder, holds one of the points, and is gone once it has happened."""

BEFORE = "before the broker has the task"
AFTER = "before the row says that it has"
POINTS = (BEFORE, AFTER)
