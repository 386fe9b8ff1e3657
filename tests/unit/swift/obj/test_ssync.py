# SPDX-License-Identifier: Apache-2.0
"""SSYNC: lines as OpenStack Swift 2.38 writes them, and what a receiver does with any of them."""
import os
import pickle
from hashlib import md5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsgi_call import call, environ

from swift.common import durable
from swift.common.exceptions import ConfigError
from swift.common.storage import hash_path
from swift.common.timestamp import Timestamp
from swift.obj.server import ObjectApp
from swift.obj.ssync import (
    SsyncError,
    Stream,
    Version,
    decode_missing,
    decode_wanted,
    encode_missing,
    error_line,
    parse_error,
    wanted_of,
)

HASH = "0123456789abcdef" * 2


def at(seconds, offset=0):
    return Timestamp(seconds, offset=offset)


LINES = [
    ((at(1.5), at(1.5), at(1.5)), "0000000001.50000"),
    ((at(1.5), at(2.5), at(1.7)), "0000000001.50000 m:186a0,t:4e20"),
    ((at(1.5), at(2.5, 3), at(1.7, 4)), "0000000001.50000 m:186a0__3,t:4e20__4"),
    ((at(1.5, 2), at(2.5, 3), at(1.5, 2)), "0000000001.50000_0000000000000002 m:186a0__3"),
    ((at(1.5, 2), at(1.5, 3), at(1.5, 2)), "0000000001.50000_0000000000000002 m:0__3"),
]


@pytest.mark.parametrize("times, line", LINES)
def test_offers_are_those_of_real_swift(times, line):
    version = Version(HASH, *times)
    assert encode_missing(version) == f"{HASH} {line}".encode()
    assert decode_missing(f"{HASH} {line}".encode()) == version
    stray = Version(HASH, *times, durable=False)
    line += f"{',' if 'm:' in line else ' '}durable:False"
    assert decode_missing(f"{HASH} {line}".encode()) == stray
    assert encode_missing(stray) == f"{HASH} {line}".encode()


@pytest.mark.parametrize("line", [
    b"", b"x", b"../../../../etc/passwd 1", HASH.encode(), HASH.encode() + b" nan",
    HASH.encode() + b" 1 m:xyz", HASH.encode() + b" -5", b"\xff\xfe 1",
    HASH.encode()[:-1] + b"/ 1"])
def test_what_is_no_offer_is_refused(line):
    with pytest.raises(SsyncError):
        decode_missing(line)


THEIRS = Version(HASH, at(1.5), at(2.5), at(1.5))
PLAIN = Version(HASH, at(1.5), at(1.5), at(1.5))


@pytest.mark.parametrize("theirs, ours, deleted, wanted", [
    (THEIRS, None, False, "dm"), (PLAIN, None, False, "d"),
    (THEIRS, (1.5, 1.5, 1.5), False, "m"), (THEIRS, (1.5, 2.5, 1.5), False, ""),
    (THEIRS, (1.7, 1.7, 1.7), False, "m"), (THEIRS, (1.2, 3, 1.2), False, "d"),
    (THEIRS, (3, 3, 3), True, ""), (THEIRS, (1.7, 1.7, 1.7), True, ""),
    (PLAIN, (1.2, 3, 1.2), False, "d"), (PLAIN, (1.2, 1.2, 1.2), True, "d")])
def test_only_what_is_newer_is_wanted(theirs, ours, deleted, wanted):
    version = ours and Version(HASH, *map(at, ours))
    assert wanted_of(theirs, version, deleted) == wanted


def test_wishes_and_errors():
    assert decode_wanted(f"{HASH} dm".encode()) == (HASH, "dm")
    assert decode_wanted(HASH.encode()) == (HASH, "d")
    for line in (b"", b"x d", b"\xff d"):
        with pytest.raises(SsyncError):
            decode_wanted(line)
    assert parse_error(error_line(507, "no room")) == (507, "'no room'")
    assert parse_error(b":ERROR: what") == (500, "")
    with pytest.raises(SsyncError) as caught:
        Stream(lambda _: error_line(503, "busy")).expect(b":UPDATES: START")
    assert caught.value.status == 503


def exchange(app, offers=(), updates=b"", path="/sda/1"):
    body = b"\r\n".join([b":MISSING_CHECK: START", *offers, b":MISSING_CHECK: END",
                         b":UPDATES: START", b""]) + updates + b":UPDATES: END\r\n"
    status, headers, answer = call(app, "SSYNC", path, {}, body)
    assert status == 200 and "connection" not in headers     # real Swift would connect anew
    return answer.strip(b"\r\n").split(b"\r\n")


def update(method, name="o", body=None, **headers):
    lines = [f"{method} /a/c/{name}"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    if body is not None:
        lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


FINE = [b":MISSING_CHECK: START", b":MISSING_CHECK: END", b":UPDATES: START", b":UPDATES: END"]


def put(when, body=b"hello", **headers):
    return update("PUT", body=body, X_Timestamp=at(when).internal, Content_Type="t/p",
                  ETag=md5(body).hexdigest(), **headers)


def get(app):
    return call(app, "GET", "/sda/1/a/c/o", {"X-Backend-Replication": "true"})


def test_updates_are_stored_and_then_not_wanted_any_more(app):
    app.manager.reclaim_age = 1e12
    name_hash = hash_path("a", "c", "o").encode()
    offer = name_hash + b" 0000000005.00000 m:186a0"
    post = update("POST", X_Timestamp=at(6).internal, X_Object_Meta_A="2")
    assert exchange(app, [offer], put(5, X_Object_Meta_A="\xc3\xa4") + post) == \
        [FINE[0], name_hash + b" dm", *FINE[1:]]
    status, headers, body = get(app)
    assert (status, body) == (200, b"hello")
    assert headers["x-object-meta-a"] == "2" and headers["x-timestamp"] == at(6).internal
    assert exchange(app, [offer]) == FINE
    assert exchange(app, (), put(4, b"older") + update("DELETE", X_Timestamp=at(4).internal)
                    + update("POST", X_Timestamp=at(5.5).internal)) == FINE
    assert get(app)[2] == b"hello" and get(app)[1]["x-object-meta-a"] == "2"
    typed = update("POST", X_Timestamp=at(6).internal, X_Object_Meta_A="2", Content_Type="n/t",
                   Content_Type_Timestamp=at(5.5).internal)
    assert exchange(app, (), typed) == FINE and get(app)[1]["content-type"] == "n/t"
    assert exchange(app, (), update("DELETE", X_Timestamp=at(7).internal)) == FINE
    assert get(app)[0] == 404 and exchange(app, [offer]) == FINE
    assert exchange(app, (), update("POST", X_Timestamp=at(8).internal)) == FINE
    assert get(app)[0] == 404


@pytest.mark.parametrize("size", [0, 70000, 2000001])
def test_bodies_of_any_size_and_names_of_any_kind(app, size):
    body = os.urandom(size)
    assert exchange(app, (), update(
        "PUT", "%C3%BC/%0A%25", body, X_Timestamp=at(5).internal, Content_Type="t/p",
        X_Object_Meta_U="\xc3\xbc")) == FINE
    status, headers, got = call(app, "GET", "/sda/1/a/c/\xc3\xbc/\n%")
    assert (status, got, headers["x-object-meta-u"]) == (200, body, "\xc3\xbc")


@pytest.mark.parametrize("updates, status", [
    (b"PUT /a/c\r\n\r\n", 400), (b"LINK /a/c/o\r\n\r\n", 400), (b"PUT /a/c/o\r\nx\r\n\r\n", 400),
    (b"PUT /a/c/o\r\nX-Timestamp: 1\r\n\r\n", 400), (b"PUT //c/o\r\nX-Timestamp: 1\r\n\r\n", 400),
    (b"PUT /a/c/o\r\nContent-Length: 1\r\n\r\nx", 400),
    (b"DELETE /a/c/o%00\r\nX-Timestamp: 1\r\n\r\n", 400),
    (b"PUT /a/c/o\r\nX-Timestamp: 1\r\nContent-Length: -1\r\n\r\n", 400),
    (b"PUT /a/c/o\r\nX-Timestamp: 1\r\nContent-Length: 99999999999999\r\n\r\n", 400),
    (b"PUT /a/c/o\r\nX-Timestamp: 1\r\nContent-Type: t\r\nContent-Length: 5000\r\n\r\nx", 400),
    (b"DELETE /a/c/o\r\n" + b"".join(b"A%d: 1\r\n" % n for n in range(501))
     + b"\r\n", 400),
    (b"DELETE /a/c/o\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 400),
    (update("PUT", body=b"x", X_Timestamp="5", Content_Type="t/p", ETag="e" * 32), 500),
    (update("PUT", body=b"x", X_Timestamp="5"), 500),
    (b"POST /a/c/o\r\nX-Timestamp: 5\r\nContent-Type-Timestamp: x\r\n\r\n", 400),
])
def test_bad_updates_end_the_exchange_and_store_nothing(app, updates, status):
    lines = exchange(app, (), updates)
    assert lines[-1].startswith(f":ERROR: {status} ".encode())
    assert get(app)[0] == 404
    assert exchange(app) == FINE                         # and the next one is served


def test_a_failed_update_does_not_keep_the_others(app):
    lines = exchange(app, (), update("PUT", "bad", b"x", X_Timestamp="5", Content_Type="t",
                                     ETag="0" * 32) + put(5))
    assert b"1%20updates%20failed%2C%201%20succeeded" in lines[-1]
    assert get(app)[2] == b"hello"


@pytest.mark.parametrize("ratio, stored", [("0.5", False), ("1", False), ("2", True)])
def test_an_exchange_in_which_most_fails_is_ended(app, ratio, stored):
    """Three failures beside one or two that were stored; then what follows is not looked at."""
    app.failure_threshold, app.failure_ratio = 3, float(ratio)
    bad = [update("PUT", f"bad{n}", b"x", X_Timestamp="5", Content_Type="t", ETag="0" * 32)
           for n in range(4)]
    fine = [update("PUT", f"fine{n}", b"y", X_Timestamp="5", Content_Type="t") for n in range(2)]
    updates = [fine[0], bad[0], bad[1], *([fine[1]] if stored else []), bad[2], put(5)]
    lines = exchange(app, (), b"".join(updates))
    assert lines[-1].startswith(b":ERROR: 500 ")
    assert get(app)[0] == (200 if stored else 404)
    assert exchange(app) == FINE


def test_no_more_exchanges_than_allowed_and_no_disk(app):
    for _ in range(4):
        app.ssyncs.acquire()
    assert exchange(app)[0].startswith(b":ERROR: 503")
    for _ in range(4):
        app.ssyncs.release()
    assert exchange(app) == FINE
    assert call(app, "SSYNC", "/sdz/1")[0] == 507
    assert call(app, "SSYNC", "/sda/x")[0] == 400
    assert call(app, "SSYNC", "/sda/1", {"X-Backend-Storage-Policy-Index": "7"})[0] == 503


def receiver_app(tmp_path, **conf):
    (tmp_path / "sdb").mkdir(exist_ok=True)
    return ObjectApp({"devices": str(tmp_path), "mount_check": "false", "log_level": "CRITICAL",
                      "log_address": "/none", "replication_lock_timeout": "0", **conf})


def begun(app, path="/sda/1"):
    """An exchange that has come to what is missing, and stays there until it is closed."""
    env = environ("SSYNC", path)
    asked = []

    def read1(_most):
        asked.append(1)
        return b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n" if len(asked) == 1 else b""

    env["wsgi.input"].read1 = read1
    answer = iter(app(env, lambda *_: None))
    assert next(answer) == b"\r\n"
    assert next(answer).startswith(b":MISSING_CHECK: START")
    return answer


def test_a_device_takes_so_many_exchanges_at_a_time(app, tmp_path):
    """Of any worker process: the two here share nothing but the disk."""
    one, other = receiver_app(tmp_path), receiver_app(tmp_path)
    first = begun(one)
    for path in ("/sda/1", "/sda/2"):
        refused = exchange(other, path=path)
        assert len(refused) == 1 and refused[0].startswith(b":ERROR: 503 ")
        assert b"replication_concurrency_per_device" in refused[0]
    assert exchange(other, path="/sdb/1") == FINE
    two = receiver_app(tmp_path, replication_concurrency_per_device="2")
    second = begun(two)
    assert exchange(two)[0].startswith(b":ERROR: 503 ")
    unlimited = receiver_app(tmp_path, replication_concurrency_per_device="0")
    assert exchange(unlimited) == FINE
    first.close()
    assert exchange(other) == FINE
    second.close()


def test_an_exchange_waits_for_its_turn(app, tmp_path, monkeypatch):
    first = begun(app)
    waited = []

    def pause(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            first.close()

    monkeypatch.setattr(durable, "pause", pause)
    assert exchange(receiver_app(tmp_path, replication_lock_timeout="600")) == FINE
    assert len(waited) == 3


def test_no_replication_concurrency_is_no_limit(app, tmp_path):
    free = receiver_app(tmp_path, replication_concurrency="0",
                        replication_concurrency_per_device="0")
    open_ones = [begun(free) for _ in range(20)]
    assert exchange(free) == FINE
    assert call(free, "REPLICATE", "/sda/1")[0] == 200
    for answer in open_ones:
        answer.close()


@pytest.mark.parametrize("conf", [{"replication_concurrency_per_device": "-1"},
                                  {"replication_lock_timeout": "soon"},
                                  {"replication_concurrency": "x"}])
def test_what_is_no_limit_is_refused(app, tmp_path, conf):
    with pytest.raises(ConfigError, match=next(iter(conf))):
        receiver_app(tmp_path, **conf)


def test_security_s2_ssync_runs_no_pickle(app, tmp_path):
    """S2: an SSYNC exchange is text; a pickle in its place, or as metadata, is not executed."""
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {canary}",)

    for protocol in (0, 2):
        payload = pickle.dumps(Evil(), protocol)
        assert call(app, "SSYNC", "/sda/1", {}, payload + b"\r\n")[2].strip().startswith(b":ERROR:")
        assert exchange(app, [payload])[-1].startswith(b":ERROR: 400")
        assert exchange(app, (), payload + b"\r\n\r\n")[-1].startswith(b":ERROR: 400")
    exchange(app, (), put(5, X_Object_Meta_P=repr(payload), Name="/x/y/z"))
    assert get(app)[2] == b"hello" and not canary.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(
    [b":MISSING_CHECK: START", b":MISSING_CHECK: END", b":UPDATES: START", b":UPDATES: END",
     b"PUT /a/c/o", b"X-Timestamp: 5", b"Content-Length: 3", b"", b"\xff: \xff"])), max_size=12))
def test_no_input_breaks_the_server(app, lines):
    status, _, _ = call(app, "SSYNC", "/sda/1", {}, b"\r\n".join(lines))
    assert status == 200
    assert exchange(app) == FINE
