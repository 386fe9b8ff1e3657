# SPDX-License-Identifier: Apache-2.0
"""No input makes a 500: made-up bodies, ids, headers and query strings against every route."""

import json
import re
import urllib.parse

import pytest
from compute_api import IMAGE_ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nova.api.openstack.compute.app import make_app

SETTINGS = settings(max_examples=120, deadline=None, derandomize=True, database=None,
                    suppress_health_check=list(HealthCheck))

text = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", " ", "a" * 256, "a" * 70000, "\x00", "\ud800", "\u202e", "../..", "%s",
                     "'; DROP TABLE instances; --", "\U0001f600", "null", "-1", "1e999", "none",
                     "auto", "2**31", "99999999999999999999", "\u0660", "0x1", "1_0", "\r\nX: y"]))
scalars = st.one_of(
    st.none(), st.booleans(), text, st.integers(), st.floats(allow_nan=False),
    st.sampled_from([0, -1, 2**31 - 1, 2**31, 2**63, 2**64, 10**400, 1e308, 1.5, IMAGE_ID,
                     "10.0.0.1", "::1", "fe80::1%eth0", "0.0.0.0/0", "2026-01-01T00:00:00Z"]))
values = st.recursive(scalars, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)), max_leaves=12)

SERVER = {
    "name": "one", "flavorRef": "1", "imageRef": IMAGE_ID, "metadata": {"a": "b"},
    "networks": [{"uuid": IMAGE_ID, "fixed_ip": "10.0.0.9"}], "key_name": "k",
    "security_groups": [{"name": "default"}], "user_data": "aGk=", "min_count": 1, "max_count": 1,
    "availability_zone": "nova", "config_drive": True, "accessIPv4": "192.0.2.1",
    "block_device_mapping_v2": [{"source_type": "image", "destination_type": "local",
                                 "uuid": IMAGE_ID, "boot_index": 0}],
    "personality": [], "OS-DCF:diskConfig": "AUTO", "return_reservation_id": False}
BODIES = {
    "/servers": {"server": SERVER, "os:scheduler_hints": {"same_host": [IMAGE_ID]}},
    "/servers/{server_id}": {"server": {"name": "x", "accessIPv6": "::1"}},
    "/servers/{server_id}/action": {"reboot": {"type": "HARD"}},
    "/servers/{server_id}/metadata": {"metadata": {"a": "b"}},
    "/servers/{server_id}/metadata/{key}": {"meta": {"a": "b"}},
    "/flavors": {"flavor": {"name": "f", "ram": 1, "vcpus": 1, "disk": 1, "id": "9", "swap": 1,
                            "rxtx_factor": 1.0, "os-flavor-access:is_public": True}},
    "/flavors/{flavor_id}/os-extra_specs": {"extra_specs": {"a": "b"}},
    "/flavors/{flavor_id}/os-extra_specs/{key}": {"a": "b"},
    "/flavors/{flavor_id}/action": {"addTenantAccess": {"tenant": "x"}},
    "/os-keypairs": {"keypair": {"name": "k", "public_key": "ssh-rsa AAAA"}},
    "/os-quota-sets/{project_id}": {"quota_set": {"instances": 1, "force": True}},
    "/os-services/enable": {"host": "host1", "binary": "nova-compute"},
    "/os-services/force-down": {"host": "host1", "binary": "nova-compute", "forced_down": True},
    "/os-floating-ips": {"pool": "public"},
}
ACTIONS = [{"os-start": None}, {"os-stop": None}, {"lock": None}, {"unlock": None},
           {"reboot": {"type": "SOFT"}}, {"os-getConsoleOutput": {"length": 5}},
           {"addSecurityGroup": {"name": "default"}}, {"removeSecurityGroup": {"name": "x"}},
           {"addFloatingIp": {"address": "192.0.2.1"}},
           {"removeFloatingIp": {"address": "192.0.2.1"}}]


@st.composite
def mutated(draw, body):
    """A body that was right, with one or two places replaced by something made up."""
    body = json.loads(json.dumps(body))
    for _ in range(draw(st.integers(1, 2))):
        place, key = body, None
        while isinstance(place, dict | list) and place:
            parent = place
            key = draw(st.sampled_from(sorted(place))) if isinstance(place, dict) \
                else draw(st.integers(0, len(place) - 1))
            place = place[key]
            if draw(st.booleans()) and isinstance(parent, dict):
                break
        if key is None:
            return draw(values)
        how = draw(st.integers(0, 3))
        if how == 0 and isinstance(parent, dict):
            del parent[key]
        elif how == 1 and isinstance(parent, dict):
            parent[draw(text)] = draw(values)
        else:
            parent[key] = draw(values)
    return body


def raw_json(value):
    """The bytes of a JSON text, also of what no JSON library likes to write."""
    return json.dumps(value, ensure_ascii=True).encode()


def check(response):
    assert response.status_int < 500 or response.status_int == 501, response.text
    assert response.headers["x-compute-request-id"]
    if response.status_int >= 400 and response.body:
        [fault] = json.loads(response.body).values()
        assert fault["code"] == response.status_int and fault["message"]


def path_of(mark, draw_id):
    return re.sub(r"\{[a-z_]+(:[^}]*)?\}", lambda _found: draw_id, mark)


@pytest.fixture
def target(cloud, active):
    """A server on a host, with workers that answer."""
    cloud.server_id = cloud.alpha.boot()
    active(cloud.server_id)
    cloud.compute.answers.update(
        get_console_output=lambda host, instance_id, lines=None: "text",
        host_uptime=lambda host: "up")
    cloud.marks = [mark for mark in make_app(cloud.api).routes()
                   if mark.policy != "compute:unsupported"]
    return cloud


def test_bodies(target):
    posts = sorted({(m.method, m.path) for m in target.marks
                    if m.method in ("POST", "PUT") and m.path in BODIES})

    @SETTINGS
    @given(st.data())
    def run(data):
        method, path = data.draw(st.sampled_from(posts))
        body = BODIES[path]
        if path.endswith("{server_id}/action"):
            body = data.draw(st.sampled_from(ACTIONS))
        body = data.draw(st.one_of(mutated(body), values))
        client = data.draw(st.sampled_from([target.alpha, target.admin]))
        where = path_of(path.replace("{server_id}", target.server_id), "1")
        check(client.request(method, where, raw=raw_json(body)))
    run()


def test_raw_bodies_and_headers(target):
    @SETTINGS
    @given(st.binary(max_size=200), st.sampled_from(["POST", "PUT"]),
           st.dictionaries(st.sampled_from(["Accept", "Content-Type", "X-Forwarded-For", "Host",
                                            "OpenStack-API-Version", "X-Auth-Token",
                                            "Content-Length", "Range", "If-Match"]),
                           st.text(st.characters(min_codepoint=32, max_codepoint=255),
                                   max_size=60), max_size=3))
    def run(raw, method, headers):
        for path in ("/servers", "/os-keypairs", f"/servers/{target.server_id}/action"):
            check(target.alpha.request(method, path, raw=raw, headers=headers))
    run()


def test_ids(target):
    gets = sorted({(m.method, m.path) for m in target.marks if "{" in m.path
                   and m.method in ("GET", "DELETE")})

    @SETTINGS
    @given(st.sampled_from(gets), text)
    def run(mark, made_up):
        method, path = mark
        made_up = urllib.parse.quote(made_up.encode("utf-8", "surrogatepass"), safe="")
        for filled in (path, path.replace("{server_id}", target.server_id)
                       .replace("{flavor_id}", "1")):
            check(target.admin.request(method, path_of(filled, made_up)))
    run()


def test_query_strings(target):
    lists = sorted({m.path for m in target.marks if m.method == "GET" and "{" not in m.path})
    names = ["limit", "marker", "sort_key", "sort_dir", "name", "status", "image", "flavor", "ip",
             "ip6", "changes-since", "changes-before", "all_tenants", "host", "project_id",
             "power_state", "progress", "task_state", "vm_state", "deleted", "config_drive",
             "locked", "minRam", "minDisk", "is_public", "start", "end", "detailed", "binary",
             "reservation_id", "launch_index", "hypervisor_hostname_pattern", "tenant_id"]
    markers = [target.server_id, "1"]
    queries = st.lists(st.tuples(st.one_of(st.sampled_from(names), text), st.one_of(
        text, st.sampled_from([*markers, "1", "-1", "asc", "is_public", "created_at",
                               "ACTIVE", "REBOOT", "HARD_REBOOT",
                               "^.*$", "[", "a{1,5}", "2026-01-01T00:00:00Z",
                               "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]))),
        max_size=4)

    @SETTINGS
    @given(st.sampled_from(lists), queries, st.booleans())
    def run(path, query, raw):
        encoded = "&".join(
            f"{urllib.parse.quote(k.encode('utf-8', 'surrogatepass'))}="
            f"{urllib.parse.quote(v.encode('utf-8', 'surrogatepass'))}" for k, v in query)
        if raw:
            encoded += "&%ff=%fe&%00=%zz&=&&;"
        for client in (target.alpha, target.admin):
            check(client.request("GET", f"{path}?{encoded}"))
    run()
