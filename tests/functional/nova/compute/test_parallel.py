# SPDX-License-Identifier: Apache-2.0
"""Many builds at once, over the real message bus in memory and real threads."""

import time

import pytest

from nova import rpc
from nova.compute import methods as compute_methods
from nova.compute.states import VmState
from nova.db import compute_nodes, instances
from nova.rpc import broker
from nova.scheduler import methods as scheduler_methods

COUNT = 20
TIMEOUT = 60


@pytest.fixture
def bus(monkeypatch):
    rpc.configure("memory://")
    yield
    broker.broker().close()
    monkeypatch.setattr(broker, "_broker", None)


@pytest.fixture
def running(cloud, bus):
    """The cloud with two hosts whose workers listen; stopped at the end."""
    cloud.scheduler.compute = rpc.Client(compute_methods.METHODS)
    servers = [rpc.Server(scheduler_methods.METHODS, "controller", cloud.scheduler).start()]
    for host in ("host1", "host2"):
        manager = cloud.add_host(host)
        manager.worker.scheduler = rpc.Client(scheduler_methods.METHODS)
        servers.append(rpc.Server(compute_methods.METHODS, host, manager).start())
    assert all(server.wait_ready(60) for server in servers)
    yield cloud
    for server in servers:
        server.stop(grace=10)


def settle(made):
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        rows = instances.get_many(made).values()
        if all(row.task_state is None for row in rows):
            return list(rows)
        time.sleep(0.05)
    raise AssertionError([(row.vm_state, row.task_state, row.host) for row in rows])


def test_twenty_at_once(running):
    """20 parallel creates: 20 ACTIVE, each host exactly full."""
    for host in ("host1", "host2"):
        compute_nodes.report(host, memory_mb=512 * COUNT // 2, ram_allocation_ratio=1.0,
                             reserved_memory_mb=0)
    made = []
    for _ in range(COUNT):      # as many requests, none of which knows of the others
        made += running.create()
        _topic, _host, context, method, args = running.post.waiting.pop()
        rpc.Client(scheduler_methods.METHODS).cast(context, method, **args)
    rows = settle(made)
    assert [row.vm_state for row in rows] == [VmState.ACTIVE] * COUNT
    used = instances.usage_by_host()
    assert {host: usage.memory_mb for host, usage in used.items()} == {
        "host1": 5120, "host2": 5120}
    running.assert_no_orphans()


def test_more_than_fits(running):
    """Whatever does not fit is refused in words; what fits, fits exactly."""
    for host in ("host1", "host2"):
        compute_nodes.report(host, memory_mb=512 * 3, ram_allocation_ratio=1.0,
                             reserved_memory_mb=0)
    context = running.context()
    made = running.create(count=10)
    running.post.waiting.clear()
    for one in made:
        rpc.Client(scheduler_methods.METHODS).cast(
            context, "schedule_instances", instance_ids=[one])
    rows = settle(made)
    assert sorted(row.vm_state for row in rows) == [VmState.ACTIVE] * 6 + [VmState.ERROR] * 4
    assert all(usage.memory_mb == 512 * 3 for usage in instances.usage_by_host().values())
