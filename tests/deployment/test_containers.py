"""A cluster as process 1, as containers start it: in a process namespace of its own."""

import os
import signal
import subprocess

from tests.harness import Project
from tests.managers import STOPPING, Outcome, RecordOutcome, assert_stopped, begin, type_in
from tests.servers import missing

NAMESPACE = "unshare --user --map-root-user --pid --fork --kill-child --mount-proc"


def test_a_cluster_is_process_1(project: Project, record_outcome: RecordOutcome) -> None:
    allowed = subprocess.run([*NAMESPACE.split(), "true"], check=False, capture_output=True)
    if allowed.returncode:
        missing(f"no process namespaces here: {allowed.stderr.decode()}")
    outside = type_in(project, f"$ {NAMESPACE} python manage.py qcluster")
    gate = begin(project, "busy")
    first = project.wait_until(lambda: children(outside.pid), what="a first process")
    [cluster] = first
    assert numbers(cluster)[-1] == 1

    os.kill(cluster, signal.SIGTERM)
    outside.wait_for_line(STOPPING)
    gate.open()

    code = outside.wait()
    assert code == 0, outside.log
    assert_stopped(project, "busy")
    record_outcome(Outcome("container", "qcluster as process 1", "SIGTERM", "10 s", str(code)))


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def numbers(pid: int) -> list[int]:
    """Return what a process is called in each namespace that it is in, the outermost first."""
    with open(f"/proc/{pid}/status") as file:
        [line] = [line for line in file if line.startswith("NSpid:")]
    return [int(number) for number in line.split()[1:]]
