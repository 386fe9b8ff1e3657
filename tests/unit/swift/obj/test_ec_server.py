# SPDX-License-Identifier: Apache-2.0
"""The object server with an erasure coded policy, and bodies that come in MIME documents."""
import json
import os
import time
from hashlib import md5

import pytest
from wsgi_call import call, environ

from swift.common import storage, storage_policy
from swift.common.exceptions import ChunkReadError, ConfigError
from swift.obj.auditor import ObjectAuditor
from swift.obj.server import ObjectApp

POLICY = {"storage-policy:0": {"name": "gold", "default": "yes"},
          "storage-policy:1": {"name": "coded", "policy_type": "erasure_coding",
                               "ec_type": "liberasurecode_rs_vand", "ec_num_data_fragments": "2",
                               "ec_num_parity_fragments": "1",
                               "ec_object_segment_size": "1000"}}
WHERE = "/sda/1/a/c/o"


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies(POLICY))
    (tmp_path / "sda").mkdir()
    return ObjectApp({"devices": str(tmp_path), "mount_check": "false", "log_level": "CRITICAL",
                      "log_address": "/none"})


class Phases:
    """A body as the WSGI server gives it: the second part comes after a second 100."""

    def __init__(self, *parts):
        self.parts = list(parts)
        self.at = self.parts.pop(0)
        self.headers = []
        self.continues = 0

    def set_hundred_continue_response_headers(self, headers):
        self.headers = headers

    def send_hundred_continue_response(self):
        self.continues += 1
        if not self.parts:
            raise ChunkReadError("the proxy went away")
        self.at = self.parts.pop(0)

    def read1(self, size=65536):
        data, self.at = self.at[:min(size, 7)], self.at[min(size, 7):]
        return data


def documents(body, footers, commit=True, boundary="b" * 20):
    text = json.dumps(footers).encode()
    digest = md5(text, usedforsecurity=False).hexdigest()
    first = (f"--{boundary}\r\nX-Document: object body\r\n\r\n".encode() + body +
             f"\r\n--{boundary}\r\nX-Document: object metadata\r\nContent-MD5: {digest}\r\n\r\n"
             .encode() + text + f"\r\n--{boundary}".encode())
    if not commit:
        return Phases(first + b"--\r\n")
    return Phases(first + b"\r\n", b"X-Document: put commit\r\n\r\nput_commit_confirmation\r\n--"
                  + boundary.encode() + b"--")


def send(app, source, when, policy=1, **headers):
    env = environ("PUT", WHERE, {
        "X-Timestamp": when, "Content-Type": "t/p", "Transfer-Encoding": "chunked",
        "X-Backend-Storage-Policy-Index": str(policy), "X-Backend-Obj-Metadata-Footer": "yes",
        "X-Backend-Obj-Multipart-Mime-Boundary": "b" * 20,
        **({"X-Backend-Obj-Multiphase-Commit": "yes"} if policy else {}), **headers})
    env.pop("CONTENT_LENGTH", None)
    env["wsgi.input"] = source
    return call(lambda _, start: app(env, start), "PUT", WHERE)


def footers(index, body, **more):
    return {"X-Object-Sysmeta-Ec-Frag-Index": str(index), "X-Object-Sysmeta-Ec-Etag": "whole",
            "X-Object-Sysmeta-Ec-Content-Length": "77",
            "Etag": md5(body, usedforsecurity=False).hexdigest(), **more}


def put(app, when, index=1, body=b"fragment", **more):
    return send(app, documents(body, footers(index, body, **more)), when)


def get(app, **headers):
    return call(app, "GET", WHERE, {"X-Backend-Storage-Policy-Index": "1", **{
        key.replace("_", "-"): value for key, value in headers.items()}})


def names(tmp_path, policy=1):
    return sorted(path.name for path in tmp_path.glob(f"sda/objects-{policy}/1/*/*/*"))


NOW = int(time.time())
T1, T2 = f"{NOW}.00000", f"{NOW + 1}.00000"


def test_two_phases_make_a_durable_fragment(app, tmp_path):
    source = documents(b"fragment", footers(1, b"fragment"))
    assert send(app, source, T1)[0] == 201
    assert dict(source.headers) == {"X-Obj-Metadata-Footer": "yes",
                                    "X-Obj-Multiphase-Commit": "yes"}
    assert source.continues == 1 and names(tmp_path) == [f"{T1}#1#d.data"]
    status, headers, body = get(app)
    assert (status, body) == (200, b"fragment")
    assert headers["x-object-sysmeta-ec-frag-index"] == "1"
    assert headers["x-backend-durable-timestamp"] == headers["x-backend-data-timestamp"] == T1
    assert json.loads(headers["x-backend-fragments"]) == {T1: [1]}
    assert get(app, If_None_Match="whole", X_Backend_Etag_Is_At="X-Object-Sysmeta-Ec-Etag")[0] \
        == 304
    assert call(app, "HEAD", WHERE, {"X-Backend-Storage-Policy-Index": "1"})[0] == 200


def test_without_the_second_word_the_version_before_stays(app, tmp_path):
    put(app, T1)
    source = documents(b"newer", footers(1, b"newer"))
    source.parts.clear()                       # the proxy dies before it says so
    assert send(app, source, T2)[0] == 499
    assert names(tmp_path) == [f"{T1}#1#d.data", f"{T2}#1.data"]
    assert get(app)[2] == b"fragment"
    status, headers, body = get(app, X_Backend_Fragment_Preferences="[]")
    assert (status, body, headers["x-backend-durable-timestamp"]) == (200, b"newer", T1)
    preferences = json.dumps([{"timestamp": T1, "exclude": []}])
    assert get(app, X_Backend_Fragment_Preferences=preferences)[2] == b"fragment"
    for bad in ("x", "7", '[{"timestamp": "x", "exclude": []}]', '[{"exclude": []}]', "[1]"):
        assert get(app, X_Backend_Fragment_Preferences=bad)[0] == 400


def test_what_is_wrong_with_a_body_is_said(app, tmp_path):
    body = b"fragment"
    good = footers(1, body)
    assert send(app, documents(body, {**good, "Etag": "0" * 32}), T1)[0] == 422
    assert send(app, documents(body, {**good, "X-Object-Sysmeta-Ec-Frag-Index": "3"}), T1)[0] == 400
    assert send(app, documents(body, [1]), T1)[0] == 400
    assert send(app, documents(body, {"Etag": 7}), T1)[0] == 400
    assert send(app, Phases(b"no boundary" * 9), T1)[0] == 400
    assert send(app, Phases(b"--" + b"b" * 20 + b"\r\n"), T1)[0] == 499
    broken = documents(body, good)
    broken.at = broken.at.replace(b"Content-MD5: ", b"Content-MD5: 0")
    assert send(app, broken, T1)[0] == 422
    assert send(app, documents(body, good), T1, **{"X-Backend-Obj-Content-Length": "9"})[0] == 499
    assert names(tmp_path) == []


def test_footers_of_a_replicated_object(app, tmp_path):
    body = os.urandom(300000)
    late = {"X-Object-Sysmeta-Late": "k\u00c3\u00a4se", "X-Object-Meta-M": "1", "X-Other": "2",
            "Etag": md5(body, usedforsecurity=False).hexdigest()}

    class Fast(Phases):
        def read1(self, size=65536):
            data, self.at = self.at[:size], self.at[size:]
            return data

    source = Fast(documents(body, late, commit=False).at)
    assert send(app, source, T1, policy=0, **{"X-Backend-Obj-Content-Length": "300000"})[0] == 201
    assert dict(source.headers) == {"X-Obj-Metadata-Footer": "yes"}
    status, headers, got = call(app, "GET", WHERE)
    assert (status, got) == (200, body) and "x-other" not in headers
    assert headers["x-object-sysmeta-late"] == "k\u00c3\u00a4se"
    assert headers["x-object-meta-m"] == "1"


def test_delete_and_post(app, tmp_path):
    put(app, T1)
    policy = {"X-Backend-Storage-Policy-Index": "1"}
    assert call(app, "POST", WHERE, {**policy, "X-Timestamp": T2, "X-Object-Meta-A": "b"})[0] == 202
    assert get(app)[1]["x-object-meta-a"] == "b"
    assert call(app, "DELETE", WHERE, {**policy, "X-Timestamp": T2})[0] == 204
    assert names(tmp_path) == [f"{T2}.ts"] and get(app)[0] == 404


def test_the_auditor_finds_what_has_a_fitting_etag_but_is_no_fragment(app, tmp_path):
    coding = storage_policy.policies().by_index(1).coding
    put(app, T1, 1, coding.encode(b"x" * 1000)[1])
    auditor = ObjectAuditor({"devices": str(tmp_path), "mount_check": "false"}, app.logger)
    assert auditor.audit_all("ALL")["quarantined"] == 0
    put(app, T2, 1, b"garbage that was rebuilt from garbage")
    assert auditor.audit_all("ALL")["quarantined"] == 1
    assert len(list(tmp_path.glob("sda/quarantined/objects-1/*"))) == 1


@pytest.mark.parametrize("change, said", [
    ({"ec_type": ""}, "ec_type is missing"), ({"ec_type": "nothing"}, "nothing"),
    ({"ec_num_data_fragments": "0"}, "ec_num_data_fragments"),
    ({"ec_num_parity_fragments": "x"}, "ec_num_parity_fragments"),
    ({"ec_object_segment_size": "0"}, "ec_object_segment_size"),
    ({"ec_type": "isa_l_rs_vand", "ec_num_parity_fragments": "5"}, "deprecated")])
def test_a_policy_that_cannot_be_is_refused(change, said):
    broken = {**POLICY, "storage-policy:1": {**POLICY["storage-policy:1"], **change}}
    with pytest.raises(ConfigError, match=said):
        storage_policy.parse_policies(broken)


def test_without_the_library_only_such_a_policy_is_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyeclib.ec_iface", None)
    storage_policy.parse_policies({"storage-policy:0": POLICY["storage-policy:0"]})
    with pytest.raises(ConfigError, match="pyeclib"):
        storage_policy.parse_policies(POLICY)


def test_the_ring_has_a_place_for_each_fragment():
    policy = storage_policy.parse_policies(POLICY).by_index(1)
    policy.check_ring(3.0)
    for replicas in (2, 4, 3.5):
        with pytest.raises(ConfigError, match="exactly 3"):
            policy.check_ring(replicas)
    assert (policy.coding.quorum, policy.coding.archive_size(0)) == (3, 0)
    size = policy.coding.fragment_size
    assert policy.coding.archive_size(2000) == 2 * size
    assert len(policy.coding.encode(b"x" * 7)[0]) == policy.coding.archive_size(2007) - 2 * size


@pytest.mark.parametrize(("index", "module", "is_ours"), [
    (0, "egg:swift#replication.fs", True), (1, "egg:swift#erasure_coding.fs", True),
    (0, "", True), (1, "egg:swift#replication.fs", False), (0, "egg:elsewhere#gluster", False)])
def test_how_another_module_stores_objects_is_not_known(index, module, is_ours):
    section = f"storage-policy:{index}"
    options = {**POLICY, section: {**POLICY[section], "diskfile_module": module}}
    if is_ours:
        storage_policy.parse_policies(options)
        return
    with pytest.raises(ConfigError, match="diskfile_module"):
        storage_policy.parse_policies(options)
