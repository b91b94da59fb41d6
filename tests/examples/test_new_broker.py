"""What `python -m django_q.plugins new broker` writes serves a real cluster as it stands."""

from pathlib import Path

from django_q.plugins.skeleton import Skeleton
from tests.examples.conftest import Unpack
from tests.harness import Project


def test_a_new_broker_serves_a_cluster(project: Project, unpack: Unpack, tmp_path: Path) -> None:
    skeleton = Skeleton("broker", "carrier-pigeon")
    skeleton.write(tmp_path)
    unpack(tmp_path / skeleton.distribution, project.path)
    project.configure({"orm": None, "carrier_pigeon": {"folder": str(tmp_path)}})
    project.start_cluster().wait_for_line("running")

    answer = project.run(
        "from django_q.tasks import async_task, result\n"
        'result(async_task("math.copysign", 2, -2), wait=20000)'
    )

    assert answer == -2.0
