# SPDX-License-Identifier: Apache-2.0
"""Daemons tell how far they are when a pass takes long."""
import logging

import pytest

from swift.common import progress, storage, storage_policy
from swift.common.conf import config_rate
from swift.common.exceptions import ConfigError
from swift.common.progress import Progress
from swift.container.sharder import ContainerSharder
from swift.obj.expirer import ObjectExpirer
from swift.obj.reconstructor import ObjectReconstructor
from swift.obj.replicator import ObjectReplicator
from swift.obj.updater import ObjectUpdater

QUIET = {"log_address": "/none", "log_level": "CRITICAL", "mount_check": "false"}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_lines_come_in_their_time(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    shown = Progress(logging.getLogger("long"), 10, clock)
    for clock.now, done in ((9, 1), (10, 2), (19, 3), (25, 5)):
        shown.tell("Things", done, 20)
    clock.now = 40
    shown.tell("Things", 8)
    assert caplog.messages == ["Things: 2 of 20 (10%) in 10 s, 90 s to go",
                               "Things: 5 of 20 (25%) in 25 s, 75 s to go", "Things: 8 in 40 s"]


def test_zero_seconds_are_no_lines(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    shown = Progress(logging.getLogger("long"), 0, clock)
    clock.now = 1e6
    shown.tell("Things", 1)
    assert not caplog.messages


@pytest.mark.parametrize("daemon, option, usual", [
    (ObjectReplicator, "stats_interval", 300), (ObjectReconstructor, "stats_interval", 300),
    (ContainerSharder, "stats_interval", 3600), (ObjectUpdater, "report_interval", 300),
    (ObjectExpirer, "report_interval", 300)])
def test_options_say_how_often(daemon, option, usual):
    assert getattr(daemon(QUIET), option) == usual
    assert getattr(daemon({**QUIET, option: "7"}), option) == 7


class Ring:
    """Of one device, with four partitions."""

    next_part_power, partition_count, replica_count = None, 4, 1

    def __init__(self):
        self.devs = [{"id": 0, "device": "sda", "ip": "127.0.0.1", "port": 6200,
                      "replication_ip": "127.0.0.1", "replication_port": 6200}]

    def get_part_nodes(self, part):
        return self.devs

    def get_more_nodes(self, part):
        return iter(())


@pytest.fixture
def one_policy(monkeypatch):
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))


@pytest.mark.usefixtures("one_policy")
def test_a_replicator_tells_of_its_partitions(tmp_path, caplog, monkeypatch):
    for part in range(4):
        (tmp_path / f"sda/objects/{part}").mkdir(parents=True)
    daemon = ObjectReplicator({**QUIET, "devices": str(tmp_path), "bind_ip": "127.0.0.1",
                               "concurrency": "1", "bind_port": "6200"}, logging.getLogger("r"))
    monkeypatch.setattr(daemon, "ring", lambda policy: Ring())
    monkeypatch.setattr(daemon, "stats_interval", 1e-9)
    caplog.set_level(logging.INFO)
    daemon.run_once()
    told = [line for line in caplog.messages if "Partitions in this pass" in line]
    assert len(told) == 4 and " of 4 " in told[-1]
    assert daemon.worked_on == 4


def test_slowdown_of_older_files_is_a_rate():
    assert config_rate({}, "objects_per_second") == 50
    assert config_rate({"slowdown": "0.01"}, "objects_per_second") == 50
    assert config_rate({"slowdown": "0.99"}, "objects_per_second") == 1
    assert config_rate({"slowdown": "1", "objects_per_second": "7"}, "objects_per_second") == 7
    with pytest.raises(ConfigError, match="slowdown"):
        config_rate({"slowdown": "much"}, "objects_per_second")
    assert progress.HOUR == 3600
