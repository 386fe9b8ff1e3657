# SPDX-License-Identifier: Apache-2.0
"""Bodies that the proxy hashed, and the cheap checksum by which they are checked."""
import json
import os
from hashlib import md5

import pytest
from awscrt.checksums import crc64nvme
from wsgi_call import call, environ

from swift.common.exceptions import ConfigError
from swift.obj import checksum, server
from swift.obj.server import ObjectApp

WHERE = "/sda/1/a/c/o"
BOUNDARY = "b" * 20
BODY = os.urandom(300000)
ETAG = md5(BODY).hexdigest()
CRC = f"{crc64nvme(BODY):016x}"


class Source:
    """A chunked body as the WSGI server gives it, in pieces of some size."""

    def __init__(self, data, most):
        self.data, self.most = data, most

    def set_hundred_continue_response_headers(self, headers):
        pass

    def read1(self, size):
        size = min(size, self.most)
        data, self.data = self.data[:size], self.data[size:]
        return data


def put(app, footers, body=BODY, when="1.00000", most=10000, **headers):
    text = json.dumps(footers).encode()
    source = Source(
        f"--{BOUNDARY}\r\nX-Document: object body\r\n\r\n".encode() + body
        + f"\r\n--{BOUNDARY}\r\nX-Document: object metadata\r\nContent-MD5: "
          f"{md5(text).hexdigest()}\r\n\r\n".encode() + text + f"\r\n--{BOUNDARY}--\r\n".encode(),
        most)
    env = environ("PUT", WHERE, {
        "X-Timestamp": when, "Content-Type": "t/p", "Transfer-Encoding": "chunked",
        "X-Backend-Obj-Content-Length": str(len(BODY)), "X-Backend-Obj-Metadata-Footer": "yes",
        "X-Backend-Obj-Body-Checksum": "crc64nvme",
        "X-Backend-Obj-Multipart-Mime-Boundary": BOUNDARY, **headers})
    env.pop("CONTENT_LENGTH", None)
    env["wsgi.input"] = source
    return call(lambda _, start: app(env, start), "PUT", WHERE)


def data_file(tmp_path):
    return next(tmp_path.glob("sda/objects/1/*/*/*.data"))


@pytest.mark.parametrize("most", [1, 10000, 1 << 20])
@pytest.mark.parametrize("size", [1000, 70000, 300000])
def test_the_proxys_md5_is_the_etag(app, tmp_path, size, most):
    body = BODY[:size]
    status, headers, _ = put(
        app, {"Etag": md5(body).hexdigest(), "X-Backend-Body-Checksum": f"{crc64nvme(body):016x}"},
        body, most=most, **{"X-Backend-Obj-Content-Length": str(size)})
    assert (status, headers["etag"]) == (201, f'"{md5(body).hexdigest()}"')
    status, headers, got = call(app, "GET", WHERE)
    assert (status, got) == (200, body) and headers["etag"] == f'"{md5(body).hexdigest()}"'
    has = checksum.KEY in os.listxattr(data_file(tmp_path))
    assert has == (size > checksum.FROM)


@pytest.mark.parametrize("footers", [
    {}, {"Etag": ETAG}, {"X-Backend-Body-Checksum": CRC},
    {"Etag": ETAG, "X-Backend-Body-Checksum": CRC[:-1] + "x"},
    {"Etag": "../../" + ETAG[6:], "X-Backend-Body-Checksum": CRC}])
def test_bytes_that_are_not_those_the_proxy_hashed_are_refused(app, tmp_path, footers):
    assert put(app, footers)[0] == 422
    assert not list(tmp_path.glob("sda/objects/1/*/*/*"))


def test_a_byte_changed_on_the_way_is_noticed(app, tmp_path):
    changed = BODY[:-1] + bytes([BODY[-1] ^ 1])
    assert put(app, {"Etag": ETAG, "X-Backend-Body-Checksum": CRC}, changed)[0] == 422
    assert not list(tmp_path.glob("sda/objects/1/*/*/*"))


@pytest.mark.parametrize("length", [0, 299990, 300010, 400000])
def test_a_body_of_another_length_than_was_said_is_refused(app, tmp_path, length):
    assert put(app, {"Etag": ETAG, "X-Backend-Body-Checksum": CRC},
               **{"X-Backend-Obj-Content-Length": str(length)})[0] == 499
    assert not list(tmp_path.glob("sda/objects/1/*/*/*"))


def test_who_does_not_ask_for_it_is_not_trusted(app):
    """OpenStack Swift's proxy sends an Etag after the body, too; there it is what to compare."""
    assert put(app, {"Etag": "0" * 32, "X-Backend-Body-Checksum": CRC},
               **{"X-Backend-Obj-Body-Checksum": "none"})[0] == 422


@pytest.mark.parametrize("has_crc", [True, False])
def test_a_body_that_changed_on_disk_is_given_once_at_most(app, tmp_path, has_crc):
    assert put(app, {"Etag": ETAG, "X-Backend-Body-Checksum": CRC})[0] == 201
    path = data_file(tmp_path)
    if not has_crc:                     # as OpenStack Swift's servers write it
        os.removexattr(path, checksum.KEY)
    assert call(app, "GET", WHERE)[::2] == (200, BODY)
    with open(path, "r+b") as data:
        data.seek(150000)
        byte = data.read(1)
        data.seek(150000)
        data.write(bytes([byte[0] ^ 1]))
    call(app, "GET", WHERE)
    assert call(app, "GET", WHERE)[0] == 404
    assert list(tmp_path.glob("sda/quarantined/objects/*"))


def spoil(tmp_path, size):
    """Store an object and turn a byte of it around."""
    app = ObjectApp(conf(tmp_path))
    assert call(app, "PUT", WHERE, {"X-Timestamp": "1", "Content-Type": "t/p"}, BODY[:size]
                )[0] == 201
    with open(data_file(tmp_path), "r+b") as stored:
        stored.write(bytes([BODY[0] ^ 1]))
    return bytes([BODY[0] ^ 1]) + BODY[1:size]


def conf(tmp_path, **options):
    return {"devices": str(tmp_path), "mount_check": "false", "log_level": "CRITICAL",
            "log_address": "/none", **options}


def is_quarantined(tmp_path):
    return (tmp_path / "sda/quarantined").exists()


@pytest.mark.parametrize("size", [1000, 300000])
def test_so_many_whole_bodies_are_checked(app, tmp_path, size, monkeypatch):
    body = spoil(tmp_path, size)
    monkeypatch.setattr(server, "random", dice := Dice())
    some = ObjectApp(conf(tmp_path, etag_validate_pct="30"))
    dice.value = 0.3
    assert call(some, "GET", WHERE)[2] == body
    assert call(ObjectApp(conf(tmp_path, etag_validate_pct="0")), "GET", WHERE)[2] == body
    assert not is_quarantined(tmp_path)
    dice.value = 0.29
    call(some, "GET", WHERE)
    assert is_quarantined(tmp_path)


def test_unchecked_bodies_have_their_length(app, tmp_path):
    """That costs nothing."""
    spoil(tmp_path, 1000)
    os.truncate(data_file(tmp_path), 999)
    assert call(ObjectApp(conf(tmp_path, etag_validate_pct="0")), "GET", WHERE)[0] == 404
    assert is_quarantined(tmp_path)


@pytest.mark.parametrize("value", ["101", "-1", "all"])
def test_what_is_no_share_is_refused(tmp_path, app, value):
    with pytest.raises(ConfigError, match="etag_validate_pct"):
        ObjectApp(conf(tmp_path, etag_validate_pct=value))


class Dice:
    value = 0.0

    def random(self):
        return self.value
