# SPDX-License-Identifier: Apache-2.0
"""nova-manage, called as an operator calls it."""

import json

import pytest
from volume_rows import add_host, add_volume

from nova import audit
from nova.cmd.manage.main import run
from nova.config import CONF
from nova.db import (
    compute_nodes,
    floating_ips,
    instances,
    networks,
    schema,
    services,
    volume_attachments,
    volumes,
)
from nova.db import session as db_session
from nova.db.models import Instance, new_id
from nova.exception import RpcTimeout


@pytest.fixture
def manage(tmp_path, capsys, monkeypatch):
    """A function that runs nova-manage and returns (status, output, errors)."""
    config = tmp_path / "nova.conf"
    config.write_text(f"[DEFAULT]\nhost = h\nnetwork_driver = fake\ncompute_driver = fake\n"
                      f"state_path = {tmp_path}\n"
                      f"[database]\nconnection = sqlite:///{tmp_path}/nova.db\n")

    def call(*argv):
        capsys.readouterr()
        try:
            status = run(["--config-file", str(config), *argv])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        return status, said.out, said.err

    assert call("db", "sync")[:2] == (0, f"{schema.HEAD}\n")
    yield call
    db_session.engine().dispose()
    monkeypatch.setattr(db_session, "_database", None)
    CONF.reset()


def test_db(manage):
    assert manage("db", "version")[:2] == (0, f"{schema.HEAD}\n")
    assert manage("db", "sync")[0] == 0
    assert manage("db", "purge-actions", "--days", "1")[:2] == (0, "0\n")
    assert manage("db", "purge-actions", "--days", "-1")[0] == 1


def test_flavor(manage):
    assert manage("flavor", "create", "m1.tiny", "--id", "1", "--vcpus", "1", "--memory", "512",
                  "--disk", "1")[:2] == (0, "1\n")
    status, _out, errors = manage("flavor", "create", "m1.tiny", "--vcpus", "1", "--memory", "1")
    assert status == 1 and "m1.tiny" in errors and "Traceback" not in errors
    for wrong in ("0", "-1", "x", str(2**40)):
        assert manage("flavor", "create", "f", "--vcpus", wrong, "--memory", "1")[0] == 2
    [row] = json.loads(manage("flavor", "list", "--json")[1])
    assert (row["id"], row["vcpus"], row["disk_gb"], row["public"]) == ("1", 1, 1, True)
    assert manage("flavor", "delete", "1")[0] == 0
    status, _out, errors = manage("flavor", "delete", "1")
    assert (status, errors) == (1, "nova-manage: Flavor 1 could not be found.\n")


def test_network_and_floating(manage):
    network = manage("network", "create", "flat", "10.0.0.0/29", "--dns", "192.0.2.53",
                     "--reserve", "10.0.0.2")[1].strip()
    row = networks.get(network)
    assert (row.bridge, row.gateway, row.shared, row.dns_servers) == (
        "br100", "10.0.0.1", True, ["192.0.2.53"])
    assert manage("network", "create", "pool", "192.0.2.0/24", "--external")[0] == 0
    assert manage("floating", "create", "pool", "192.0.2.8-192.0.2.9")[:2] == (0, "2\n")
    assert manage("floating", "create", "pool", "192.0.2.16/30")[:2] == (0, "2\n")
    assert len(json.loads(manage("floating", "list", "--json")[1])) == 4
    for wrong in (("floating", "create", "flat", "10.0.0.5"),
                  ("floating", "create", "pool", "10.9.9.9"),
                  ("floating", "create", "pool", "192.0.2.8"),
                  ("floating", "create", "nowhere", "192.0.2.1"),
                  ("floating", "delete", "192.0.2.200"),
                  ("network", "create", "again", "10.1.0.0/24"),      # br100 is taken
                  ("network", "create", "large", "10.0.0.0/9", "--bridge", "b"),
                  ("network", "create", "gw", "10.2.0.0/24", "--gateway", "10.3.0.1",
                   "--bridge", "b"),
                  ("network", "modify", "flat"), ("network", "delete", "nowhere")):
        status, _out, errors = manage(*wrong)
        assert status == 1 and errors.startswith("nova-manage: "), wrong
    for wrong in ("10.0.0.1/24", "x", "::/64"):
        assert manage("network", "create", "n", wrong)[0] == 2
    assert manage("floating", "create", "pool", "1.1.1.9-1.1.1.1")[0] == 2
    assert manage("network", "create", "n", "10.4.0.0/24", "--bridge", "a/../b")[0] == 2
    assert manage("network", "modify", "flat", "--name", "office", "--dns", "192.0.2.1")[0] == 0
    assert "office" in manage("network", "list")[1]
    assert manage("floating", "delete", "192.0.2.8-192.0.2.9")[:2] == (0, "2\n")
    assert manage("network", "delete", "office")[0] == 0
    assert manage("network", "delete", "pool")[0] == 0
    assert floating_ips.find(allocated=None) == [] and networks.find() == []


def test_service(manage):
    row = services.register("h", "nova-compute", "compute")
    services.beat(row.id)
    services.register("h", "nova-network", "network")
    up, down = json.loads(manage("service", "list", "--json")[1])
    assert (up["state"], up["status"], down["state"]) == ("up", "enabled", "down")
    assert manage("service", "disable", "h", "nova-compute", "--reason", "fan")[0] == 0
    assert services.get(row.id).disabled_reason == "fan"
    assert manage("service", "enable", "h", "nova-compute")[0] == 0
    assert not services.get(row.id).disabled
    assert manage("service", "remove", "h", "nova-network")[0] == 0
    status, _out, errors = manage("service", "remove", "h", "nova-network")
    assert status == 1 and "nova-network on h" in errors


def test_audit_finds_what_does_not_fit(manage, monkeypatch):
    assert manage("audit")[:2] == (0, "0 findings, 0 left\n")
    compute_nodes.report("h", hypervisor_hostname="h", hypervisor_type="fake", vcpus=4,
                         memory_mb=1024, local_gb=10)
    [lost] = instances.create([Instance(
        id=new_id(), project_id="p", user_id="u", display_name="n", hostname="n",
        reservation_id="r", vm_state="active", task_state=None, desired_state="active",
        flavor_id="1", flavor_name="f", vcpus=1, memory_mb=512, root_gb=1, host=None)])
    status, out, _errors = manage("audit", "--json")
    assert status == 1
    assert [(row["check"], row["thing"]) for row in json.loads(out)] == [("places", lost.id)]
    instances.update_columns(lost.id, host="gone")
    assert "is on gone" in manage("audit", "--check", "places")[1]
    assert manage("audit", "--check", "nothing")[0] == 1


def test_host_evacuate(manage):
    assert "gone" in manage("host", "evacuate", "gone")[2]
    row = services.register("h", "nova-compute", "compute")
    services.register("h2", "nova-compute", "compute")
    services.beat(row.id)
    [one] = instances.create([Instance(
        id=new_id(), project_id="p", user_id="u", display_name="n", hostname="n",
        reservation_id="r", vm_state="active", task_state=None, desired_state="active",
        flavor_id="1", flavor_name="f", vcpus=1, memory_mb=512, root_gb=1, host="h")])
    assert manage("host", "evacuate", "h")[:2] == (
        1, f"{one.id} stays: Compute service of h is still in use.\n")
    services.change(row.id, forced_down=True)
    assert manage("host", "evacuate", "h", "--to", "h2")[:2] == (
        0, f"{one.id} is on its way\n")
    moved = instances.get(one.id)
    assert (moved.host, moved.task_state, moved.build_request["forced_host"]) == (
        None, "scheduling", "h2")


def test_check_that_fails_is_a_finding(monkeypatch):
    monkeypatch.setattr(audit, "CHECKS", {"broken": "nova.audit:no_such_check"})
    [finding] = audit.run("h")
    assert (finding.check, finding.kind) == ("broken", "check")


def test_workers_of_all_hosts_look(manage, monkeypatch):
    """Over a broker each worker is asked about its own host; one that is down is a finding."""
    asked = []

    def call(context, table, method, *, host, repair):
        asked.append((table.topic, method, host, repair))
        if table.topic == "network":
            raise RpcTimeout(method=method, topic="network.n", seconds=120)
        return [{"check": "guests", "kind": "guest", "thing": "g", "what": "is a stray",
                 "repaired": repair}]

    monkeypatch.setattr("nova.rpc.call", call)
    monkeypatch.setattr("nova.rpc.configure", lambda: None)
    monkeypatch.setattr("nova.rpc.configured_to_reach_others", lambda: True)
    for host, topic in (("h1", "compute"), ("h2", "compute"), ("n", "network")):
        services.beat(services.register(host, f"nova-{topic}", topic).id)
    services.register("h3", "nova-compute", "compute")
    status, out, _errors = manage("audit", "--repair", "--json")
    assert status == 1
    assert asked == [("compute", "audit_host", "h1", True), ("compute", "audit_host", "h2", True),
                     ("network", "audit_host", "n", True)]
    assert [(row["check"], row["thing"], row["what"], row["repaired"])
            for row in json.loads(out)] == [
        ("guests", "g", "on h1: is a stray", True), ("guests", "g", "on h2: is a stray", True),
        ("guests", "h3", "nova-compute is down: nobody looked", False),
        ("network", "n", "nobody looked: No answer to audit_host from network.n within 120 "
                         "seconds.", False)]
    asked.clear()
    assert manage("audit", "--host", "h2", "--check", "guests")[0] == 1
    assert asked == [("compute", "audit_host", "h2", False)]
    assert manage("audit", "--check", "nothing")[0] == 1
    assert manage("audit", "--local")[:2] == (0, "0 findings, 0 left\n")


def test_version_and_usage(manage):
    assert manage("version")[1].strip()
    assert manage("nonsense")[0] == 2
    assert manage("db")[0] == 2
    status, out, _errors = manage("--help")
    assert status == 0 and "audit" in out and "floating" in out


def test_volume(manage):
    services.beat(services.register("h", "nova-volume", "volume").id)
    add_host(total_gb=10)
    attached, broken, waiting = (
        add_volume(name="a"), add_volume(status="error", fault="why"),
        add_volume(status="creating", host=None))
    volume_attachments.reserve(attached.id, "i", "p", "vdb")
    rows = {row["id"]: row for row in json.loads(manage("volume", "list", "--json")[1])}
    assert (rows[attached.id]["status"], rows[attached.id]["instance"]) == ("reserved", "i")
    assert (rows[broken.id]["fault"], rows[broken.id]["device"]) == ("why", None)
    assert len(json.loads(manage("volume", "list", "--status", "error", "--json")[1])) == 1
    [host] = json.loads(manage("volume", "hosts", "--json")[1])
    assert (host["host"], host["may place"], host["placed"]) == ("h", 10, 2)
    status, _out, errors = manage("volume", "delete", attached.id)
    assert status == 1 and "reserved" in errors
    status, _out, errors = manage("volume", "reset", attached.id, "available")
    assert status == 1 and "reserved" in errors
    assert manage("volume", "reset", broken.id, "available")[0] == 0
    assert volumes.get(broken.id).status == "available"
    assert manage("volume", "delete", waiting.id)[0] == 0
    assert manage("volume", "delete", broken.id)[0] == 0
    assert [row.id for row in volumes.overdue(["deleting"])] == [broken.id]
    assert manage("volume", "delete", broken.id, "--forget")[0] == 0
    assert [row.id for row in volumes.get_all()] == [attached.id]
    assert manage("volume", "delete", attached.id, "--forget")[0] == 1
    assert manage("volume", "delete", "none")[2] == (
        "nova-manage: Volume none could not be found.\n")
