# SPDX-License-Identifier: Apache-2.0
"""No input makes a 500: made-up bodies, ids and query strings against every route."""

import json
import urllib.parse

import pytest
from compute_api import IMAGE_ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_rows import add_volume

SETTINGS = settings(max_examples=30, deadline=None, derandomize=True, database=None,
                    suppress_health_check=list(HealthCheck))
text = st.one_of(st.text(max_size=30), st.sampled_from([
    "", " ", "a" * 300, "\x00", "\ud800", "../..", "%s", "null", "-1", "1e999", "True", "none",
    IMAGE_ID, "\u0660", "99999999999999999999", "{'a': 'b'}", "{" * 300, "name:asc", "[]"]))
scalars = st.one_of(st.none(), st.booleans(), text, st.integers(), st.floats(allow_nan=False),
                    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**400, 1e308]))
values = st.recursive(scalars, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)), max_leaves=8)
TOKENS = st.sampled_from(["ann:alpha", "admin:admin"])
BODIES = {
    ("POST", "/volumes"): ("volume", {
        "size": 1, "name": "n", "description": "d", "volume_type": "plain", "metadata": {"a": "b"},
        "availability_zone": "nova", "imageRef": IMAGE_ID, "snapshot_id": None,
        "source_volid": None, "multiattach": False}),
    ("PUT", "/volumes/{volume}"): ("volume", {"name": "n", "description": "d", "metadata": {}}),
    ("POST", "/volumes/{volume}/metadata"): ("metadata", {"a": "b"}),
    ("POST", "/volumes/{volume}/action"): ("os-extend", {"new_size": 2}),
    ("POST", "/snapshots"): ("snapshot", {"volume_id": "{volume}", "name": "n", "force": True,
                                          "metadata": {"a": "b"}}),
    ("POST", "/types"): ("volume_type", {"name": "n", "extra_specs": {"a": "b"},
                                         "os-volume-type-access:is_public": True}),
    ("PUT", "/os-quota-sets/alpha"): ("quota_set", {"volumes": 5, "gigabytes": -1}),
    ("PUT", "/os-services/disable-log-reason"): (
        None, {"host": "h", "binary": "nova-volume", "disabled_reason": "r"}),
}


def check(response):
    assert response.status_int < 500 or response.status_int == 501, (
        response.status_int, response.body)
    if response.status_int >= 400:
        [fault] = json.loads(response.body).values()
        assert fault["message"]


def dumped(body):
    try:
        return json.dumps(body).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b"{"


@pytest.mark.parametrize("route", BODIES, ids=lambda route: " ".join(route))
def test_made_up_bodies(cloud, route):
    method, path = route
    key, good = BODIES[route]
    volume = add_volume(project_id="alpha").id
    path = path.format(volume=volume)
    good = {name: volume if value == "{volume}" else value for name, value in good.items()}

    @SETTINGS
    @given(st.data(), TOKENS)
    def run(data, token):
        body = dict(good)
        for _ in range(data.draw(st.integers(1, 2))):
            name = data.draw(st.sampled_from([*sorted(good), "unknown"]))
            if data.draw(st.booleans()):
                body.pop(name, None)
            else:
                body[name] = data.draw(values)
        made = data.draw(st.sampled_from(["good", "raw"]))
        whole = data.draw(values) if made == "raw" else body if key is None else {key: body}
        check(cloud.client(token).request(method, path, raw=dumped(whole)))

    run()


def test_made_up_ids_and_queries(cloud):
    routes = sorted({(mark.method, mark.path) for mark in cloud.routes() if mark.body is None})
    names = st.one_of(text, st.sampled_from([
        "id", "name", "limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants",
        "metadata", "status", "project_id", "bootable", "size", "usage", "is_public", "cascade",
        "force", "detail", "name~"]))

    @settings(SETTINGS, max_examples=200)
    @given(st.sampled_from(routes), text, st.lists(st.tuples(names, text), max_size=4), TOKENS)
    def run(chosen, made_up, query, token):
        method, path = chosen
        encoded = urllib.parse.quote(made_up.encode("utf-8", "surrogatepass"), safe="")
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + (encoded or "x") + rest.partition("}")[2]
        prefix = "" if path in ("/", "/v3") else "/v3"
        asked = urllib.parse.urlencode(query, errors="surrogatepass")
        check(cloud.client(token, prefix).request(method, f"{path}?{asked}"))

    run()
