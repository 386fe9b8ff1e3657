# SPDX-License-Identifier: Apache-2.0
"""Networks, subnets, ports, floating IPs, groups, quotas: what clients do with them."""

import pytest

from nova.db import floating_ips, networks, ports, quotas
from nova.network import vifs

ADMIN, ALPHA, BETA = "admin:admin", "ann:alpha", "bob:beta"


def test_versions_need_no_token_and_lists_do(api):
    response = api("GET", "/", token=None, status=200)
    assert {one["collection"] for one in response.data["resources"]} >= {"networks", "ports"}
    assert api("GET", "/networks", token=None).status_int == 401
    assert "NeutronError" in api("GET", "/networks", token=None).data
    aliases = {one["alias"] for one in api.get("/extensions")["extensions"]}
    assert aliases >= {"router", "security-group", "external-net", "quotas"}
    assert api.get("/extensions/router")["extension"]["alias"] == "router"
    api.get("/extensions/none", status=404)


def test_shared_and_external_networks_are_seen(api, flat, public):
    found = {one["name"]: one for one in api.get("/networks")["networks"]}
    assert found["private"]["shared"] and not found["private"]["router:external"]
    assert found["private"]["subnets"] == [flat.subnet_id]
    assert [one["name"] for one in
            api.get("/networks?router:external=True")["networks"]] == ["public"]
    assert api.get(f"/networks/{flat.id}?fields=name&fields=mtu")["network"] == {
        "name": "private", "mtu": 1500}
    [subnet] = api.get(f"/subnets?network_id={flat.id}")["subnets"]
    assert (subnet["cidr"], subnet["gateway_ip"], subnet["enable_dhcp"]) == (
        "10.0.0.0/24", "10.0.0.1", True)
    assert subnet["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.254"}]
    assert api.get(f"/subnets/{flat.subnet_id}")["subnet"] == subnet


def test_project_makes_a_network_of_its_own_and_takes_it_away(api, flat):
    network = api.post("/networks", {"network": {"name": "own"}})["network"]
    assert network["subnets"] == [] and network["tenant_id"] == "alpha"
    subnet = api.post("/subnets", {"subnet": {
        "network_id": network["id"], "ip_version": 4, "cidr": "10.1.0.0/24",
        "allocation_pools": [{"start": "10.1.0.50", "end": "10.1.0.60"}],
        "dns_nameservers": ["9.9.9.9"], "name": "sub"}})["subnet"]
    assert subnet["gateway_ip"] == "10.1.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.1.0.50", "end": "10.1.0.60"}]
    assert api.rpc.named("refresh_network") == [(None, {"network_id": network["id"]})]
    api.get(f"/networks/{network['id']}", token=BETA, status=404)
    api.get(f"/subnets/{subnet['id']}", token=BETA, status=404)
    port = api.post("/ports", {"port": {"network_id": network["id"]}})["port"]
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.1.0.50"}]
    api.delete(f"/networks/{network['id']}", status=409)
    api.delete(f"/subnets/{subnet['id']}", status=409)
    api.delete(f"/ports/{port['id']}")
    networks.take(network["id"], "host1")
    api.delete(f"/subnets/{subnet['id']}")
    assert api.rpc.named("remove_network")[0][0] == "host1"
    api.get(f"/subnets/{subnet['id']}", status=404)
    api.delete(f"/networks/{network['id']}")
    api.get(f"/networks/{network['id']}", status=404)


def test_subnet_of_ipv6(api):
    network = api.post("/networks", {"network": {"name": "own"}})["network"]
    six = {"subnet": {"network_id": network["id"], "ip_version": 6, "cidr": "fd00:1::/64",
                      "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}}
    api.post("/subnets", six, status=501)
    api.post("/subnets", {"subnet": {"network_id": network["id"], "ip_version": 4,
                                     "cidr": "10.1.0.0/24"}})
    subnet = api.post("/subnets", six)["subnet"]
    assert (subnet["gateway_ip"], subnet["ip_version"]) == ("fd00:1::1", 6)
    port = api.post("/ports", {"port": {"network_id": network["id"]}})["port"]
    assert [one["subnet_id"] for one in port["fixed_ips"]][1] == subnet["id"]
    assert port["fixed_ips"][1]["ip_address"].startswith("fd00:1::f816:3eff:fe")
    api.delete(f"/subnets/{subnet['id']}", status=409)
    api.delete(f"/ports/{port['id']}")
    api.delete(f"/subnets/{subnet['id']}")
    assert len(api.get("/subnets")["subnets"]) == 1


@pytest.mark.parametrize(("body", "field"), [
    ({"cidr": "10.1.0.0/33"}, "cidr"), ({"cidr": "10.1.0.0/8"}, "cidr"),
    ({"cidr": "127.0.0.0/24"}, "cidr"), ({"cidr": "fd00::/64"}, "cidr"), ({}, "cidr"),
    ({"cidr": "10.1.0.0/24", "gateway_ip": "10.2.0.1"}, "gateway_ip"),
    ({"cidr": "10.1.0.0/24", "gateway_ip": "10.1.0.0"}, "gateway_ip"),
    ({"cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.9", "end": "10.1.0.5"}]},
     "allocation_pools"),
    ({"cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.9"}]}, "end"),
    ({"cidr": "10.1.0.0/24", "dns_nameservers": ["x"]}, "dns_nameservers"),
    ({"cidr": "10.1.0.0/24", "dns_nameservers": ["1.1.1.1\ndhcp-option=3,6.6.6.6"]},
     "dns_nameservers"),
    ({"cidr": "10.1.0.0/24", "nonsense": 1}, "nonsense"),
])
def test_bad_subnet_names_its_field(api, body, field):
    network = api.post("/networks", {"network": {}})["network"]
    answer = api.post("/subnets", {"subnet": {"network_id": network["id"], "ip_version": 4,
                                              **body}}, status=400)
    assert field in answer["NeutronError"]["message"]


def test_subnets_overlap_with_nothing(api, flat, public):
    network = api.post("/networks", {"network": {}})["network"]
    for cidr in ("10.0.0.0/25", "10.0.0.0/16", "172.24.4.0/28"):
        api.post("/subnets", {"subnet": {"network_id": network["id"], "ip_version": 4,
                                         "cidr": cidr}}, status=409)
    api.post("/subnets", {"subnet": {"network_id": network["id"], "ip_version": 4,
                                     "cidr": "8.8.8.0/24"}}, status=403)


def test_what_is_not_supported_says_so(api, flat):
    """Q16: of lists that have no bound upstream, allowed address pairs are not to be had at all."""
    for body in ({"admin_state_up": False}, {"qos_policy_id": "x"}, {"description": "x"},
                 {"provider:network_type": "vlan"}):
        api.post("/networks", {"network": body}, status=501)
    for body in ({"port_security_enabled": False}, {"admin_state_up": False},
                 {"allowed_address_pairs": [{"ip_address": "10.0.0.7"}]}, {"description": "x"}):
        api.post("/ports", {"port": {"network_id": flat.id, **body}}, status=501)
    api.post("/routers", {"router": {}}, status=501)
    assert api.get("/routers") == {"routers": []}
    api.get("/routers/x", status=404)
    assert api.get("/agents", token=ADMIN) == {"agents": []}
    api.get("/agents", status=403)


def test_port_life(api, flat):
    port = api.post("/ports", {"port": {
        "network_id": flat.id, "name": "p", "fixed_ips": [{"ip_address": "10.0.0.77"}]}})["port"]
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.77"
    assert (port["status"], port["device_id"]) == ("DOWN", "")
    [default] = [one for one in api.get("/security-groups")["security_groups"]]
    assert port["security_groups"] == [default["id"]]
    api.post("/ports", {"port": {"network_id": flat.id,
                                 "fixed_ips": [{"ip_address": "10.0.0.77"}]}}, status=409)
    api.post("/ports", {"port": {"network_id": flat.id,
                                 "fixed_ips": [{"ip_address": "10.9.0.77"}]}}, status=400)
    changed = api.put(f"/ports/{port['id']}", {"port": {"name": "q", "security_groups": []}})
    assert (changed["port"]["name"], changed["port"]["security_groups"]) == ("q", [])
    assert api.get("/ports?name=q")["ports"][0]["id"] == port["id"]
    assert api.get("/ports?fixed_ips=ip_address=10.0.0.77")["ports"]
    assert api.get("/ports?fixed_ips=ip_address=10.0.0.78")["ports"] == []
    api.delete(f"/ports/{port['id']}")
    api.delete(f"/ports/{port['id']}", status=404)


def test_port_of_a_server_is_the_servers(api, flat, make_instance):
    """Q20, T10: an owner cannot change the binding of a port that is plugged."""
    instance = make_instance()
    port = api.post("/ports", {"port": {"network_id": flat.id}})["port"]
    assert ports.plug(port["id"], "alpha", instance.id, device_owner="compute:nova",
                      status="ACTIVE")
    for values in ({"device_id": ""}, {"device_owner": "network:dhcp"},
                   {"mac_address": "fa:16:3e:11:22:33"}):
        api.put(f"/ports/{port['id']}", {"port": values}, status=403)
        api.put(f"/ports/{port['id']}", {"port": values}, token=ADMIN, status=409)
    api.put(f"/ports/{port['id']}", {"port": {"device_id": instance.id, "name": "n"}})
    api.delete(f"/ports/{port['id']}", status=409)
    assert api.get(f"/ports?device_id={instance.id}")["ports"][0]["status"] == "ACTIVE"


def test_floating_ip_life(api, flat, public, make_instance):
    instance = make_instance()
    port = api.post("/ports", {"port": {"network_id": flat.id}})["port"]
    ports.plug(port["id"], "alpha", instance.id, device_owner="compute:nova", host="host1")
    floating = api.post("/floatingips", {"floatingip": {
        "floating_network_id": public.id, "description": "d"}})["floatingip"]
    assert (floating["status"], floating["port_id"]) == ("DOWN", None)
    bound = api.put(f"/floatingips/{floating['id']}",
                    {"floatingip": {"port_id": port["id"]}})["floatingip"]
    assert bound["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert api.rpc.named("apply_floating_ip") == [("host1", {"floating_ip_id": floating["id"]})]
    assert vifs.of_instances([instance.id])[instance.id][0].addresses[0].floating == (
        floating["floating_ip_address"],)
    second = api.post("/floatingips", {"floatingip": {"floating_network_id": public.id}})
    api.put(f"/floatingips/{second['floatingip']['id']}",
            {"floatingip": {"port_id": port["id"]}}, status=409)
    floating_ips.set_host(floating["id"], "host1")
    assert api.get(f"/floatingips/{floating['id']}")["floatingip"]["status"] == "ACTIVE"
    api.put(f"/floatingips/{floating['id']}", {"floatingip": {"port_id": None}})
    assert len(api.rpc.named("apply_floating_ip")) == 2
    api.delete(f"/floatingips/{floating['id']}")
    api.get(f"/floatingips/{floating['id']}", status=404)
    assert len(api.get("/floatingips")["floatingips"]) == 1


def test_floating_ip_made_with_its_port(api, flat, public):
    port = api.post("/ports", {"port": {"network_id": flat.id}})["port"]
    made = api.post("/floatingips", {"floatingip": {
        "floating_network_id": public.id, "port_id": port["id"],
        "fixed_ip_address": port["fixed_ips"][0]["ip_address"]}})["floatingip"]
    assert made["port_id"] == port["id"]
    # Refused, the address is not kept.
    api.post("/floatingips", {"floatingip": {
        "floating_network_id": public.id, "port_id": port["id"]}}, status=409)
    assert len(api.get("/floatingips")["floatingips"]) == 1
    api.post("/floatingips", {"floatingip": {
        "floating_network_id": public.id, "port_id": port["id"],
        "fixed_ip_address": "10.0.0.250"}}, status=400)


def test_group_and_rule_life(api, flat, make_instance):
    instance = make_instance()
    group = api.post("/security-groups", {"security_group": {
        "name": "web", "description": "d"}})["security_group"]
    assert {(one["direction"], one["ethertype"]) for one in group["security_group_rules"]} == {
        ("egress", "IPv4"), ("egress", "IPv6")}
    port = api.post("/ports", {"port": {"network_id": flat.id,
                                        "security_groups": [group["id"]]}})["port"]
    ports.plug(port["id"], "alpha", instance.id, device_owner="compute:nova", host="host1")
    rule = api.post("/security-group-rules", {"security_group_rule": {
        "security_group_id": group["id"], "direction": "ingress", "protocol": "TCP",
        "port_range_min": 22, "port_range_max": "22",
        "remote_ip_prefix": "192.0.2.0/24"}})["security_group_rule"]
    assert (rule["protocol"], rule["port_range_max"]) == ("tcp", 22)
    assert api.rpc.named("refresh_instance_network") == [
        ("host1", {"instance_ids": [instance.id]})]
    api.post("/security-group-rules", {"security_group_rule": {
        "security_group_id": group["id"], "direction": "ingress", "protocol": "tcp",
        "port_range_min": 22, "port_range_max": 22,
        "remote_ip_prefix": "192.0.2.0/24"}}, status=409)
    api.delete(f"/security-groups/{group['id']}", status=409)
    api.delete(f"/security-group-rules/{rule['id']}")
    assert len(api.rpc.named("refresh_instance_network")) == 2
    renamed = api.put(f"/security-groups/{group['id']}", {"security_group": {"name": "www"}})
    assert renamed["security_group"]["name"] == "www"


def test_default_group_is_changed_before_anything_wrote_it(api):
    [default] = api.get("/security-groups?name=default")["security_groups"]
    rule = api.post("/security-group-rules", {"security_group_rule": {
        "security_group_id": default["id"], "direction": "ingress", "protocol": "icmp"}})
    shown = api.get(f"/security-groups/{default['id']}")["security_group"]
    assert rule["security_group_rule"]["id"] in {
        one["id"] for one in shown["security_group_rules"]}
    api.delete(f"/security-groups/{default['id']}", status=409)
    api.put(f"/security-groups/{default['id']}", {"security_group": {"name": "x"}}, status=409)
    [other] = api.get("/security-groups", token=BETA)["security_groups"]
    egress = next(one for one in other["security_group_rules"] if one["direction"] == "egress")
    api.delete(f"/security-group-rules/{egress['id']}", token=BETA)
    [other] = api.get("/security-groups", token=BETA)["security_groups"]
    assert len(other["security_group_rules"]) == 3


def test_admin_deletes_a_default_group_and_the_next_look_has_it_again(api, flat):
    path = "/security-groups"
    [default] = api.get(path)["security_groups"]
    api.post("/security-group-rules", {"security_group_rule": {
        "security_group_id": default["id"], "direction": "ingress", "protocol": "icmp"}})
    port = api.post("/ports", {"port": {"network_id": flat.id}})["port"]
    api.delete(f"{path}/{default['id']}", token=ADMIN, status=409)      # a port is in it
    api.delete(f"/ports/{port['id']}")
    api.delete(f"{path}/{default['id']}", status=409)       # not an administrator
    api.delete(f"{path}/{default['id']}", token=ADMIN)
    [again] = api.get(path)["security_groups"]
    assert (again["id"], len(again["security_group_rules"])) == (default["id"], 4)
    port = api.post("/ports", {"port": {"network_id": flat.id}})["port"]
    assert port["security_groups"] == [default["id"]]


def test_network_of_a_rule_is_normalised(api):
    [group] = api.get("/security-groups")["security_groups"]
    for given, version, kept in (("10.2.3.124/24", "IPv4", "10.2.3.0/24"),
                                 ("2001:db8::5/64", "IPv6", "2001:db8::/64"),
                                 ("192.0.2.7", "IPv4", "192.0.2.7/32")):
        rule = api.post("/security-group-rules", {"security_group_rule": {
            "security_group_id": group["id"], "direction": "ingress", "ethertype": version,
            "remote_ip_prefix": given}})["security_group_rule"]
        assert rule["remote_ip_prefix"] == rule["normalized_cidr"] == kept


def test_rules_about_groups_follow_their_members(api, flat, make_instance):
    web = api.post("/security-groups", {"security_group": {"name": "web"}})["security_group"]
    base = api.post("/security-groups", {"security_group": {"name": "db"}})["security_group"]
    api.post("/security-group-rules", {"security_group_rule": {
        "security_group_id": base["id"], "direction": "ingress", "protocol": "tcp",
        "port_range_min": 5432, "port_range_max": 5432, "remote_group_id": web["id"]}})
    instance = make_instance()
    port = api.post("/ports", {"port": {"network_id": flat.id,
                                        "security_groups": [base["id"]]}})["port"]
    ports.plug(port["id"], "alpha", instance.id, device_owner="compute:nova", host="host1")

    def let_in():
        [vif] = vifs.of_instances([instance.id])[instance.id]
        return [rule.remote for rule in vif.rules if rule.direction == "ingress"]

    assert let_in() == [], "no member, nobody comes in"
    api.rpc.casts.clear()
    member = api.post("/ports", {"port": {"network_id": flat.id, "security_groups": [web["id"]],
                                          "fixed_ips": [{"ip_address": "10.0.0.9"}]}})["port"]
    assert let_in() == ["10.0.0.9/32"]
    assert api.rpc.named("refresh_instance_network") == [
        ("host1", {"instance_ids": [instance.id]})]
    api.delete(f"/ports/{member['id']}")
    assert let_in() == []
    assert len(api.rpc.named("refresh_instance_network")) == 2


def test_bulk_is_all_or_nothing(api, flat):
    made = api.post("/ports", {"ports": [{"network_id": flat.id, "name": "a"},
                                         {"network_id": flat.id, "name": "b"}]})["ports"]
    assert [one["name"] for one in made] == ["a", "b"]
    api.post("/ports", {"ports": [
        {"network_id": flat.id, "fixed_ips": [{"ip_address": "10.0.0.40"}]},
        {"network_id": flat.id, "fixed_ips": [{"ip_address": "10.0.0.40"}]}]}, status=409)
    assert len(api.get("/ports")["ports"]) == 2
    [default] = api.get("/security-groups")["security_groups"]
    rules = [{"security_group_id": default["id"], "direction": "ingress", "protocol": "tcp",
              "port_range_min": port, "port_range_max": port} for port in (80, 443)]
    assert len(api.post("/security-group-rules", {
        "security_group_rules": rules})["security_group_rules"]) == 2


def test_filters_sorting_and_pages(api, flat):
    names = ["b", "a", "d", "c"]
    for name in names:
        api.post("/ports", {"port": {"network_id": flat.id, "name": name}})
    shown = api.get("/ports?sort_key=name&sort_dir=desc&fields=name")["ports"]
    assert shown == [{"name": name} for name in "dcba"]
    seen, path = [], "/ports?sort_key=name&sort_dir=asc&limit=3"
    for _ in range(3):
        body = api.get(path)
        seen += [one["name"] for one in body["ports"]]
        following = [one for one in body.get("ports_links", ()) if one["rel"] == "next"]
        if not following:
            break
        path = following[0]["href"].partition("/v2.0")[2]
    assert seen == list("abcd")
    assert [one["name"] for one in api.get("/ports?name=a&name=c")["ports"]] in (
        ["a", "c"], ["c", "a"])
    assert api.get("/ports?name=zzz")["ports"] == []
    assert len(api.get("/ports?tenant_id=alpha&admin_state_up=true")["ports"]) == 4
    for query in ("nonsense=1", "sort_key=nonsense", "sort_key=name&sort_dir=up", "limit=-1",
                  "marker=nowhere", "sort_dir=asc"):
        assert api("GET", f"/ports?{query}").status_int == 400, query


def test_quotas(api, flat):
    assert api.get("/quotas/alpha")["quota"]["port"] == 500
    api.get("/quotas/beta", status=403)
    api.put("/quotas/alpha", {"quota": {"port": 1}}, status=403)
    api.put("/quotas/alpha", {"quota": {"port": 1}}, token=ADMIN)
    api.post("/ports", {"port": {"network_id": flat.id}})
    refused = api.post("/ports", {"port": {"network_id": flat.id}}, status=409)
    assert refused["NeutronError"]["type"] == "OverQuota"
    detail = api.get("/quotas/alpha/details.json")["quota"]["port"]
    assert (detail["limit"], detail["used"]) == (1, 1)
    quotas.set_limits("alpha", {"cores": 3})
    api.delete("/quotas/alpha", token=ADMIN)
    assert api.get("/quotas/alpha")["quota"]["port"] == 500
    assert quotas.limits_of("alpha") == {"cores": 3}
    api.put("/quotas/alpha", {"quota": {"router": 5}}, token=ADMIN, status=501)


def test_admin_makes_an_external_network_with_a_pool(api):
    api.post("/networks", {"network": {"router:external": True}}, status=403)
    api.post("/networks", {"network": {"shared": True}}, status=403)
    network = api.post("/networks", {"network": {"router:external": True, "name": "public"}},
                       token=ADMIN)["network"]
    api.post("/subnets", {"subnet": {
        "network_id": network["id"], "ip_version": 4, "cidr": "198.51.100.0/24",
        "enable_dhcp": False, "allocation_pools": [
            {"start": "198.51.100.10", "end": "198.51.100.11"}]}}, token=ADMIN)
    taken = {api.post("/floatingips", {"floatingip": {
        "floating_network_id": network["id"]}})["floatingip"]["floating_ip_address"]
        for _ in range(2)}
    assert taken == {"198.51.100.10", "198.51.100.11"}
    api.post("/floatingips", {"floatingip": {"floating_network_id": network["id"]}}, status=409)
    assert api.rpc.casts == []
