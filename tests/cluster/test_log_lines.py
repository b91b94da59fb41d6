"""What a cluster prints, and what `ps` shows of it: in the words of Django Q2."""

import re

import pytest

from tests.harness import ClusterProcess, Project, command_line

NAME = r"[a-z]+(-[a-z]+){3}"
PROCESS = r"Process-[0-9a-f]{32}"

STARTING = rf"Q Cluster {NAME} starting\."
RUNNING = rf"Q Cluster {NAME} running\."
READY = rf"{PROCESS} ready for work at \d+"
MONITORING = rf"{PROCESS} monitoring at \d+"
GUARDING = rf"{PROCESS} guarding cluster at \d+"
PUSHING = rf"{PROCESS} pushing tasks at \d+"

STOPPING = rf"Q Cluster {NAME} stopping\."
STOPPING_PROCESSES = rf"{PROCESS} stopping cluster processes"
STOPPED_PUSHING = rf"{PROCESS} stopped pushing tasks"
STOPPED_WORK = rf"{PROCESS} stopped doing work"
STOPPED_MONITORING = rf"{PROCESS} stopped monitoring results"
STOPPED = rf"Q Cluster {NAME} has stopped\."


def position(lines: list[str], pattern: str) -> int:
    """Return the index of the only line that is the pattern, after clock and level."""
    whole = re.compile(rf"\d\d:\d\d:\d\d \[Q\] INFO {pattern}")
    [index] = [i for i, line in enumerate(lines) if whole.fullmatch(line)]
    return index


def count(lines: list[str], pattern: str) -> int:
    """Return how many lines are the pattern, after clock and level."""
    return sum(
        re.fullmatch(rf"\d\d:\d\d:\d\d \[Q\] INFO {pattern}", line) is not None for line in lines
    )


def test_start_and_stop_are_told_as_on_the_cluster_page(project: Project) -> None:
    cluster = project.start_cluster()
    for pattern in (READY, MONITORING, PUSHING, RUNNING):
        cluster.wait_for_line(pattern)
    cluster.wait_for_line(READY, count=2)
    started = cluster.mark()
    assert cluster.stop() == 0

    start, stop = cluster.lines[:started], cluster.lines[started:]
    assert position(start, STARTING) == 0
    assert count(start, READY) == 2
    for pattern in (MONITORING, GUARDING, PUSHING, RUNNING):
        assert position(start, pattern) > 0
    in_order = [STOPPING_PROCESSES, STOPPED_MONITORING, STOPPED]
    places = [position(stop, pattern) for pattern in in_order]
    assert places == sorted(places)
    # The signal tells the sentinel at once, whenever main comes to say so.
    assert count(stop, STOPPING) == 1
    assert count(stop, STOPPED_WORK) == 2
    assert position(stop, STOPPING_PROCESSES) < position(stop, STOPPED_PUSHING)
    assert position(stop, STOPPED) == len(stop) - 1


def test_a_cluster_and_its_guard_have_one_name_from_start_to_stop(project: Project) -> None:
    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0

    assert len(set(re.findall(rf"Q Cluster ({NAME}) ", cluster.log))) == 1
    guard = re.findall(rf"({PROCESS}) (?:guarding|stopping cluster)", cluster.log)
    assert len(guard) == 2
    assert len(set(guard)) == 1


def test_a_task_is_told_with_its_name_function_and_group(project: Project) -> None:
    project.configure({"workers": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 1, task_name='good one', group='some')\n"
        "async_task('tests.jobs.fail', 2, 'went wrong', task_name='bad one')"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0

    assert count(cluster.lines, rf"{PROCESS} processing good one 'tests\.jobs\.ok' \[some\]") == 1
    assert count(cluster.lines, rf"{PROCESS} processing bad one 'tests\.jobs\.fail'") == 1
    assert count(cluster.lines, r"Processed 'tests\.jobs\.ok' \(good one\)") == 1
    cluster.wait_for_line(r"\[Q\] ERROR Failed 'tests\.jobs\.fail' \(bad one\) - went wrong$")


@pytest.mark.starts_anew
@pytest.mark.needs_fork("multiprocessing's own helpers would be in the list too")
def test_the_process_list_shows_what_each_process_does(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 2})
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('tests.jobs.gate', 1, {gate.path!r}, task_name='busy', group='some')"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(1)
    cluster.wait_for_line(READY, count=2)
    cluster.wait_for_line(PUSHING)
    cluster.wait_for_line(MONITORING)

    expected = [
        "qcluster PROCESS idle",
        "qcluster PROCESS monitor",
        "qcluster PROCESS processing busy 'tests.jobs.gate' [some]",
        "qcluster PROCESS pusher",
        "qcluster PROCESS scheduler",
        "qcluster PROCESS sentinel",
    ]
    project.wait_until(lambda: titles(cluster) == expected, what="the titles of all processes")
    assert re.fullmatch(rf"qcluster MainProcess {NAME}", command_line(cluster.pid))
    gate.open()


def titles(cluster: ClusterProcess) -> list[str]:
    """Return what `ps` shows of the main process's children, without their numbers."""
    lines = [command_line(pid) for pid in cluster.descendants()]
    return sorted(re.sub(PROCESS, "PROCESS", line) for line in lines)
