# SPDX-License-Identifier: Apache-2.0
"""The account server as a WSGI application over one device."""
import json

from wsgi_call import call


def at(seconds):
    return f"{1600000000 + seconds}.00000"


def req(app, method, path="", when=None, query="", **headers):
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    if when is not None:
        more["X-Timestamp"] = at(when)
    return call(app, method, f"/sda/1/a{path}{query}", more)


def row(app, name, put, delete=None, objects=0, size=0, **headers):
    return req(app, "PUT", "/" + name, X_Put_Timestamp=at(put),
               X_Delete_Timestamp=at(delete) if delete else "0", X_Object_Count=str(objects),
               X_Bytes_Used=str(size), **headers)[0]


def test_counts_and_listing(app):
    assert req(app, "PUT", when=1, X_Account_Meta_A="1")[0] == 201
    assert req(app, "PUT", when=2)[0] == 202
    assert [row(app, name, 3, objects=2, size=10) for name in ("b-1", "b-2", "c")] == [201] * 3
    assert row(app, "c", 3, delete=5) == 204
    _, headers, body = req(app, "GET", query="?format=json&delimiter=-")
    assert json.loads(body) == [{"subdir": "b-"}]
    assert (headers["x-account-container-count"], headers["x-account-object-count"],
            headers["x-account-bytes-used"]) == ("2", "4", "20")
    assert headers["x-account-storage-policy-policy-0-container-count"] == "2"
    assert req(app, "GET")[2] == b"b-1\nb-2\n"
    assert b"<container><name>b-1</name><count>2</count><bytes>10</bytes>" in req(
        app, "GET", query="?format=xml")[2]


def test_older_reports_change_nothing(app):
    req(app, "PUT", when=1)
    row(app, "c", 5, objects=3)
    row(app, "c", 5, delete=4)
    assert req(app, "GET")[2] == b"c\n"
    row(app, "c", 5, delete=6)
    assert req(app, "GET")[0] == 204


def test_a_deleted_account_stays_deleted(app):
    req(app, "PUT", when=1)
    assert req(app, "DELETE", when=2)[0] == 204
    for method in ("HEAD", "GET"):
        status, headers, _ = req(app, method)
        assert (status, headers["x-account-status"]) == (404, "Deleted")
    assert req(app, "PUT", when=3)[0] == 403
    assert row(app, "c", 4) == 404
    assert row(app, "c", 4, X_Account_Override_Deleted="yes") == 201


def test_bad_rows_are_400(app):
    req(app, "PUT", when=1)
    for name, value in (("X_Object_Count", "x"), ("X_Object_Count", "-1"),
                        ("X_Put_Timestamp", "x"), ("X_Bytes_Used", "")):
        headers = {"X_Put_Timestamp": at(1), "X_Delete_Timestamp": "0", "X_Object_Count": "1",
                   "X_Bytes_Used": "1", name: value}
        assert req(app, "PUT", "/c", **headers)[0] == 400
