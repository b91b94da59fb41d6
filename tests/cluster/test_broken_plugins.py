"""Broken plugins are named with their distributions, and harm no cluster that uses another."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.core.distributions import SitePackages
from tests.harness import Project

OFFER = """
    from django_q.plugins import BrokerEntry, hookimpl

    @hookimpl
    def django_q_brokers():
        return BrokerEntry("{name}", "{name}_post.Broker", ("pigeon",), "{name}-post")
"""

WITHOUT_ITS_CLIENT = (
    "The plugin 'carrier' of carrier-post 0.3 could not be imported: "
    "ImportError: carrier-client is too old."
)
MISSPELT = (
    "The plugin 'parrot' of parrot-post 1.2 implements 'django_q_broker', which is no hook of "
    "Django Q. Did you mean 'django_q_brokers'?"
)
CONTESTED = (
    "Q_CLUSTER['pigeon'] is claimed by 'homing' of homing-post 2.0 (homing_post.Broker) and 'rock' "
    "of rock-post 3.1 (rock_post.Broker): it chooses none of them."
)


@pytest.fixture
def project(project: Project) -> Project:
    """Install four distributions where the project's processes find them; none can be used."""
    site = SitePackages(project.path)
    site.install(
        "carrier-post",
        {"carrier_plugin": 'raise ImportError("carrier-client is too old")'},
        plugins={"carrier": "carrier_plugin"},
        version="0.3",
    )
    misspelt = OFFER.format(name="parrot").replace("django_q_brokers", "django_q_broker")
    site.install(
        "parrot-post",
        {"parrot_plugin": misspelt},
        plugins={"parrot": "parrot_plugin"},
        version="1.2",
    )
    for name, version in (("homing", "2.0"), ("rock", "3.1")):
        site.install(
            f"{name}-post",
            {f"{name}_plugin": OFFER.format(name=name)},
            plugins={name: f"{name}_plugin"},
            version=version,
        )
    return project


def qinfo(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.manage("qinfo", "--plugins", *arguments, check=False)


def test_a_cluster_on_another_broker_runs_and_stops_beside_them(project: Project) -> None:
    cluster = project.start_cluster()

    project.run('from django_q.tasks import async_task; async_task("tests.jobs.ok", "a")')
    tasks = project.wait_for_tasks(1)

    assert [task["success"] for task in tasks] == [1]
    assert cluster.stop() == 0


def test_check_names_each_with_its_distribution_and_lets_the_site_start(project: Project) -> None:
    done = project.manage("check")

    shown = done.stderr
    assert f"?: (django_q.W002) {WITHOUT_ITS_CLIENT}" in shown
    assert f"?: (django_q.W002) {MISSPELT}" in shown
    assert f"?: (django_q.W007) {CONTESTED}" in shown


def test_qinfo_names_each_with_its_distribution_and_the_broker_that_works(project: Project) -> None:
    done = qinfo(project)

    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith(f"  {WITHOUT_ITS_CLIENT}")]
    assert [line for line in lines if line.endswith(f"  {MISSPELT}")]
    assert len([line for line in lines if line.endswith(f"  {CONTESTED}")]) == 2
    assert "Broker: orm (django_q_broker_orm.broker.ORM)" in lines
    assert (done.returncode, done.stderr) == (0, "")


def test_qinfo_tells_programs_the_same(project: Project) -> None:
    facts = json.loads(qinfo(project, "--json").stdout)

    states = {each["distribution"]: each["state"] for each in facts["plugins"]}
    assert states["carrier-post 0.3"] == WITHOUT_ITS_CLIENT
    assert states["parrot-post 1.2"] == MISSPELT
    assert states["homing-post 2.0"] == states["rock-post 3.1"] == CONTESTED
    assert facts["broker"]["state"] == "ok"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("carrier", WITHOUT_ITS_CLIENT),
        ("parrot", MISSPELT),
        ("pigeon", "Two installed brokers answer to Q_CLUSTER['pigeon']: homing_post.Broker and"),
    ],
)
def test_whoever_chooses_one_is_refused_with_the_reason(
    project: Project, key: str, reason: str
) -> None:
    project.configure({"orm": None, key: True})

    refused, info = project.manage("qcluster", check=False), qinfo(project)

    assert (refused.returncode, info.returncode) == (1, 1)
    assert reason in refused.stderr
    assert f"Broker: {reason}" in info.stdout


def test_qinfo_lists_the_plugins_where_q_cluster_cannot_be_read(project: Project) -> None:
    project.configure({"workers": "many"})

    done = qinfo(project)

    assert done.returncode == 1
    assert WITHOUT_ITS_CLIENT in done.stdout
    assert "Q_CLUSTER cannot be used: Q_CLUSTER" in done.stdout


def test_qinfo_shows_its_figures_all_the_same(project: Project) -> None:
    project.configure({})

    done = project.manage("qinfo", check=False)

    assert "Tasks/day  0.00" in done.stdout
    assert done.returncode == 1
    assert done.stderr.endswith("\nNo clusters appear to be running.\n")
