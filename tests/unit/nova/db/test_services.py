# SPDX-License-Identifier: Apache-2.0
"""Rows of daemons and hypervisors."""

import datetime

import pytest

from nova import db
from nova.db import compute_nodes, services
from nova.db.models import Service, new_id, utcnow
from nova.exception import HostNotFound, ServiceNotFound

pytestmark = pytest.mark.usefixtures("nova_db")


def test_register_keeps_what_an_operator_set():
    row = services.register("h", "nova-compute", "compute")
    services.change(row.id, disabled=True, disabled_reason="broken fan")
    again = services.register("h", "nova-compute", "compute", "zone2")
    assert (again.id, again.disabled, again.disabled_reason, again.availability_zone) == (
        row.id, True, "broken fan", "zone2")
    assert again.last_seen_up is None


def test_up_is_heard_of_lately_and_not_forced_down():
    row = services.register("h", "b", "t")
    assert not services.is_up(row, 60)
    assert services.beat(row.id)
    assert services.is_up(services.get(row.id), 60)
    assert not services.is_up(services.change(row.id, forced_down=True), 60)
    row = services.change(row.id, forced_down=False)
    assert services.hosts_up([row], 60) == {"h"}
    assert services.hosts_up([services.change(row.id, disabled=True)], 60) == set()
    with db.writer() as session:
        session.get(Service, row.id).last_seen_up = utcnow() - datetime.timedelta(seconds=61)
    assert not services.is_up(services.get(row.id), 60)


def test_removed_rows_are_missed():
    row = services.register("h", "b", "t")
    services.remove(row.id)
    assert not services.beat(row.id)
    for call in (services.get, services.remove, services.change):
        with pytest.raises(ServiceNotFound):
            call(new_id())
    with pytest.raises(ValueError):
        services.change(row.id, host="other")


def test_get_all_filters():
    for host, binary, topic in (("a", "x", "t1"), ("b", "x", "t1"), ("a", "y", "t2")):
        services.register(host, binary, topic)
    assert [(r.host, r.binary) for r in services.get_all()] == [("a", "x"), ("a", "y"), ("b", "x")]
    assert [r.binary for r in services.get_all(host="a", topic="t2")] == ["y"]
    assert len(services.get_all(binary="x")) == 2


def test_compute_node_report_writes_what_changed():
    offers = {"hypervisor_hostname": "h", "hypervisor_type": "fake", "vcpus": 4,
              "memory_mb": 1024, "local_gb": 10}
    made = compute_nodes.report("h", **offers)
    assert compute_nodes.report("h", **offers).updated_at is None
    changed = compute_nodes.report("h", **offers, cpu_info={"arch": "x"})
    assert changed.updated_at is not None and changed.cpu_info == {"arch": "x"}
    assert compute_nodes.get_by_id(made.id).host == "h"
    with pytest.raises(ValueError):
        compute_nodes.report("h", generation=0)
    assert compute_nodes.remove("h") and not compute_nodes.remove("h")
    for call, argument in ((compute_nodes.get, "h"), (compute_nodes.get_by_id, made.id)):
        with pytest.raises(HostNotFound):
            call(argument)
    assert compute_nodes.get_all() == []
