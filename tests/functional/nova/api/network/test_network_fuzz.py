# SPDX-License-Identifier: Apache-2.0
"""No input makes a 500: made-up bodies, ids and query strings against every route."""

import json
import urllib.parse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nova.api.openstack.network.app import make_app

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, database=None,
                    suppress_health_check=list(HealthCheck))
ID = "0f5b9d1c-9a53-4d0c-8f5a-3c1f3e0a7a11"
text = st.one_of(st.text(max_size=30), st.sampled_from([
    "", " ", "a" * 300, "\x00", "\ud800", "../..", "%s", "null", "-1", "1e999", "0.0.0.0/0",
    "10.0.0.0/24", "10.0.0.5", "::1", "fd00::/64", "tcp", "TCP", "255", "fe80::1%eth0", ID,
    "\u0660", "99999999999999999999", "10.0.0.0/24\n", "fa:16:3e:00:00:01"]))
scalars = st.one_of(st.none(), st.booleans(), text, st.integers(), st.floats(allow_nan=False),
                    st.sampled_from([0, -1, 65535, 65536, 2**31, 2**63, 10**400, 1e308]))
values = st.recursive(scalars, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)), max_leaves=8)
BODIES = {
    "/networks": ("network", {"name": "n", "mtu": 1400, "shared": False, "router:external": False,
                              "admin_state_up": True, "tenant_id": "alpha"}),
    "/subnets": ("subnet", {"network_id": ID, "ip_version": 4, "cidr": "10.1.0.0/24",
                            "gateway_ip": "10.1.0.1", "dns_nameservers": ["9.9.9.9"],
                            "allocation_pools": [{"start": "10.1.0.5", "end": "10.1.0.9"}],
                            "enable_dhcp": True, "name": "s"}),
    "/ports": ("port", {"network_id": ID, "name": "p", "fixed_ips": [{"ip_address": "10.0.0.9"}],
                        "security_groups": [ID], "mac_address": "fa:16:3e:00:00:01",
                        "device_id": ID}),
    "/floatingips": ("floatingip", {"floating_network_id": ID, "port_id": ID,
                                    "fixed_ip_address": "10.0.0.9", "description": "d"}),
    "/security-groups": ("security_group", {"name": "g", "description": "d"}),
    "/security-group-rules": ("security_group_rule", {
        "security_group_id": ID, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "10.0.0.0/8"}),
    "/quotas": ("quota", {"port": 5, "network": -1}),
}
TOKENS = st.sampled_from(["ann:alpha", "admin:admin"])


@st.composite
def mutated(draw, path, ids):
    """A body that was right, with real ids in it, and one or two places made up."""
    single, body = BODIES[path]
    known = {"network_id": ids["network"], "security_group_id": ids["group"],
             "floating_network_id": ids["public"], "port_id": ids["port"]}
    body = {**body, **{name: known[name] for name in body if name in known}}
    body.pop("security_groups", None)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from([*sorted(body), "unknown"]))
        if draw(st.booleans()):
            body.pop(name, None)
        else:
            body[name] = draw(values)
    made = draw(st.sampled_from(["one", "many", "raw"]))
    if made == "raw":
        return draw(values)
    return {single: body} if made == "one" else {f"{single}s": [body, body]}


@pytest.fixture
def ids(api, flat, public):
    network = api.post("/networks", {"network": {"name": "own"}})["network"]
    port = api.post("/ports", {"port": {"network_id": flat.id}})["port"]
    group = api.post("/security-groups", {"security_group": {"name": "own"}})["security_group"]
    floating = api.post("/floatingips", {"floatingip": {"floating_network_id": public.id}})
    return {"network": network["id"], "public": public.id, "port": port["id"],
            "group": group["id"], "floating": floating["floatingip"]["id"], "flat": flat.id,
            "subnet": flat.subnet_id, "project": "alpha"}


def check(response):
    assert response.status_int < 500 or response.status_int == 501, (
        response.status_int, response.body)
    if response.status_int >= 400:
        assert response.data["NeutronError"]["message"]


def dumped(body):
    try:
        return json.dumps(body).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b"{"


@pytest.mark.parametrize("path", BODIES)
def test_made_up_bodies_of_post(api, ids, path):
    if path == "/quotas":
        path_of, method = "/quotas/alpha", "PUT"
    else:
        path_of, method = path, "POST"

    @SETTINGS
    @given(mutated(path, ids), TOKENS)
    def run(body, token):
        check(api(method, path_of, dumped(body), token))

    run()


@pytest.mark.parametrize(("path", "key"), [
    ("/networks", "network"), ("/ports", "port"), ("/floatingips", "floating"),
    ("/security-groups", "group"), ("/subnets", "subnet"), ("/networks", "flat")])
def test_made_up_bodies_of_put(api, ids, path, key):
    @SETTINGS
    @given(mutated(path, ids), TOKENS)
    def run(body, token):
        check(api("PUT", f"{path}/{ids[key]}", dumped(body), token))

    run()


def test_made_up_ids_and_queries(api, ids):
    routes = sorted({(mark.method, mark.path) for mark in make_app(api).routes()
                     if mark.body is None})
    names = st.one_of(text, st.sampled_from([
        "id", "name", "limit", "marker", "sort_key", "sort_dir", "fields", "page_reverse",
        "fixed_ips", "tenant_id", "shared", "router:external", "device_id", "tags", "mtu"]))

    @settings(SETTINGS, max_examples=300)
    @given(st.sampled_from(routes), text, st.lists(st.tuples(names, text), max_size=4),
           st.booleans(), TOKENS)
    def run(chosen, made_up, query, raw, token):
        method, path = chosen
        encoded = urllib.parse.quote(made_up.encode("utf-8", "surrogatepass"), safe="")
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + (encoded or "x") + rest.partition("}")[2]
        asked = "&".join(f"{name}={value}" for name, value in query) if raw and all(
            f"{name}{value}".isascii() and f"{name}{value}".isprintable()
            and not set(f"{name}{value}") & set("#?% ") for name, value in query) \
            else urllib.parse.urlencode(query, errors="surrogatepass")
        check(api(method, f"{path}?{asked}", token=token))

    run()
