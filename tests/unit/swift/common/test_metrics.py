# SPDX-License-Identifier: Apache-2.0
"""What storage servers and daemons tell a statsd server, by the names OpenStack Swift documents."""
import os
import socket
from collections import Counter

import pytest
from statsd_server import StatsdServer
from wsgi_call import call, environ

from swift.account.auditor import AccountAuditor
from swift.account.replicator import AccountReplicator
from swift.account.server import AccountApp
from swift.common import concurrency, storage, storage_policy
from swift.common.backend_server import BackendApp
from swift.common.ring import RingBuilder
from swift.common.statsd import Statsd
from swift.container.server import ContainerApp
from swift.container.updater import ContainerUpdater
from swift.obj.auditor import ObjectAuditor
from swift.obj.server import ObjectApp
from swift.obj.updater import ObjectUpdater

STAMP = {"X-Timestamp": "1600000000.00000", "Content-Type": "t/p"}


@pytest.fixture
def statsd(tmp_path, monkeypatch):
    """A statsd server, and the options of a node with one device that tell of it."""
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))
    (tmp_path / "sda").mkdir()
    with StatsdServer(devices=str(tmp_path), mount_check="false", swift_dir=str(tmp_path),
                      log_level="CRITICAL", log_statsd_metric_prefix="n1") as server:
        yield server


def names(said):
    """What was said, without its values: name|type -> how often."""
    return Counter(f"{line.partition(':')[0]}|{line.rpartition('|')[2]}" for line in said)


@pytest.mark.parametrize(("kind", "path"), [
    (AccountApp, "/sda/1/a"), (ContainerApp, "/sda/1/a/c"), (ObjectApp, "/sda/1/a/c/o")])
def test_servers_tell_how_long_requests_took(statsd, kind, path):
    app = kind(statsd.conf)
    for method, status in (("DELETE", "204 No Content"), ("HEAD", "404 Not Found"),
                           ("POST", "400 Bad"),
                           ("DELETE", "507 Insufficient Storage"), ("REPLICATE", "200 OK"),
                           ("X.Y:1|c", "405 Method Not Allowed")):
        app.access_log(environ(method, path), status, 7, 1.0, 1.5)
    name = f"n1.{app.server_type}-server"
    assert statsd() == [f"{name}.DELETE.timing:500|ms", f"{name}.HEAD.timing:500|ms",
                        f"{name}.POST.timing:500|ms", f"{name}.DELETE.errors.timing:500|ms",
                        f"{name}.REPLICATE.timing:500|ms"]


@pytest.mark.parametrize(("method", "path", "more", "name"), [
    ("PUT", "/sda/1/a/c", {}, "PUT_container"), ("PUT", "/sda/1/a/c/o/p", {}, "PUT_object"),
    ("PUT", "/sda/1/a/c", {"HTTP_X_BACKEND_RECORD_TYPE": "shard"}, "PUT_shard"),
    ("GET", "/sda/1/a/c", {"HTTP_X_BACKEND_RECORD_TYPE": "auto"}, "GET_object"),
    ("GET", "/sda/1/a/c", {"HTTP_X_BACKEND_RECORD_TYPE": "shard"}, "GET_shard")])
def test_a_container_server_tells_of_what(statsd, method, path, more, name):
    app = ContainerApp(statsd.conf)
    app.access_log({**environ(method, path), **more}, "200 OK", 0, 1.0, 1.5)
    assert [line.partition(":")[0] for line in statsd()] == [
        f"n1.container-server.{method}.timing", f"n1.container-server.{name}.timing"]


def test_an_object_server_tells_how_quick_a_device_is(statsd):
    app = ObjectApp(statsd.conf)
    for status in ("201 Created", "507 Insufficient Storage"):
        app.access_log({**environ("PUT", "/sda/1/a/c/o"), "CONTENT_LENGTH": "2000"}, status, 0,
                       1.0, 1.5)
    assert statsd() == ["n1.object-server.PUT.timing:500|ms",
                        "n1.object-server.PUT.sda.timing:250|ms",
                        "n1.object-server.PUT.errors.timing:500|ms"]


def test_who_has_no_statsd_does_not_pay_for_it(statsd):
    app = ObjectApp({**statsd.conf, "log_statsd_host": ""})
    assert app.access_log.__func__ is BackendApp.access_log
    assert app.statsd is None and app.manager.statsd is None


def test_a_name_is_looked_up_once(monkeypatch):
    asked = []

    def look_up(host, port, *more):
        asked.append(host)
        if host != "statsd.test":
            raise OSError("no such name")
        return [(socket.AF_INET, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(concurrency._original_socket, "getaddrinfo", look_up)
    client = Statsd("statsd.test", 8125)
    assert client.address == ("127.0.0.1", 8125)
    client.count("things", 1)
    assert asked == ["statsd.test"]
    assert Statsd("later.invalid", 8125).address == ("later.invalid", 8125)


def test_the_object_server_tells_what_was_left_and_what_is_broken(statsd, tmp_path):
    app = ObjectApp(statsd.conf)
    assert call(app, "PUT", "/sda/1/a/c/o", {
        **STAMP, "X-Container-Host": "127.0.0.1:1", "X-Container-Device": "sda",
        "X-Container-Partition": "1"}, b"body")[0] == 201
    assert statsd() == ["n1.object-server.async_pendings:1|c"]
    data, = tmp_path.glob("sda/objects/1/*/*/*.data")
    data.write_bytes(b"bodY")
    assert call(app, "GET", "/sda/1/a/c/o")[0] == 404
    assert statsd() == ["n1.object-server.quarantines:1|c"]


def test_object_daemons_tell_what_a_pass_did(statsd, tmp_path):
    for name in ("one", "two"):
        assert call(ObjectApp(statsd.conf), "PUT", f"/sda/1/a/c/{name}", STAMP, b"body")[0] == 201
    next(tmp_path.glob("sda/objects/1/*/*/*.data")).write_bytes(b"bodY")
    ObjectAuditor(statsd.conf).audit_all("ALL")
    assert names(statsd()) == {"n1.object-auditor.timing|ms": 2,
                               "n1.object-auditor.quarantines|c": 1}
    waiting = tmp_path / f"sda/async_pending/abc/{'0' * 29}abc-0000000001.00000"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"none")
    updater = ObjectUpdater(statsd.conf)
    updater.run_once()
    assert names(statsd()) == {"n1.object-updater.quarantines|c": 1,
                               "n1.object-updater.timing|ms": 1}
    updater.run_once()
    assert names(statsd()) == {"n1.object-updater.timing|ms": 1}


def test_daemons_of_databases_tell_what_a_pass_did(statsd, tmp_path):
    builder = RingBuilder(2, 1, 0)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=1, device="sda", weight=1))
    builder.rebalance(seed="x")
    builder.get_ring().save(str(tmp_path / "account.ring.gz"))
    assert call(AccountApp(statsd.conf), "PUT", "/sda/1/a", STAMP)[0] == 201
    AccountAuditor(statsd.conf).run_once()
    assert names(statsd()) == {"n1.account-auditor.timing|ms": 1, "n1.account-auditor.passes|c": 1}
    AccountReplicator({**statsd.conf, "bind_ip": "127.0.0.1", "bind_port": "1"}).run_once()
    assert {"n1.account-replicator.attempts|c", "n1.account-replicator.timing|ms"} <= set(
        names(statsd()))
    assert call(ContainerApp(statsd.conf), "PUT", "/sda/1/a/c", {
        **STAMP, "X-Backend-Storage-Policy-Index": "0"})[0] == 201
    ContainerUpdater(statsd.conf).run_once()            # nobody listens at the account's port
    assert names(statsd()) == {"n1.container-updater.failures|c": 1,
                               "n1.container-updater.timing|ms": 1}
    assert os.listdir(tmp_path / "sda/containers")
