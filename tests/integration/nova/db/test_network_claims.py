# SPDX-License-Identifier: Apache-2.0
"""Claims of addresses, floating IPs and rules by many at once, on each real database."""

import threading

from nova import db, exception, quota
from nova.db import floating_ips, networks, ports, quotas, security_groups
from nova.db.models import Instance
from nova.network import vifs

THREADS = 10


def in_parallel(function, count=THREADS):
    results, start = [], threading.Barrier(count)

    def run(number):
        start.wait(30)
        try:
            results.append(function(number))
        except exception.NovaError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == count, "a thread died of something unexpected"
    return results


def won(results):
    return [one for one in results if not isinstance(one, Exception)]


def make_network(cidr="10.0.0.0/29", **more):
    return networks.create({"name": "n", "cidr": cidr, "gateway": cidr.replace(".0/29", ".1"),
                            "bridge": "br100", "host": "host1", **more})


def test_addresses_are_claimed_once(any_db):
    network = make_network()
    results = in_parallel(lambda n: ports.create({"network_id": network.id, "project_id": "a"}))
    made = won(results)
    assert len(made) == 5
    assert {type(one) for one in results if one not in made} == {exception.NoMoreAddresses}
    held = [fixed.address for view in ports.find() for fixed in view.addresses]
    assert sorted(held) == [f"10.0.0.{n}" for n in range(2, 7)]


def test_asked_for_by_many_given_to_one(any_db):
    network = make_network()
    results = in_parallel(lambda n: ports.create(
        {"network_id": network.id, "project_id": "a"}, address="10.0.0.5"))
    assert len(won(results)) == 1 and len(ports.find()) == 1


def test_floating_addresses_are_claimed_once(any_db):
    external = networks.create({"name": "x", "cidr": "172.24.4.0/24", "external": True})
    floating_ips.add(external.id, [f"172.24.4.{n}" for n in range(10, 14)])
    results = in_parallel(lambda n: floating_ips.allocate(external.id, f"p{n}"))
    assert len({one.address for one in won(results)}) == len(won(results)) == 4


def test_one_default_group_and_exact_quotas(any_db):
    assert len(set(in_parallel(lambda n: security_groups.ensure_default("a")))) == 1
    quotas.set_limits("a", {"security_group_rules": 7})
    results = in_parallel(lambda n: security_groups.add_rules(
        security_groups.default_id("a"),
        [{"project_id": "a", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
          "port_min": n + 1, "port_max": n + 1}],
        guard=quota.guard("a", {"security_group_rules": 1})))
    assert len(won(results)) == 3
    assert len(security_groups.find_rules("a")) == 7


def test_networks_made_at_once_do_not_overlap(any_db):
    results = in_parallel(lambda n: make_network("10.3.0.0/29"), 5)
    assert len(networks.find()) <= 1
    assert len(won(results)) == len(networks.find())
    empty = [networks.create({"name": f"e{n}"}).id for n in range(4)]
    results = in_parallel(lambda n: networks.add_subnet(
        empty[n], {"cidr": "10.4.0.0/29", "gateway": "10.4.0.1"}), 4)
    assert len(won(results)) <= 1


def test_floating_addresses_race_for_a_port(any_db):
    network = make_network()
    external = networks.create({"name": "x", "cidr": "172.24.4.0/24", "external": True})
    floating_ips.add(external.id, [f"172.24.4.{n}" for n in range(10, 16)])
    port = ports.create({"network_id": network.id, "project_id": "a"})
    mine = [floating_ips.allocate(external.id, "a") for _ in range(6)]
    results = in_parallel(lambda n: floating_ips.associate(mine[n].id, "a", port.id), 6)
    assert len(won(results)) == 1
    assert len(floating_ips.find("a", port_ids=[port.id])) == 1


def test_every_question_works_on_every_database(any_db):
    network = make_network(cidr_v6="fd00::/64", gateway_v6="fd00::1")
    row = Instance(
        project_id="a", user_id="u", display_name="vm", hostname="vm", reservation_id="r",
        vm_state="active", desired_state="active", flavor_id="1", flavor_name="f", vcpus=1,
        memory_mb=1, root_gb=1, host="host1", build_request={})
    with db.writer() as session:
        session.add(row)
    group = security_groups.ensure_default("a")
    port = ports.create({"network_id": network.id, "project_id": "a", "device_id": row.id,
                         "device_owner": "compute:nova"}, group_ids=[group],
                        address_v6=lambda mac: "fd00::5")
    assert networks.set_leased(network.id, "10.0.0.2", port.mac, True)
    assert networks.leases(network.id) == [(port.mac, "10.0.0.2")]
    assert (port.mac, "10.0.0.2") in networks.holders(network.id)
    assert networks.pools([network.id]) == {network.id: [("10.0.0.2", "10.0.0.6")]}
    assert networks.availability([network.id]) == {network.id: (5, 1)}
    assert [one.id for one in ports.instances_at("10.0.0.2")] == [row.id]
    assert ports.dhcp_hosts(network.id) == [(port.mac, "10.0.0.2", "vm")]
    assert ports.hosts_of([row.id]) == {"host1": [row.id]}
    assert ports.orphans() == []
    assert security_groups.affected([group], members=True, referring=True) == {
        "host1": [row.id]}
    assert security_groups.names_of_devices([row.id]) == {row.id: ["default"]}
    [vif] = vifs.of_instances([row.id])[row.id]
    assert {rule.remote for rule in vif.rules} == {None, "10.0.0.2/32", "fd00::5/128"}
    external = networks.create({"name": "x", "cidr": "172.24.4.0/24", "external": True})
    floating_ips.add(external.id, ["172.24.4.10"])
    floating = floating_ips.allocate(external.id, "a")
    floating_ips.associate(floating.id, "a", port.id)
    [route] = floating_ips.routes(host="host1")
    assert (route.fixed, route.network_host, route.bridge) == ("10.0.0.2", "host1", "br100")
    assert ports.device_addresses([row.id])[0][4:] == ("10.0.0.2", ["172.24.4.10"])
    ports.delete_port(port.id)
    assert networks.availability([network.id]) == {network.id: (5, 0)}
    assert networks.expire_leases(network.created_at) == 0
    networks.delete_network(network.id)
