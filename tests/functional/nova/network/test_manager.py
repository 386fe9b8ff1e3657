# SPDX-License-Identifier: Apache-2.0
"""The worker's bookkeeping: rows in, rows out; the host is remembered by the fake driver."""

import datetime
import threading

import pytest
from oslo_config import cfg
from sqlalchemy import update

from nova import db, exception
from nova.compute.states import TaskState
from nova.context import RequestContext
from nova.db import floating_ips, instances, networks, ports, quotas, security_groups
from nova.db.models import Instance, Port, utcnow
from nova.exception import InvalidState
from nova.network import audit
from nova.network.api import API
from nova.network.fake import FakeDriver
from nova.network.manager import NetworkManager
from nova.network.model import VIF

CONF = cfg.CONF


class Rpc:
    def __init__(self):
        self.casts = []

    def cast(self, context, table, method, *, host=None, **args):
        table.check(method, args)
        self.casts.append((table.topic, method, host, args))


class Broken(FakeDriver):
    """Cannot serve one bridge."""

    def __init__(self, bridge):
        super().__init__()
        self.bridge = bridge

    def ensure_network(self, network, host_ports):
        if network.bridge == self.bridge:
            raise exception.NovaError(f"{network.bridge} is broken")
        super().ensure_network(network, host_ports)


@pytest.fixture
def manager(nova_db):
    CONF([], project="nova", default_config_files=[])
    made = NetworkManager("host1", FakeDriver(), Rpc())
    yield made
    CONF.reset()


@pytest.fixture
def flat(manager):
    row = networks.create({"name": "private", "cidr": "10.0.0.0/28", "gateway": "10.0.0.1",
                           "dhcp_server": "10.0.0.1", "bridge": "br100"})
    manager.start()
    return networks.get(row.id)


CONTEXT = RequestContext(project_id="alpha", user_id="u")


def make_instance(name="vm", **request):
    row = Instance(
        project_id="alpha", user_id="u", display_name=name, hostname=name, reservation_id="r-1",
        vm_state="building", desired_state="active", flavor_id="1", flavor_name="f", vcpus=1,
        memory_mb=1, root_gb=1, host="host1",
        build_request={"networks": None, "security_groups": [], **request})
    with db.writer() as session:
        session.add(row)
    return row


def test_allocate_twice_is_the_same(manager, flat):
    row = make_instance("web")
    first = manager.allocate_for_instance(CONTEXT, row.id)
    assert manager.allocate_for_instance(CONTEXT, row.id) == first
    [vif] = [VIF.from_wire(one) for one in first]
    assert (vif.bridge, vif.addresses[0].address, vif.addresses[0].prefix_length) == (
        "br100", "10.0.0.2", 28)
    assert [port.hostname for port in manager.driver.ports["br100"]] == ["web"]
    assert {rule.direction for rule in vif.rules} == {"egress", "ingress"}
    manager.deallocate_for_instance(CONTEXT, row.id)
    manager.deallocate_for_instance(CONTEXT, row.id)
    assert ports.find() == [] and manager.driver.ports["br100"] == []
    assert networks.availability([flat.id]) == {flat.id: (13, 0)}


def test_message_that_comes_twice_at_once_makes_one_port(manager, flat):
    row = make_instance()
    threads = [threading.Thread(target=manager.allocate_for_instance, args=(CONTEXT, row.id))
               for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ports.find()) == 1


def test_many_instances_at_once_get_an_address_each(manager, flat):
    rows = [make_instance(f"vm{n}") for n in range(13)]
    errors = []

    def allocate(row):
        try:
            manager.allocate_for_instance(CONTEXT, row.id)
        except exception.NovaError as error:
            errors.append(error)

    threads = [threading.Thread(target=allocate, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len({fixed.address for view in ports.find() for fixed in view.addresses}) == 13
    assert len(manager.driver.ports["br100"]) == 13
    with pytest.raises(exception.NoMoreAddresses):
        manager.allocate_for_instance(CONTEXT, make_instance().id)


def test_ports_asked_for_come_in_their_order(manager, flat):
    api = API(manager.rpc)
    waiting = ports.create({"network_id": flat.id, "project_id": "alpha"}, address="10.0.0.9")
    wanted = api.validate_requested(CONTEXT, [
        {"uuid": flat.id, "fixed_ip": "10.0.0.7"}, {"port": waiting.id}, {"uuid": flat.id}], [])
    row = make_instance(**wanted)
    made = [VIF.from_wire(one) for one in manager.allocate_for_instance(CONTEXT, row.id)]
    assert [vif.addresses[0].address for vif in made] == ["10.0.0.7", "10.0.0.9", "10.0.0.2"]
    assert api.addresses_for_instances(CONTEXT, [row.id])[row.id]["private"][0]["addr"] \
        == "10.0.0.7"
    with pytest.raises(exception.Conflict):
        manager.allocate_for_instance(CONTEXT, make_instance(**wanted).id)
    manager.deallocate_for_instance(CONTEXT, row.id)
    [kept] = ports.find()
    assert (kept.port.id, kept.port.device_id, kept.addresses[0].address) == (
        waiting.id, None, "10.0.0.9")


@pytest.mark.parametrize(("requested", "groups", "word"), [
    ([{"uuid": "x"}], [], "networks"), ([{"port": "x"}], [], "networks"), ([{}], [], "networks"),
    ("nonsense", [], "networks"), (None, ["nonsense"], "security_groups")])
def test_what_is_not_there_is_refused_before_anything_is_made(manager, flat, requested, groups,
                                                              word):
    with pytest.raises(exception.BadRequest, match=word):
        API(manager.rpc).validate_requested(CONTEXT, requested, groups)


def test_security_t7_foreign_networks_and_ports_are_not_for_boot(manager, flat):
    """T7: a server is not put on another project's network or port."""
    foreign = networks.create({"name": "b", "cidr": "10.5.0.0/24", "gateway": "10.5.0.1",
                               "bridge": "br105", "shared": False, "project_id": "beta"})
    port = ports.create({"network_id": flat.id, "project_id": "beta"})
    group = security_groups.create("beta", "b").group
    api = API(manager.rpc)
    for requested, groups in (([{"uuid": foreign.id}], []), ([{"port": port.id}], []),
                              (None, [group.id])):
        with pytest.raises(exception.BadRequest):
            api.validate_requested(CONTEXT, requested, groups)
    row = make_instance(networks=[{"network_id": foreign.id}])
    with pytest.raises(exception.NetworkNotFound):
        manager.allocate_for_instance(CONTEXT, row.id)
    row = make_instance(networks=[{"network_id": flat.id, "port_id": port.id}])
    with pytest.raises(exception.Conflict):
        manager.allocate_for_instance(CONTEXT, row.id)


def test_security_q3_ports_have_a_quota(manager, flat):
    """Q3: no more addresses than the quota of ports, also by booting."""
    quotas.set_limits("alpha", {"ports": 1})
    manager.allocate_for_instance(CONTEXT, make_instance().id)
    with pytest.raises(exception.OverQuota):
        manager.allocate_for_instance(CONTEXT, make_instance().id)


def test_no_network_asked_for_none_given(manager, flat):
    row = make_instance(**API(manager.rpc).validate_requested(CONTEXT, "none", []))
    assert manager.allocate_for_instance(CONTEXT, row.id) == []
    assert ports.find() == []


def floating_for(row, manager):
    external = networks.create({"name": "public", "cidr": "172.24.4.0/24", "gateway": "",
                                "external": True, "shared": False})
    floating_ips.add(external.id, ["172.24.4.10", "172.24.4.11"])
    floating = floating_ips.allocate(external.id, "alpha")
    manager.api.associate_floating_ip(CONTEXT, floating.address, row.id)
    return floating


def test_floating_ip_follows_its_row(manager, flat):
    row = make_instance()
    manager.allocate_for_instance(CONTEXT, row.id)
    floating = floating_for(row, manager)
    assert ("network", "apply_floating_ip", "host1", {"floating_ip_id": floating.id}) \
        in manager.rpc.casts
    for _ in range(2):
        manager.apply_floating_ip(CONTEXT, floating.id)
    assert manager.driver.floating == {"172.24.4.10"}
    assert [(one.floating, one.fixed) for one in manager.driver.routes] == [
        ("172.24.4.10", "10.0.0.2")]
    assert audit.audit("host1", manager.driver) == []
    manager.deallocate_for_instance(CONTEXT, row.id)
    assert manager.driver.floating == set() and manager.driver.routes == []
    back = floating_ips.get(floating.id)
    assert (back.port_id, back.host, back.project_id) == (None, None, "alpha")


def test_lost_messages_are_made_good_by_the_reconciler(manager, flat):
    """P5: the row is the truth, the message a hint."""
    row = make_instance()
    manager.allocate_for_instance(CONTEXT, row.id)
    floating = floating_for(row, manager)
    assert manager.driver.floating == set()
    assert {kind for kind, _, _ in audit.audit("host1", manager.driver)} == {"floating-ip"}
    manager.reconcile()
    assert manager.driver.floating == {"172.24.4.10"}
    manager.api.release_floating(CONTEXT, floating)
    manager.reconcile()
    assert manager.driver.floating == set()
    with pytest.raises(exception.FloatingIpNotFound):
        floating_ips.get(floating.id)
    assert audit.audit("host1", manager.driver) == []


def test_two_hosts_hand_an_address_over(manager, flat):
    """An address is withdrawn on one host before it is announced by the other."""
    other = NetworkManager("host2", FakeDriver(), manager.rpc)
    second = networks.create({"name": "n2", "cidr": "10.2.0.0/24", "gateway": "10.2.0.1",
                              "bridge": "br102", "host": "host2"})
    other.start()
    one = make_instance("one", networks=[{"network_id": flat.id}])
    two = make_instance("two", networks=[{"network_id": second.id}])
    manager.allocate_for_instance(CONTEXT, one.id)
    other.allocate_for_instance(CONTEXT, two.id)
    floating = floating_for(one, manager)
    manager.apply_floating_ip(CONTEXT, floating.id)
    manager.rpc.casts.clear()
    manager.api.associate_floating_ip(CONTEXT, "172.24.4.10", two.id)
    assert {host for _, method, host, _ in manager.rpc.casts} == {"host1", "host2"}
    other.apply_floating_ip(CONTEXT, floating.id)
    assert other.driver.floating == set(), "host1 has it still"
    manager.rpc.casts.clear()
    manager.apply_floating_ip(CONTEXT, floating.id)
    assert manager.driver.floating == set()
    assert [host for _, method, host, _ in manager.rpc.casts] == ["host2"]
    other.apply_floating_ip(CONTEXT, floating.id)
    assert other.driver.floating == {"172.24.4.10"}


def test_network_served_elsewhere_is_told(manager, flat):
    """Any worker may allocate; the one that serves the network hears of it."""
    other = NetworkManager("host2", FakeDriver(), manager.rpc)
    other.start()
    manager.rpc.casts.clear()
    other.allocate_for_instance(CONTEXT, make_instance().id)
    assert other.driver.networks == {}
    assert manager.rpc.casts == [
        ("network", "refresh_network", "host1", {"network_id": flat.id})]


def test_ports_of_instances_that_are_gone_are_taken_away(manager, flat):
    """P3: what a crash left between two rows has an end."""
    row = make_instance()
    manager.allocate_for_instance(CONTEXT, row.id)
    with db.writer() as session:
        session.delete(session.get_one(Instance, row.id))
    manager.reconcile()
    assert len(ports.find()) == 1, "it may be in the making"
    assert {kind for kind, _, _ in audit.audit("host1", manager.driver)} == {"port"}
    with db.writer() as session:
        session.execute(update(Port).values(created_at=utcnow() - datetime.timedelta(hours=1)))
    manager.reconcile()
    assert ports.find() == []
    assert audit.audit("host1", manager.driver) == []


def test_security_n19_one_broken_network_stops_no_other(nova_db):
    """N19: failure of one network is isolated; who asks for it hears why."""
    CONF([], project="nova", default_config_files=[])
    bad, good = (networks.create({
        "name": f"n{n}", "cidr": f"10.{n}.0.0/24", "gateway": f"10.{n}.0.1",
        "bridge": f"br{n}"}) for n in (1, 2))
    manager = NetworkManager("host1", Broken("br1"), Rpc())
    manager.start()
    assert set(manager.driver.networks) == {"br2"}
    with pytest.raises(exception.NovaError, match="br1 is broken"):
        manager.allocate_for_instance(CONTEXT, make_instance(
            networks=[{"network_id": bad.id}]).id)
    manager.allocate_for_instance(CONTEXT, make_instance(networks=[{"network_id": good.id}]).id)
    CONF.reset()


def test_security_q6_refreshes_are_one_message_a_host(manager, flat):
    """Q6: boots in one self-referencing group cost a number of messages that is linear."""
    rows = [make_instance(f"vm{n}") for n in range(8)]
    for row in rows:
        manager.allocate_for_instance(CONTEXT, row.id)
    refreshes = [args["instance_ids"] for _, method, _, args in manager.rpc.casts
                 if method == "refresh_instance_network"]
    assert len(refreshes) == len(rows) - 1
    assert len(refreshes[-1]) == len(rows) - 1


def test_group_of_an_instance_is_changed(manager, flat):
    api = API(manager.rpc)
    group = security_groups.create("alpha", "web").group
    row = make_instance()
    manager.allocate_for_instance(CONTEXT, row.id)
    api.add_security_group(CONTEXT, row.id, "web")
    assert {view.group.name for view in api.security_groups_of_instance(CONTEXT, row.id)} == {
        "default", "web"}
    assert api.security_groups_of_instances(CONTEXT, [row.id]) == {row.id: ["default", "web"]}
    api.remove_security_group(CONTEXT, row.id, group.id)
    with pytest.raises(exception.SecurityGroupNotFound):
        api.remove_security_group(CONTEXT, row.id, "web")
    assert manager.rpc.casts[-1][1:3] == ("refresh_instance_network", "host1")


class Dies(FakeDriver):
    """Ends at the n-th thing it is to do, before or after doing it, as a killed process would."""

    class Killed(BaseException):
        """Nothing in the worker gets to handle it."""

    def __init__(self, survivor, countdown, after):
        super().__init__()
        self.__dict__.update({name: getattr(survivor, name)
                              for name in ("networks", "ports", "routes", "floating")})
        self.survivor, self.countdown, self.after = survivor, countdown, after

    def _step(self, method, *args):
        self.countdown -= 1
        if self.countdown == 0 and not self.after:
            raise self.Killed
        getattr(self.survivor, method)(*args)
        if self.countdown == 0:
            raise self.Killed


for _name in ("ensure_network", "update_ports", "remove_network", "apply_rules", "bind_floating",
              "unbind_floating"):
    setattr(Dies, _name, lambda self, *args, name=_name: self._step(name, *args))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("countdown", range(1, 10))
def test_worker_killed_at_any_line_leaves_what_its_successor_settles(manager, flat, countdown,
                                                                     after):
    """P2, P3: whatever was half done, the next start makes host and rows agree."""
    kept = manager.driver
    row, other = make_instance("one"), make_instance("two")
    dying = NetworkManager("host1", Dies(kept, countdown, after), manager.rpc)
    try:
        dying.start()
        dying.allocate_for_instance(CONTEXT, row.id)
        dying.allocate_for_instance(CONTEXT, other.id)
        floating = floating_for(row, dying)
        dying.apply_floating_ip(CONTEXT, floating.id)
        dying.api.release_floating(CONTEXT, floating)
        dying.apply_floating_ip(CONTEXT, floating.id)
        dying.deallocate_for_instance(CONTEXT, row.id)
    except Dies.Killed:
        pass
    again = NetworkManager("host1", kept, manager.rpc)
    again.start()
    assert audit.audit("host1", kept) == []
    assert again.allocate_for_instance(CONTEXT, other.id)
    again.deallocate_for_instance(CONTEXT, row.id)
    assert [view.port.device_id for view in ports.find()] == [other.id]
    assert [port.hostname for port in kept.ports["br100"]] == ["two"]
    assert audit.audit("host1", kept) == []


def test_audit_of_the_worker_lets_go_of_what_nobody_has(manager, flat, monkeypatch):
    monkeypatch.setattr("nova.audit.SECOND_LOOK", 0)
    row = make_instance()
    manager.allocate_for_instance(CONTEXT, row.id)
    assert manager.audit_host(CONTEXT, False) == []
    with db.writer() as session:
        session.delete(session.get(Instance, row.id))
    manager.driver.floating.add("192.0.2.99")
    [floating, port] = manager.audit_host(CONTEXT, False)
    assert (floating["kind"], floating["thing"]) == ("floating-ip", "192.0.2.99")
    assert (port["kind"], port["repaired"]) == ("port", False)
    assert all(one["repaired"] for one in manager.audit_host(CONTEXT, True))
    assert manager.audit_host(CONTEXT, False) == []
    assert ports.find() == [] and manager.driver.floating == set()


def test_bug_message_that_came_late_gave_ports_to_a_build_no_host_has(manager, flat):
    """A call of a worker that died came after its build was taken from it: an address leaked."""
    row = make_instance()
    instances.update_columns(row.id, host=None)
    with pytest.raises(InvalidState):
        manager.allocate_for_instance(CONTEXT, row.id)
    assert ports.find() == []


@pytest.mark.parametrize("own_port", [False, True])
@pytest.mark.parametrize("when", ["before", "between"])
def test_bug_message_that_came_late_gave_ports_to_an_instance_being_deleted(
        manager, flat, monkeypatch, when, own_port):
    """Its ports were taken away, then a dead worker's call gave it new ones: they leaked."""
    row = make_instance()
    if own_port:
        port = ports.create({"network_id": flat.id, "project_id": row.project_id})
        instances.update_columns(row.id, build_request={"networks": [
            {"network_id": flat.id, "port_id": port.id}]})
    if when == "before":
        instances.begin_task(row.id, TaskState.DELETING)
    else:
        wanted = manager._wanted

        def late(instance):
            instances.begin_task(row.id, TaskState.DELETING)
            return wanted(instance)

        monkeypatch.setattr(manager, "_wanted", late)
    with pytest.raises(InvalidState):
        manager.allocate_for_instance(CONTEXT, row.id)
    assert [view for view in ports.find() if view.port.device_id] == []


def test_ports_of_an_instance_no_host_would_build_are_taken_away(manager, flat, monkeypatch):
    monkeypatch.setattr("nova.audit.SECOND_LOOK", 0)
    failed, evacuated = make_instance(), make_instance()
    for row in (failed, evacuated):
        manager.allocate_for_instance(CONTEXT, row.id)
        instances.transition(row.id, vm_state="error", task_state=None, host=None)
    instances.update_columns(evacuated.id, build_request={
        "evacuated_at": "2026-01-01T00:00:00"})
    [port] = manager.audit_host(CONTEXT, False)
    assert "no host would build" in port["what"]
    assert [one["repaired"] for one in manager.audit_host(CONTEXT, True)] == [True]
    assert [view.port.device_id for view in ports.find()] == [evacuated.id]


def test_bug_host_that_had_lost_a_build_took_its_addresses_away(manager, flat):
    """A host believed dead gave up a build that was another's by then: ACTIVE, without a port."""
    row = make_instance()
    manager.allocate_for_instance(CONTEXT, row.id)
    for elsewhere in ("host0", ""):
        manager.deallocate_for_instance(CONTEXT, row.id, elsewhere)
    assert len(ports.find()) == 1
    manager.deallocate_for_instance(CONTEXT, row.id, "host1")
    assert ports.find() == []
