# SPDX-License-Identifier: Apache-2.0
"""The container server as a WSGI application over one device."""
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsgi_call import call

BASE = 1600000000
ROW = {"X-Size": "3", "X-Content-Type": "t/p", "X-Etag": "e"}


def at(seconds):
    return f"{BASE + seconds}.00000"


def req(app, method, path="", when=None, query="", body=b"", **headers):
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    if when is not None:
        more["X-Timestamp"] = at(when)
    return call(app, method, f"/sda/1/a/c{path}{query}", more, body)


def put_row(app, name, when=2):
    return call(app, "PUT", f"/sda/1/a/c/{name}", {"X-Timestamp": at(when), **ROW})[0]


def test_create_update_delete(app):
    status, headers, _ = req(app, "PUT", when=1, X_Container_Meta_A="1")
    assert (status, headers["x-backend-storage-policy-index"]) == (201, "0")
    assert req(app, "PUT", when=2)[0] == 202
    assert req(app, "POST", when=3, X_Container_Meta_A="", X_Container_Read=".r:*")[0] == 204
    status, headers, _ = req(app, "HEAD")
    assert status == 204 and headers["x-container-read"] == ".r:*"
    assert "x-container-meta-a" not in headers
    assert put_row(app, "o") == 201
    assert req(app, "DELETE", when=4)[0] == 409
    assert req(app, "DELETE", "/o", when=5)[0] == 204
    assert req(app, "DELETE", when=2)[0] == 409                  # older than its PUT
    assert req(app, "DELETE", when=6)[0] == 204
    assert req(app, "HEAD")[0] == req(app, "GET")[0] == req(app, "DELETE", when=7)[0] == 404
    assert req(app, "POST", when=8)[0] == 404
    assert req(app, "PUT", when=5)[0] == 409                     # older than its DELETE
    assert req(app, "PUT", when=9)[0] == 201
    assert req(app, "HEAD")[0] == 204


def test_put_then_list_shows_it(app):
    req(app, "PUT", when=1)
    for number in range(3):
        assert put_row(app, f"o{number}") == 201
        listed = json.loads(req(app, "GET", query="?format=json")[2])
        assert [entry["name"] for entry in listed] == [f"o{n}" for n in range(number + 1)]


def test_formats(app):
    req(app, "PUT", when=1)
    assert req(app, "GET")[0] == 204 and req(app, "GET", query="?format=json")[2] == b"[]"
    put_row(app, "\xc3\xb6/<&>")
    assert req(app, "GET")[2] == "\u00f6/<&>\n".encode()
    [entry] = json.loads(req(app, "GET", query="?format=json")[2])
    assert entry == {"name": "\u00f6/<&>", "bytes": 3, "hash": "e", "content_type": "t/p",
                     "last_modified": "2020-09-13T12:26:42.000000"}
    assert "<name>\u00f6/&lt;&amp;&gt;</name>" in req(app, "GET", Accept="text/xml")[2].decode()
    assert req(app, "GET", Accept="image/png")[0] == 406
    assert req(app, "GET", query="?limit=10001")[0] == req(app, "GET", query="?limit=x")[0] == 412


def test_storage_policies(app):
    assert req(app, "PUT", when=1, X_Backend_Storage_Policy_Index="7")[0] == 400
    assert req(app, "PUT", when=1, X_Backend_Storage_Policy_Index="1")[1][
        "x-backend-storage-policy-index"] == "1"
    assert req(app, "PUT", when=2, X_Backend_Storage_Policy_Index="0")[0] == 409
    assert req(app, "PUT", when=3)[0] == 202
    put_row(app, "misplaced")
    assert req(app, "GET")[0] == 204
    assert req(app, "HEAD")[1]["x-container-object-count"] == "0"
    assert req(app, "DELETE", when=9)[0] == 409                  # not empty in another policy


def test_rows_need_a_container(app):
    assert put_row(app, "o") == 404
    hidden = call(app, "PUT", "/sda/1/.hidden/c/o", {"X-Timestamp": at(1), **ROW})
    assert hidden[0] == 201 and call(app, "GET", "/sda/1/.hidden/c")[2] == b"o\n"


@pytest.mark.parametrize("missing", ["X-Size", "X-Content-Type", "X-Etag"])
def test_rows_need_their_headers(app, missing):
    req(app, "PUT", when=1)
    headers = {"X-Timestamp": at(2), **ROW}
    del headers[missing]
    assert call(app, "PUT", "/sda/1/a/c/o", headers)[0] == 400


@pytest.mark.parametrize("target, status", [
    ("http://127.0.0.1:8080/v1/a/c", 201), ("//realm/cluster/a/c", 201),
    ("http://example.com/v1/a/c", 400), ("ftp://127.0.0.1/v1/a/c", 400), ("http://[x", 400),
    ("http://127.0.0.1/", 400), ("//realm/a/c", 400), ("http://127.0.0.1/v1/a/c?q=1", 400)])
def test_sync_targets(app, target, status):
    assert req(app, "PUT", when=1, X_Container_Sync_To=target)[0] == status


def replicate(app, *message, name_hash="0" * 32):
    return call(app, "REPLICATE", f"/sda/1/{name_hash}", {}, json.dumps(message).encode())


@pytest.mark.parametrize("message", [
    ["sync"], ["sync", 1, 2, 3, 4, 5, 6, 7], ["merge_items", 7], ["merge_items", [7], "x"],
    ["merge_items", [{}], "x"], ["merge_syncs", [{}]], ["complete_rsync"],
    ["complete_rsync", "../../x"], ["rsync_then_merge", "a/b"], ["__init__"], ["dispatch"],
    [7], [], "text", None])
def test_bad_replication_messages_are_refused(app, message):
    import os

    req(app, "PUT", when=1)
    base = f"{app.devices}/sda/containers/1"
    name_hash = os.listdir(f"{base}/{os.listdir(base)[0]}")[0]
    status = call(app, "REPLICATE", f"/sda/1/{name_hash}", {}, json.dumps(message).encode())[0]
    assert status in (400, 404)
    assert call(app, "REPLICATE", f"/sda/1/{name_hash}", {}, b"\xff")[0] == 400
    assert replicate(app, "sync", name_hash="..")[0] == 400


def test_a_database_that_arrives_second_leaves_nothing(app):
    """Two peers filled an emptied device at once; what the second one copied is not kept."""
    req(app, "PUT", when=1)
    db_file = Path(app.db_file("sda", "1", "a", "c"))
    late = Path(app.device_path("sda")) / "tmp/some-id"
    late.parent.mkdir(exist_ok=True)
    late.write_bytes(db_file.read_bytes())
    assert replicate(app, "complete_rsync", "some-id", name_hash=db_file.stem)[0] == 404
    assert db_file.exists() and not late.exists()


TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20)
HEADERS = st.dictionaries(st.sampled_from([
    "X-Timestamp", "X-Size", "X-Etag", "X-Content-Type", "X-Meta-Timestamp", "Accept",
    "X-Content-Type-Timestamp", "X-Account-Host", "X-Account-Device", "X-Account-Partition",
    "X-Backend-Storage-Policy-Index", "X-Container-Meta-A", "X-Container-Sync-To"]), TEXT,
    max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=100)
@given(method=st.sampled_from(["PUT", "GET", "HEAD", "POST", "DELETE", "REPLICATE"]),
       headers=HEADERS, tail=TEXT, query=TEXT, body=st.binary(max_size=20))
def test_nothing_makes_a_500(app, method, headers, tail, query, body):
    for path in ("/sda/1/a/c", "/sda/1/a/c/" + tail, "/" + tail, "/sda/1/" + tail):
        for more in ("", "?" + query, "?limit=" + query, "?format=json&marker=" + query):
            status = call(app, method, path + more, {"X-Timestamp": at(5), **headers}, body)[0]
            assert status != 500
