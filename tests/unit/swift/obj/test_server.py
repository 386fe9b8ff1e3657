# SPDX-License-Identifier: Apache-2.0
"""The object server as a WSGI application over one device."""
import os
import time
from hashlib import md5
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsgi_call import call

from swift.common import durable
from swift.common.timestamp import Timestamp

NOW = time.time()


def at(seconds):
    return f"{NOW + seconds:.5f}"


def put(app, name="o", when=0.0, body=b"0123456789", **headers):
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    return call(app, "PUT", f"/sda/1/a/c/{name}",
                {"X-Timestamp": at(when), "Content-Type": "t/p", **more}, body)


def get(app, name="o", method="GET", **headers):
    return call(app, method, f"/sda/1/a/c/{name}",
                {key.replace("_", "-"): value for key, value in headers.items()})


def test_what_was_put_is_got(app):
    status, headers, _ = put(app, X_Object_Meta_Foo="b\xc3\xa4r", Content_Encoding="gzip")
    assert (status, headers["etag"]) == (201, '"781e5e245d69b566979b86e28d23f2c7"')
    status, headers, body = get(app)
    assert (status, body) == (200, b"0123456789")
    assert headers["x-object-meta-foo"] == "b\xc3\xa4r" and headers["content-encoding"] == "gzip"
    assert headers["x-timestamp"] == headers["x-backend-data-timestamp"] == at(0)
    status, headers, body = get(app, method="HEAD")
    assert (status, headers["content-length"], body) == (200, "10", b"")


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 262144, 262145, 3000001])
def test_any_size_round_trips(app, size):
    body = os.urandom(size)
    assert put(app, body=body)[0] == 201
    assert get(app)[2] == body


def test_only_newer_requests_change_anything(app):
    put(app, when=10)
    assert put(app, when=10)[0] == put(app, when=9)[0] == 409
    assert call(app, "DELETE", "/sda/1/a/c/o", {"X-Timestamp": at(9)})[0] == 409
    assert call(app, "POST", "/sda/1/a/c/o", {"X-Timestamp": at(9)})[0] == 409
    assert call(app, "DELETE", "/sda/1/a/c/o", {"X-Timestamp": at(11)})[0] == 204
    assert put(app, when=10.5)[0] == 409
    assert get(app)[0] == 404
    assert put(app, when=12)[0] == 201


@pytest.mark.parametrize("headers, status, start", [
    ({"Range": "bytes=2-4"}, 206, b"234"), ({"Range": "bytes=-3"}, 206, b"789"),
    ({"Range": "bytes=7-"}, 206, b"789"), ({"Range": "bytes=0-999"}, 206, b"0123456789"),
    ({"Range": "bytes=10-"}, 416, b"The Range"), ({"Range": "bytes=-0"}, 416, b"The Range"),
    ({"Range": "bytes=4-2"}, 200, b"0123"), ({"Range": "lines=1-2"}, 200, b"0123"),
    ({"Range": "bytes=x"}, 200, b"0123"),
    ({"If-Match": '"781e5e245d69b566979b86e28d23f2c7"'}, 200, b"0123"),
    ({"If-Match": "*", "If-Unmodified-Since": "Thu, 01 Jan 1998 00:00:00 GMT"}, 412, b""),
    ({"If-Match": "other"}, 412, b""), ({"If-None-Match": "*"}, 304, b""),
    ({"If-None-Match": "other"}, 200, b"0123"),
    ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304, b""),
    ({"If-Unmodified-Since": "Thu, 01 Jan 1998 00:00:00 GMT"}, 412, b""),
    ({"If-Modified-Since": "nonsense"}, 200, b"0123")])
def test_ranges_and_conditions(app, headers, status, start):
    put(app)
    found, answer, body = call(app, "GET", "/sda/1/a/c/o", headers)
    assert found == status and body.startswith(start)
    if status == 416:
        assert answer["content-range"] == "bytes */10"


def test_several_ranges_are_multipart(app):
    put(app)
    status, headers, body = get(app, Range="bytes=0-1,5-6")
    boundary = headers["content-type"].partition("boundary=")[2].encode()
    assert status == 206 and len(body) == int(headers["content-length"])
    assert body.count(b"--" + boundary) == 3
    assert b"Content-Range: bytes 5-6/10\r\n\r\n56\r\n" in body


def test_post_replaces_metadata_and_keeps_the_rest(app):
    put(app, X_Object_Meta_A="1", X_Object_Sysmeta_S="s", Content_Disposition="x")
    assert call(app, "POST", "/sda/1/a/c/o", {"X-Timestamp": at(1), "X-Object-Meta-B": "2"})[0] \
        == 202
    _, headers, _ = get(app)
    assert headers["x-object-meta-b"] == "2" and "x-object-meta-a" not in headers
    assert headers["x-object-sysmeta-s"] == "s" and "content-disposition" not in headers
    assert headers["content-type"] == "t/p" and headers["x-timestamp"] == at(1)
    assert headers["x-backend-data-timestamp"] == at(0)


def test_post_may_change_the_content_type(app):
    put(app)
    call(app, "POST", "/sda/1/a/c/o", {"X-Timestamp": at(1), "Content-Type": "new/type"})
    call(app, "POST", "/sda/1/a/c/o", {"X-Timestamp": at(2), "X-Object-Meta-A": "1"})
    _, headers, _ = get(app)
    assert headers["content-type"] == "new/type" and headers["x-object-meta-a"] == "1"


def test_expired_objects_are_gone(app):
    soon = int(time.time()) + 3
    assert put(app, X_Delete_At=str(soon))[0] == 201
    assert get(app)[0] == 200
    assert put(app, "past", X_Delete_At="100")[0] == 400
    while time.time() < soon + 0.1:
        time.sleep(0.1)
    assert get(app)[0] == get(app, method="HEAD")[0] == 404
    assert call(app, "POST", "/sda/1/a/c/o", {"X-Timestamp": at(5)})[0] == 404
    assert get(app, X_Backend_Open_Expired="true")[0] == 200
    wrong = call(app, "DELETE", "/sda/1/a/c/o", {"X-Timestamp": at(9), "X-If-Delete-At": "1"})
    assert wrong[0] == 412
    assert call(app, "DELETE", "/sda/1/a/c/o", {"X-Timestamp": at(9),
                                                "X-If-Delete-At": str(soon)})[0] == 204


@pytest.mark.parametrize("form", ["{}", "{}.00000"], ids=["our expirer", "Swift's expirer"])
def test_an_expirer_deletes_what_it_means(app, form):
    soon = int(time.time()) + 1000
    put(app, X_Delete_At=str(soon))

    def delete(seconds, name="o", when=soon):
        return call(app, "DELETE", "/sda/1/a/c/" + name, {
            "X-Timestamp": at(seconds), "X-If-Delete-At": form.format(when)})[0]

    assert delete(9, "none") == 404                # and no tombstone stays
    assert delete(9, when=soon + 1) == 412
    assert delete(-9) == 409                       # what is stored is newer
    assert get(app)[0] == 200
    assert delete(10) == 204 and get(app)[0] == 404
    assert delete(10) == 409
    assert delete(11) == 412                       # a tombstone expires at no time
    assert delete(9, "none") == 404


@pytest.mark.parametrize("headers, status", [
    ({"Content-Type": "t/p"}, 400), ({"X-Timestamp": "x", "Content-Type": "t/p"}, 400),
    ({"X-Timestamp": at(0)}, 400),
    ({"X-Timestamp": at(0), "Content-Type": "t/p", "ETag": "0" * 32}, 422),
    ({"X-Timestamp": at(0), "Content-Type": "t/p", "X-Delete-At": "x"}, 400),
    ({"X-Timestamp": at(0), "Content-Type": "t/p", "X-Delete-At": "99999999999"}, 400),
    ({"X-Timestamp": at(0), "Content-Type": "t/p", "Content-Length": "9999999999"}, 413),
    ({"X-Timestamp": at(0), "Content-Type": "t/p", "Content-Length": "20"}, 499),
    ({"X-Timestamp": at(0), "Content-Type": "t/p",
      "X-Backend-Storage-Policy-Index": "7"}, 503)])
def test_what_put_refuses_leaves_nothing(app, headers, status):
    assert call(app, "PUT", "/sda/1/a/c/o", headers, b"body")[0] == status
    assert get(app)[0] == 404


@pytest.mark.parametrize("path, status", [
    ("/sdb/1/a/c/o", 507), ("/../1/a/c/o", 400), ("/./1/a/c/o", 400), ("/sda/x/a/c/o", 400),
    ("/sda/1/a/c", 400), ("/sda/-1/a/c/o", 400), ("//1/a/c/o", 400), ("/sda/1/a/c/\xff", 412),
    ("/sda/1/a/c/\0", 400), ("/", 400)])
def test_paths_that_name_no_object(app, path, status):
    assert call(app, "GET", path)[0] == status


def test_names_may_be_anything_else(app):
    for name in ("../../../etc/passwd", "a//b", ".", "\xc3\xb6", "x" * 1024):
        assert put(app, name)[0] == 201
        assert get(app, name)[0] == 200


def test_bug_a_reader_never_started_leaves_no_open_file(app):
    put(app, body=os.urandom(200000))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        env = {"REQUEST_METHOD": "GET", "PATH_INFO": "/sda/1/a/c/o"}
        app(env, lambda status, headers: None).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_system_without_nameless_files(app, monkeypatch, tmp_path):
    """Overlays: a name is used, and no trace of it stays, whatever became of the upload."""
    real = os.open

    def without_tmpfile(path, flags, *args, **kwargs):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", without_tmpfile)
    big = os.urandom(300000)
    assert put(app)[0] == put(app, "big", body=big)[0] == 201
    assert put(app, "bad", body=big, Content_Length="300001")[0] == 499
    assert get(app)[2] == b"0123456789" and get(app, "big")[2] == big
    assert len([path for path in (tmp_path / "sda/objects").rglob("*") if path.is_file()
                and path.parent.parent.parent.name == "1"]) == 2


def test_bug_metadata_that_does_not_fit_is_not_a_full_disk(app, monkeypatch):
    """ext4 answers ENOSPC; a 507 would make proxies shun every device for a minute."""
    real = os.setxattr

    def as_ext4(target, name, value, *args):
        if len(value) > 3900:
            raise OSError(28, "No space left on device")
        return real(target, name, value, *args)

    monkeypatch.setattr(os, "setxattr", as_ext4)
    assert put(app, X_Object_Meta_A="x" * 4000)[0] == 400
    assert get(app)[0] == 404
    assert put(app)[0] == 201
    assert call(app, "POST", "/sda/1/a/c/o", {"X-Timestamp": at(1),
                                              "X-Object-Meta-A": "x" * 4000})[0] == 400


def test_unknown_methods(app):
    assert call(app, "FOO", "/sda/1/a/c/o")[0] == 405


HEADER_NAMES = st.sampled_from([
    "X-Timestamp", "Content-Type", "ETag", "X-Delete-At", "X-If-Delete-At", "Range", "If-Match",
    "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "X-Container-Host",
    "X-Container-Device", "X-Container-Partition", "X-Backend-Storage-Policy-Index",
    "X-Delete-At-Host", "X-Object-Meta-A", "X-Backend-Etag-Is-At", "X-Backend-Container-Path"])
VALUES = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30),
    st.sampled_from([at(100), "1", "0", "-1", "bytes=0-", "bytes=1-2,3-4", "*", '""', "nan",
                     "127.0.0.1:1", "sda", "9" * 30, "1e400", "\xb2"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=150)
@given(method=st.sampled_from(["PUT", "GET", "HEAD", "POST", "DELETE", "REPLICATE"]),
       headers=st.dictionaries(HEADER_NAMES, VALUES, max_size=6),
       tail=st.text(st.characters(max_codepoint=255), max_size=12))
def test_no_header_and_no_path_makes_a_500(app, method, headers, tail):
    defaults = {"X-Timestamp": at(50), "Content-Type": "t/p"}
    for path in ("/sda/1/a/c/o", "/sda/1/a/c/" + tail, "/" + tail):
        status, _, _ = call(app, method, path, {**defaults, **headers}, b"body")
        assert status != 500


def test_a_delete_older_than_the_tombstone_finds_nothing(app):
    for seconds in (0, 5):
        call(app, "DELETE", "/sda/1/a/c/o", {"X-Timestamp": at(seconds)})
    status, headers, _ = call(app, "DELETE", "/sda/1/a/c/o", {"X-Timestamp": at(3)})
    assert status == 404 and headers["x-backend-timestamp"] == at(5)


def test_if_match_of_what_is_not_there(app):
    assert call(app, "GET", "/sda/1/a/c/o", {"If-Match": '"e"'})[0] == 404
    assert call(app, "GET", "/sda/1/a/c/o", {"If-Match": "*"})[0] == 412


def test_what_two_writers_leave_of_one_object_goes_when_it_is_hashed(app):
    put(app)
    slow, quick = (app.manager.diskfile("sda", "1", "a", "c", "o", app.policies.default)
                   for _ in range(2))
    for diskfile in (slow, quick):
        with diskfile.open():
            pass
    quick.delete(Timestamp(at(1)))
    assert os.listdir(slow.datadir) == [f"{at(1)}.ts"]
    with slow.create(1) as writer:
        writer.write(b"x")
        writer.finish()
        writer.put({"X-Timestamp": at(2), "Content-Type": "t/p", "ETag": md5(b"x").hexdigest(),
                    "Content-Length": "1"})
    assert sorted(os.listdir(slow.datadir)) == [f"{at(1)}.ts", f"{at(2)}.data"]
    assert get(app)[2] == b"x"
    app.manager.get_hashes("sda", "1", [], app.policies.default)
    assert os.listdir(slow.datadir) == [f"{at(2)}.data"]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("gone", [0, 1, 2], ids=["hash", "suffix", "partition"])
def test_bug_a_replicator_may_take_the_empty_directory_of_an_upload_away(app, monkeypatch,
                                                                         in_order, gone):
    """It did, in any upload of more than its pass took: 500 from all three servers."""
    monkeypatch.setattr(durable, "device_journals_in_order", lambda device: in_order)
    body = os.urandom(600000)
    diskfile = app.manager.diskfile("sda", "1", "a", "c", "o", app.policies.default)
    with diskfile.create(len(body)) as writer:
        writer.write(body)
        size, etag = writer.finish()
        for directory in [Path(diskfile.datadir), *Path(diskfile.datadir).parents][:gone + 1]:
            for left in directory.iterdir():
                left.unlink()
            directory.rmdir()
        writer.put({"X-Timestamp": at(0), "Content-Type": "t/p", "ETag": etag,
                    "Content-Length": str(size)})
    assert get(app)[2] == body
