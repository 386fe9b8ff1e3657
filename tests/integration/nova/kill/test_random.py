# SPDX-License-Identifier: Apache-2.0
"""P2, P3, P6: anything in any order while daemons die; in the end everything is settled."""

import sys

import pytest
from kill_cloud import DAEMONS, KillCloud
from nova_daemons import in_parallel
from random_driver import QUOTA, play

from nova.db import floating_ips, instances, ports, volume_snapshots, volumes

SETTLE = 120.0      # seconds after the last kill
# Room for fewer servers than the projects together may have.
MEMORY_MB = (5120, 4096)
KILLED = (*DAEMONS, ("volume", "c1"))


@pytest.fixture
def crowded(tmp_path, free_port, amqp_url, mysql_url):
    with KillCloud(tmp_path, free_port, transport=amqp_url, database=mysql_url, quota=QUOTA,
                   memory_mb=MEMORY_MB, spawn_seconds=0.1, daemons=KILLED,
                   apis="compute,network,volume") as cloud:
        yield cloud


def check(cloud, seed, seconds, operations):
    statuses, kills, wrong, clients = play(cloud, KILLED, seed, seconds, operations)
    cloud.wait_port()
    assert wrong == [], f"seed {seed}"
    assert cloud.wait_until(lambda: not cloud.unsettled(), SETTLE), (seed, cloud.unsettled())
    settled = [len(rows.get_all()) for rows in (instances, volumes, volume_snapshots)]
    assert in_parallel(lambda one: one.give_everything_back(), clients) == [[]] * len(clients)
    assert cloud.wait_until(lambda: not (
        instances.get_all() or ports.find() or floating_ips.routes() or volumes.get_all()
        or volume_snapshots.get_all() or cloud.unsettled()),
        SETTLE), (seed, instances.get_all(), volumes.get_all(), cloud.unsettled())
    answered = sum(statuses.values()) - statuses.get(None, 0)
    return answered, f"seed {seed}: {answered} operations {statuses}, {kills} kills, " \
           f"{settled[0]} servers, {settled[1]} volumes and {settled[2]} snapshots settled, " \
           "0 left after their deletion"


@pytest.mark.timeout(300)
def test_clients_and_a_killer_for_a_little_while(crowded):
    check(crowded, 2010, 12, 250)


@pytest.mark.kill
@pytest.mark.whole
@pytest.mark.timeout(1800)
def test_clients_and_a_killer_for_ten_minutes(crowded, capsys):
    answered, said = check(crowded, 2011, 600, None)
    with capsys.disabled():
        print(f"random: {said}", file=sys.stderr, flush=True)   # a worker of xdist has no stdout
    assert answered >= 1000
