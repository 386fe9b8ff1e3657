# SPDX-License-Identifier: Apache-2.0
"""Rows of the security checklist that the Network API answers for."""

import json

import pytest

from nova.db import floating_ips, networks, ports, security_groups
from nova.db import session as db
from nova.db.models import Base, SecurityGroup

ADMIN, ALPHA, BETA = "admin:admin", "ann:alpha", "bob:beta"
NOWHERE = "00000000-0000-4000-8000-000000000000"


def snapshot():
    """Every row of every table."""
    with db.reader() as session:
        return {table.name: sorted(map(repr, session.execute(table.select())))
                for table in Base.metadata.sorted_tables}


@pytest.fixture
def theirs(api, flat, public):
    """Something of beta's of every kind."""
    network = api.post("/networks", {"network": {"name": "b"}}, BETA)["network"]
    subnet = api.post("/subnets", {"subnet": {
        "network_id": network["id"], "ip_version": 4, "cidr": "10.7.0.0/24"}}, BETA)["subnet"]
    group = api.post("/security-groups", {"security_group": {"name": "b"}}, BETA)[
        "security_group"]
    port = api.post("/ports", {"port": {"network_id": network["id"],
                                        "security_groups": [group["id"]]}}, BETA)["port"]
    floating = api.post("/floatingips", {"floatingip": {
        "floating_network_id": public.id}}, BETA)["floatingip"]
    return {"networks": network["id"], "subnets": subnet["id"], "ports": port["id"],
            "floatingips": floating["id"], "security-groups": group["id"],
            "security-group-rules": group["security_group_rules"][0]["id"]}


SINGLE = {"networks": "network", "subnets": "subnet", "ports": "port",
          "floatingips": "floatingip", "security-groups": "security_group",
          "security-group-rules": "security_group_rule"}


@pytest.mark.parametrize("kind", SINGLE)
def test_t1_foreign_things_are_not_there(api, theirs, kind):
    """T1, T7, T16: what is another project's looks as what never was, and nothing changes."""
    before = snapshot()
    for method, body in (("GET", None), ("PUT", {SINGLE[kind]: {"name": "x"}}), ("DELETE", None)):
        if method == "PUT" and kind == "security-group-rules":
            continue
        if kind == "floatingips" and body:
            body = {"floatingip": {"description": "x"}}
        found = api(method, f"/{kind}/{theirs[kind]}", body)
        missing = api(method, f"/{kind}/{NOWHERE}", body)
        assert found.status_int == missing.status_int == 404
        assert found.body.replace(theirs[kind].encode(), b"") == missing.body.replace(
            NOWHERE.encode(), b"")
    assert snapshot() == before


def test_t7_references_to_foreign_things_are_refused(api, theirs, flat, public):
    """T7: every field that names a thing is resolved in the caller's scope."""
    own = api.post("/security-groups", {"security_group": {"name": "a"}})["security_group"]
    mine = api.post("/floatingips", {"floatingip": {"floating_network_id": public.id}})
    port = api.post("/ports", {"port": {"network_id": flat.id}})["port"]
    before = snapshot()
    rule = {"security_group_id": own["id"], "direction": "ingress"}
    for method, path, body in (
            ("POST", "/ports", {"port": {"network_id": theirs["networks"]}}),
            ("POST", "/ports", {"port": {"network_id": flat.id,
                                         "security_groups": [theirs["security-groups"]]}}),
            ("PUT", f"/ports/{port['id']}",
             {"port": {"security_groups": [theirs["security-groups"]]}}),
            ("POST", "/subnets", {"subnet": {"network_id": theirs["networks"], "ip_version": 4,
                                             "cidr": "10.8.0.0/24"}}),
            ("POST", "/floatingips", {"floatingip": {"floating_network_id": public.id,
                                                     "port_id": theirs["ports"]}}),
            ("PUT", f"/floatingips/{mine['floatingip']['id']}",
             {"floatingip": {"port_id": theirs["ports"]}}),
            ("POST", "/security-group-rules", {"security_group_rule": {
                **rule, "remote_group_id": theirs["security-groups"]}}),
            ("POST", "/security-group-rules", {"security_group_rule": {
                **rule, "security_group_id": theirs["security-groups"]}})):
        assert api(method, path, body).status_int == 404, (path, body)
    # The default group may have been written down, nothing else.
    after = snapshot()
    after["project_locks"] = before["project_locks"]
    assert after == before


@pytest.mark.parametrize("kind", SINGLE)
def test_t17_no_filter_shows_foreign_rows(api, theirs, kind):
    """T17, T18: a filter leaves things out and never brings any in."""
    for query in ("", "?project_id=beta", "?tenant_id=beta", f"?id={theirs[kind]}",
                  "?tenant_id=beta&tenant_id=alpha", "?all_tenants=1", "?sort_key=id&limit=1000"):
        response = api("GET", f"/{kind}{query}")
        assert theirs[kind] not in response.text, query
    assert theirs[kind] in api("GET", f"/{kind}", token=BETA).text
    assert theirs[kind] in api("GET", f"/{kind}?project_id=beta", token=ADMIN).text


def test_t19_owner_in_a_body_is_refused(api, flat, public):
    """T19: nobody makes things for another project, or with rights its body claims."""
    for field in ("tenant_id", "project_id"):
        for kind, body in (("ports", {"network_id": flat.id}), ("networks", {}),
                           ("security-groups", {"name": "x"}),
                           ("floatingips", {"floating_network_id": public.id})):
            api("POST", f"/{kind}", {SINGLE[kind]: {**body, field: "beta"}}, status=403)
    for field in ("is_admin", "roles", "user_id", "id", "host", "owned_by_instance"):
        api("POST", "/ports", {"port": {"network_id": flat.id, field: "x"}}, status=400)
    assert ports.find("beta") == []


def test_t9_admin_only_fields_are_refused_with_any_value(api, flat):
    """T9, T10: also as their default or null they change nothing."""
    for values in ({"device_id": "x"}, {"device_owner": "network:router_interface"},
                   {"mac_address": "fa:16:3e:00:00:01"}):
        api.post("/ports", {"port": {"network_id": flat.id, **values}}, status=403)
    port = api.post("/ports", {"port": {
        "network_id": flat.id, "device_id": "", "device_owner": "", "mac_address": None}})
    assert port["port"]["device_id"] == ""
    network = api.post("/networks", {"network": {"shared": False, "router:external": False}})
    api.put(f"/networks/{network['network']['id']}", {"network": {"shared": True}}, status=403)
    api.put(f"/networks/{flat.id}", {"network": {"name": "x"}}, status=403)
    api.delete(f"/networks/{flat.id}", status=403)


def test_q19_a_look_never_writes(api, flat):
    """Q19: GET and HEAD leave every row as it is, also for a project nobody has seen."""
    before = snapshot()
    for path in ("/security-groups", "/security-group-rules", "/networks", "/ports",
                 "/quotas/ghost", "/floatingips", "/subnets"):
        for method in ("GET", "HEAD"):
            assert api(method, path, token="x:ghost").status_int == 200, path
    [group] = api.get("/security-groups", token="x:ghost")["security_groups"]
    api.get(f"/security-groups/{group['id']}", token="x:ghost")
    assert snapshot() == before
    with db.reader() as session:
        assert session.query(SecurityGroup).count() == 0


BAD_RULES = [
    {"protocol": "tcp", "port_range_min": 80}, {"port_range_min": 80, "port_range_max": 80},
    {"protocol": "tcp", "port_range_min": 90, "port_range_max": 80},
    {"protocol": "tcp", "port_range_min": 80, "port_range_max": 65536},
    {"protocol": "icmp", "port_range_min": 256}, {"protocol": "icmp", "port_range_max": 0},
    {"protocol": "vrrp", "port_range_min": 1, "port_range_max": 2},
    {"protocol": "esp", "port_range_min": 1, "port_range_max": 2},
    {"protocol": "ah", "port_range_min": 1, "port_range_max": 2},
    {"protocol": "112", "port_range_min": 1, "port_range_max": 2},
    {"protocol": "256"}, {"protocol": "-1"}, {"protocol": "tcp -j ACCEPT"},
    {"protocol": "tcp\nCOMMIT"}, {"protocol": "0x6"}, {"protocol": "\u0664"},
    {"protocol": 256}, {"protocol": "udplite", "port_range_min": 1, "port_range_max": 2},
    {"remote_ip_prefix": "10.0.0.0/33"}, {"remote_ip_prefix": "10.0.0.5/24/24"},
    {"remote_ip_prefix": ""}, {"remote_ip_prefix": "0.0.0.0/0 -j ACCEPT"},
    {"remote_ip_prefix": "10.0.0.0/255.255.255.0"}, {"remote_ip_prefix": "::ffff:10.0.0.0/120"},
    {"remote_ip_prefix": "::ffff:10.0.0.0/120", "ethertype": "IPv6"},
    {"remote_ip_prefix": "fd00::/8"}, {"remote_ip_prefix": "10.0.0.0/8", "ethertype": "IPv6"},
    {"remote_ip_prefix": "fe80::1%eth0", "ethertype": "IPv6"}, {"remote_ip_prefix": "010.0.0.0/8"},
    {"ethertype": "IPv5"}, {"direction": "both"},
]


@pytest.mark.parametrize("values", BAD_RULES, ids=repr)
def test_n5_rule_that_makes_no_sense_is_refused(api, values):
    """N5, N6, N7, N9: no rule is stored that no packet filter could be told."""
    group = api.post("/security-groups", {"security_group": {"name": "g"}})["security_group"]
    answer = api.post("/security-group-rules", {"security_group_rule": {
        "security_group_id": group["id"], "direction": "ingress", **values}}, status=400)
    assert any(name in answer["NeutronError"]["message"] for name in values)
    assert len(security_groups.rules_of([group["id"]])[group["id"]]) == 2


@pytest.mark.parametrize(("given", "stored"), [
    ("TCP", "tcp"), ("tcp", "tcp"), (" Tcp ", "tcp"), (6, "6"), ("6", "6"), ("006", "6"),
    ("any", None), (None, None), ("ICMP", "icmp"), ("0", None), ("VRRP", "vrrp")])
def test_n1_protocol_has_one_form(api, given, stored):
    """N1: whatever its case, a protocol is kept in the form the filters know."""
    group = api.post("/security-groups", {"security_group": {"name": "g"}})["security_group"]
    made = api.post("/security-group-rules", {"security_group_rule": {
        "security_group_id": group["id"], "direction": "Ingress", "protocol": given}})
    assert made["security_group_rule"]["protocol"] == stored
    assert made["security_group_rule"]["direction"] == "ingress"


def test_n9_unknown_group_is_an_error(api):
    """N9, N24: a reference to a group that is not there never ends as "from anywhere"."""
    group = api.post("/security-groups", {"security_group": {"name": "g"}})["security_group"]
    rule = {"security_group_id": group["id"], "direction": "ingress", "remote_group_id": NOWHERE}
    api.post("/security-group-rules", {"security_group_rule": rule}, status=404)


def test_n15_port_always_has_its_address_from_the_start(api, flat):
    """N15: there is no port without an address that could take somebody's later."""
    port = api.post("/ports", {"port": {"network_id": flat.id, "fixed_ips": []}})["port"]
    assert len(port["fixed_ips"]) == 1
    api.put(f"/ports/{port['id']}", {"port": {"fixed_ips": [{"ip_address": "10.0.0.99"}]}},
            status=501)
    network = api.post("/networks", {"network": {}})["network"]
    api.post("/ports", {"port": {"network_id": network["id"]}}, status=409)


def test_q23_deep_and_large_bodies_are_refused(api):
    """Q23: nesting and size end in a client error before anything is parsed far."""
    for raw in (b"[" * 100000, b'{"port":' * 5000, b'"' + b"a" * 300000 + b'"'):
        response = api("POST", "/ports", raw)
        assert response.status_int in (400, 413)
        assert "NeutronError" in response.data


def test_foreign_floating_ips_are_not_taken(api, public, flat, theirs):
    """T7, N25: an address of a pool is had by asking the pool, not by naming it."""
    held = floating_ips.get(theirs["floatingips"])
    api.post("/floatingips", {"floatingip": {
        "floating_network_id": public.id, "floating_ip_address": held.address}}, status=403)
    api.post("/floatingips", {"floatingip": {
        "floating_network_id": public.id, "floating_ip_address": held.address}},
        token=ADMIN, status=409)
    assert floating_ips.get(theirs["floatingips"]).project_id == "beta"
    assert networks.get(public.id, "alpha").external
    assert json.loads(json.dumps(held.address)) == held.address
