"""prometheus_client is told of the processes that have ended, where it counts over several."""

from tests.harness import Project

STAND_IN = '''\
"""Writes down what it is told."""


def mark_process_dead(pid, path=None):
    with open("dead", "a") as file:
        print(pid, file=file)
'''


def test_prometheus_forgets_the_processes_of_a_cluster(project: Project) -> None:
    package = project.path / "prometheus_client"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "multiprocess.py").write_text(STAND_IN)
    project.configure({"workers": 1})

    cluster = project.start_cluster("--run-once", PROMETHEUS_MULTIPROC_DIR=str(project.path))
    assert cluster.wait() == 0, cluster.log

    dead = {int(pid) for pid in (project.path / "dead").read_text().split()}
    assert dead >= {cluster.pid_of("ready for work at"), cluster.pid_of("monitoring at")}
