# SPDX-License-Identifier: Apache-2.0
"""Networks, ports, addresses and groups as rows: who gets what, once."""

import datetime
import threading

import pytest
from sqlalchemy import select, update

from nova import exception, quota
from nova.db import floating_ips, networks, ports, quotas, security_groups
from nova.db import session as db
from nova.db.models import Base, FixedIp, SecurityGroup, utcnow

A, B = "project-a", "project-b"


@pytest.fixture(autouse=True)
def database(tmp_path):
    made = db.configure(f"sqlite:///{tmp_path}/nova.sqlite")
    Base.metadata.create_all(made.engine)
    yield made
    made.engine.dispose()


def make_network(cidr="10.0.0.0/29", **values):
    head = cidr.rpartition(".")[0]
    return networks.create({"name": "private", "cidr": cidr, "gateway": f"{head}.1",
                            "bridge": "br100", **values})


def make_external(count=3):
    row = networks.create({"name": "public", "cidr": "172.24.4.0/24", "gateway": "172.24.4.1",
                           "external": True, "shared": False})
    floating_ips.add(row.id, [f"172.24.4.{10 + n}" for n in range(count)])
    return row


def make_port(network, project=A, **more):
    return ports.create({"network_id": network.id, "project_id": project}, **more)


def addresses(port):
    return [fixed.address for fixed in ports.get(port.id).addresses]


def test_network_reserves_what_no_guest_may_have():
    row = networks.create({"name": "n", "cidr": "10.0.0.0/29", "gateway": "10.0.0.1",
                           "dhcp_server": "10.0.0.2"}, reserved=["10.0.0.3"])
    assert networks.pools([row.id]) == {row.id: [("10.0.0.4", "10.0.0.6")]}
    assert networks.availability([row.id]) == {row.id: (3, 0)}


def test_addresses_run_out_and_come_back():
    network = make_network()
    made = [make_port(network) for _ in range(5)]
    assert [addresses(port) for port in made] == [[f"10.0.0.{n}"] for n in range(2, 7)]
    with pytest.raises(exception.NoMoreAddresses):
        make_port(network)
    assert len(ports.find()) == 5, "a port without an address was left behind"
    assert ports.delete_port(made[2].id)
    assert not ports.delete_port(made[2].id)
    assert addresses(make_port(network)) == ["10.0.0.4"]


def test_leased_address_waits_for_the_end_of_its_lease():
    network = make_network()
    first = make_port(network)
    assert networks.set_leased(network.id, "10.0.0.2", first.mac, True)
    assert networks.leases(network.id) == [(first.mac, "10.0.0.2")]
    ports.delete_port(first.id)
    assert addresses(make_port(network)) == ["10.0.0.3"]
    with pytest.raises(exception.InUse):
        make_port(network, address="10.0.0.2")
    assert networks.set_leased(network.id, "10.0.0.2", first.mac, False)
    assert addresses(make_port(network)) == ["10.0.0.2"]


def test_lease_nobody_ended_does_not_hold_an_address_for_ever():
    network = make_network()
    first = make_port(network)
    networks.set_leased(network.id, "10.0.0.2", first.mac, True)
    ports.delete_port(first.id)
    old = utcnow() - datetime.timedelta(seconds=ports.QUARANTINE + 1)
    with db.writer() as session:
        session.execute(update(FixedIp).values(released_at=old))
    assert addresses(make_port(network, address="10.0.0.2")) == ["10.0.0.2"]


def test_lease_of_somebody_else_changes_nothing():
    network = make_network()
    port = make_port(network)
    assert not networks.set_leased(network.id, "10.0.0.2", "fa:16:3e:ff:ff:ff", True)
    networks.set_leased(network.id, "10.0.0.2", port.mac, True)
    assert not networks.set_leased(network.id, "10.0.0.2", "fa:16:3e:ff:ff:ff", False)
    assert networks.leases(network.id) == [(port.mac, "10.0.0.2")]


def test_reserved_and_foreign_addresses_are_refused():
    network = make_network()
    with pytest.raises(exception.InUse):
        make_port(network, address="10.0.0.1")
    with pytest.raises(exception.BadRequest, match=r"ip_address: 10\.9\.9\.9"):
        make_port(network, address="10.9.9.9")


def in_parallel(count, function):
    results, start = [], threading.Barrier(count)

    def run(number):
        start.wait(10)
        try:
            results.append(function(number))
        except exception.NovaError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_parallel_claims_never_share_an_address():
    network = make_network("10.0.0.0/28")
    results = in_parallel(16, lambda _: make_port(network))
    won = [one for one in results if not isinstance(one, Exception)]
    assert len(won) == 13
    assert len({address for port in won for address in addresses(port)}) == 13
    assert all(isinstance(one, exception.NoMoreAddresses) for one in results if one not in won)


def test_security_n15_one_address_is_asked_for_by_many_and_given_to_one():
    """N15: an address is had through the allocator alone, by one port."""
    network = make_network()
    results = in_parallel(8, lambda _: make_port(network, address="10.0.0.5"))
    assert sum(not isinstance(one, Exception) for one in results) == 1


def test_mac_in_use_is_refused():
    network = make_network()
    port = make_port(network)
    with pytest.raises(exception.AlreadyExists):
        ports.create({"network_id": network.id, "project_id": A, "mac": port.mac})


def test_networks_do_not_overlap():
    make_network("10.0.0.0/24")
    with pytest.raises(exception.AlreadyExists, match="overlaps"):
        make_network("10.0.0.128/25")
    results = in_parallel(6, lambda _: make_network("10.1.0.0/24"))
    assert sum(not isinstance(one, Exception) for one in results) == 1


def test_network_with_ports_stays():
    network = make_network()
    port = make_port(network)
    with pytest.raises(exception.InUse):
        networks.delete_network(network.id)
    assert networks.availability([network.id]) == {network.id: (5, 1)}
    ports.delete_port(port.id)
    networks.delete_network(network.id)
    with pytest.raises(exception.NetworkNotFound):
        networks.get(network.id)


def test_network_of_another_project_is_not_there():
    network = make_network(shared=False, project_id=A)
    assert networks.get(network.id, A).id == network.id
    with pytest.raises(exception.NetworkNotFound):
        networks.get(network.id, B)
    with pytest.raises(exception.SubnetNotFound):
        networks.get_by_subnet(network.subnet_id, B)
    assert networks.find(B) == []


def test_own_networks_come_before_shared_ones():
    shared = make_network()
    own = make_network("10.2.0.0/24", shared=False, project_id=A)
    assert [row.id for row in networks.owned(A)] == [own.id]
    assert [row.id for row in networks.owned(B)] == [shared.id]


def test_floating_ip_goes_from_project_to_project():
    external = make_external(1)
    mine = floating_ips.allocate(external.id, A)
    with pytest.raises(exception.NoMoreAddresses):
        floating_ips.allocate(external.id, B)
    with pytest.raises(exception.FloatingIpNotFound):
        floating_ips.release(mine.id, B)
    floating_ips.release(mine.id, A)
    assert floating_ips.allocate(external.id, B).address == mine.address


def test_security_n25_floating_ip_still_on_a_host_is_not_given_away():
    """N25: an address is off the wire before the next project has it."""
    external = make_external(1)
    mine = floating_ips.allocate(external.id, A)
    floating_ips.set_host(mine.id, "host-1")
    assert floating_ips.release(mine.id, A).host == "host-1"
    with pytest.raises(exception.NoMoreAddresses):
        floating_ips.allocate(external.id, B)
    assert floating_ips.set_host(mine.id, None, only_from="host-1")
    assert floating_ips.allocate(external.id, B).address == mine.address


def test_parallel_floating_claims():
    external = make_external(4)
    results = in_parallel(8, lambda n: floating_ips.allocate(external.id, f"p{n}"))
    won = [one.address for one in results if not isinstance(one, Exception)]
    assert len(won) == len(set(won)) == 4


def test_floating_ip_leads_to_own_ports_only_and_one_each():
    external, network = make_external(), make_network()
    mine, second = (floating_ips.allocate(external.id, A) for _ in range(2))
    foreign, own = make_port(network, B), make_port(network, A)
    with pytest.raises(exception.PortNotFound):
        floating_ips.associate(mine.id, A, foreign.id)
    assert floating_ips.associate(mine.id, A, own.id).port_id == own.id
    with pytest.raises(exception.Conflict):
        floating_ips.associate(second.id, A, own.id)
    [route] = floating_ips.routes(floating_id=mine.id)
    assert (route.address, route.fixed, route.bridge) == (mine.address, "10.0.0.3", "br100")
    ports.delete_port(own.id)
    assert floating_ips.get(mine.id).port_id is None


def test_default_group_is_one_and_is_seen_before_it_is_written():
    """Q19: a look never writes."""
    [seen] = security_groups.find(A)
    assert (seen.group.name, len(seen.rules)) == ("default", 4)
    with db.reader() as session:
        assert session.scalars(select(SecurityGroup)).all() == []
    ids = in_parallel(8, lambda _: security_groups.ensure_default(A))
    assert set(ids) == {seen.group.id}
    [written] = security_groups.find(A)
    assert {rule.id for rule in written.rules} == {rule.id for rule in seen.rules}


def test_default_group_cannot_be_made_again():
    with pytest.raises(exception.AlreadyExists):
        security_groups.create(A, "Default")


def test_groups_are_resolved_in_their_project_only():
    foreign = security_groups.create(B, "web").group
    with pytest.raises(exception.SecurityGroupNotFound):
        security_groups.resolve(A, [foreign.id])
    own = security_groups.create(A, "web").group
    assert [view.group.id for view in security_groups.resolve(A, ["web", own.id])] == [own.id]
    security_groups.create(A, "web")
    with pytest.raises(exception.Conflict):
        security_groups.resolve(A, ["web"])


def rule(**values):
    return {"project_id": A, "direction": "ingress", "ethertype": "IPv4", **values}


def test_rule_is_kept_once():
    group = security_groups.create(A, "web").group
    security_groups.add_rules(group.id, [rule(protocol="tcp", port_min=22, port_max=22)])
    with pytest.raises(exception.AlreadyExists):
        security_groups.add_rules(group.id, [rule(protocol="tcp", port_min=22, port_max=22)])


def test_security_q1_rules_have_a_quota_that_parallel_calls_keep():
    """Q1: no more rules than the limit, counted exactly under parallel calls."""
    group = security_groups.create(A, "web").group      # two egress rules come with it
    quotas.set_limits(A, {"security_group_rules": 8})
    guard = quota.guard(A, {"security_group_rules": 1})
    results = in_parallel(12, lambda n: security_groups.add_rules(
        group.id, [rule(protocol="tcp", port_min=n, port_max=n)], guard))
    assert sum(isinstance(one, exception.OverQuota) for one in results) == 6
    assert len(security_groups.find_rules(A)) == 8


def test_group_in_use_stays():
    network, group = make_network(), security_groups.create(A, "web").group
    port = make_port(network, group_ids=[group.id])
    with pytest.raises(exception.InUse):
        security_groups.delete_group(group.id)
    ports.change(port.id, {}, group_ids=[])
    security_groups.delete_group(group.id)
    with pytest.raises(exception.SecurityGroupNotFound):
        security_groups.get(group.id)
