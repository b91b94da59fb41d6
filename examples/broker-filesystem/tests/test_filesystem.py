"""What is true of this broker alone: its settings, its files."""

import os
import time
from pathlib import Path

import pytest
from django_q_broker_filesystem.broker import Filesystem
from django_q_broker_filesystem.folder import ABANDONED_SECONDS
from django_q_broker_filesystem.plugin import django_q_brokers
from pytest_django import Settings

from django_q.brokers import broker_class
from django_q.conf import get_settings
from django_q.errors import BrokerUnavailable, ConfigurationError


@pytest.fixture
def broker(tmp_path: Path, settings: Settings) -> Filesystem:
    """Return a broker on an empty folder."""
    settings.Q_CLUSTER = {"name": "tests", "filesystem": {"folder": str(tmp_path)}}
    return Filesystem("letters")


def test_the_key_of_the_settings_chooses_the_broker(broker: Filesystem) -> None:
    (entry,) = django_q_brokers()

    assert broker_class() is Filesystem
    assert entry.answers_to == ("filesystem",)


@pytest.mark.parametrize(
    "options", [True, {}, {"folder": "relative"}, {"folder": 5}, {"path": "/srv"}]
)
def test_wrong_settings_are_named(options: object, settings: Settings) -> None:
    settings.Q_CLUSTER = {"name": "tests", "filesystem": options}

    (problem,) = Filesystem.problems(get_settings())

    assert 'Q_CLUSTER["filesystem"]' in problem
    with pytest.raises(ConfigurationError, match="filesystem"):
        Filesystem("letters")


def test_a_folder_that_is_gone_is_an_outage(broker: Filesystem) -> None:
    broker.connection.path.parent.rmdir()

    with pytest.raises(BrokerUnavailable, match=r"letters\.queue takes no package"):
        broker.enqueue("a package")

    assert not broker.ping()
    assert list(broker.warnings())


def test_what_is_being_written_cannot_be_claimed(broker: Filesystem) -> None:
    broker.enqueue("whole")
    (broker.connection.path / "drafts" / "half").write_text("ha")

    assert [delivery.package for delivery in broker.claim(10, 60)] == [b"whole"]


def test_only_old_drafts_are_removed_when_a_cluster_starts(broker: Filesystem) -> None:
    broker.enqueue("makes the folders")
    old, new = (broker.connection.path / "drafts" / name for name in ("old", "new"))
    old.touch()
    new.touch()
    long_ago = time.time() - ABANDONED_SECONDS - 1
    os.utime(old, (long_ago, long_ago))

    broker.join_cluster()

    assert (old.exists(), new.exists()) == (False, True)


def test_the_name_of_a_queue_never_leads_out_of_the_folder(
    broker: Filesystem, tmp_path: Path
) -> None:
    broker.list_key = "../elsewhere"

    broker.enqueue("a package")

    assert broker.connection.path.parent == tmp_path
    assert broker.queue_size() == 1
