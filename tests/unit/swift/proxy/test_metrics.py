# SPDX-License-Identifier: Apache-2.0
"""What proxies and their filters tell a statsd server, by OpenStack Swift's names."""

import pytest
from statsd_server import StatsdServer

from swift.common import memcached, storage, storage_policy
from swift.common.memcached import LocalCache, MeasuredCache, make_cache
from swift.common.middleware.proxy_logging import FIRST_BYTE, SEEN, STORE_PATH, ProxyLogging
from swift.common.middleware.s3api.app import S3Api
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.tempauth import TempAuth
from swift.common.request import Request, answer
from swift.common.ring import Ring
from swift.proxy import cached_info
from swift.proxy.cached_info import cache_key
from swift.proxy.server import Application


@pytest.fixture
def statsd(monkeypatch):
    """A statsd server that is told without values, and the options that tell of it."""
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))
    for name in ("_known", "_missed", "_skip_chances"):
        monkeypatch.setattr(cached_info, name, getattr(cached_info, name))
    with StatsdServer(values=False) as server:
        yield server


class OneRing(Ring):
    """A ring of no file."""

    def __init__(self):
        self.handoffs = [{"id": n, "ip": "h", "port": n, "device": "d", "handoff_index": n}
                         for n in range(5)]

    @property
    def replica_count(self):
        return 1

    def get_more_nodes(self, part):
        return iter(self.handoffs)


def proxy(statsd):
    return Application(statsd.conf, account_ring=OneRing(), container_ring=OneRing())


def test_nodes_that_fail_and_handoffs(statsd):
    app = proxy(statsd)
    node = {"ip": "p", "port": 1, "device": "d"}
    for _ in range(app.limiter.limit + 1):
        app.failed(node, "Container", "gone", "PUT")
    assert statsd() == ["proxy-server.error_limiter.incremented_limit|c"]
    assert len(list(app.node_iter(app.container_ring, 1, [node]))) == 2
    assert statsd() == ["proxy-server.error_limiter.is_limited|c",
                        "proxy-server.container.handoff_count|c",
                        "proxy-server.container.handoff_all_count|c"]
    other = {**node, "port": 2}
    assert len(list(app.node_iter(app.container_ring, 1, [other]))) == 2
    assert statsd() == []                      # one handoff may be asked anyway
    app.limiter.shut_out(node)
    assert statsd() == ["proxy-server.error_limiter.forced_limit|c"]


def test_who_has_no_statsd_does_not_pay_for_it(statsd):
    app = Application({"log_address": "/none"}, account_ring=OneRing(), container_ring=OneRing())
    assert app.statsd is None and type(app.limiter).__name__ == "ErrorLimiter"
    assert app.on_handoff(app.container_ring) == app._handoff
    assert cached_info._known is cached_info._plain_known
    assert type(make_cache({"memcache_servers": "127.0.0.1:1", "swift_dir": "/none",
                            "log_address": "/none"})) is memcached.MemcacheCache
    assert "authorize" not in vars(TempAuth(None, {"log_address": "/none"}))
    assert statsd() == []


def test_what_is_remembered(statsd):
    proxy(statsd)
    cache = LocalCache()
    env = {"PATH_INFO": "/v1/a/c/o", "REQUEST_METHOD": "GET", "swift.cache": cache}

    def below(env, start):
        start("204 No Content", [])
        return [b""]

    for _ in range(2):
        cached_info.get_container_info(env, below)
    assert statsd() == ["proxy-server.container.info.cache.miss.204|c",
                        "proxy-server.container.info.infocache.hit|c"]
    cache.set(cache_key("a"), {"status": 200}, 60)
    cached_info.get_account_info({**env, "swift.infocache": {}}, below)
    assert statsd() == ["proxy-server.account.info.cache.hit|c"]


def test_how_long_memcached_takes(statsd, monkeypatch):
    monkeypatch.setattr("swift.common.statsd.random.random", lambda: 0.0)
    cache = make_cache({**statsd.conf, "memcache_servers": "127.0.0.1:1", "swift_dir": "/none"})
    assert isinstance(cache, MeasuredCache)
    monkeypatch.setattr(cache, "_question", lambda *args: None)
    cache.get("a")
    cache.get_many(["a", "b"])
    cache.set("a", 1, 60)
    cache.incr("a", 1, 60)
    cache.incr("a", -1, 60)
    cache.delete("a")
    assert statsd() == [f"proxy-server.memcached.{name}.timing|ms" for name in (
        "get", "get", "set", "incr", "decr", "delete")]


def environ(method, path, **more):
    return {"REQUEST_METHOD": method, "PATH_INFO": path, "RAW_PATH_INFO": path,
            "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "h",
            SEEN: True, **more}


def test_when_an_answer_began(statsd):
    log = ProxyLogging(lambda env, start: start("200 OK", []) or [b""], statsd.conf)
    log.inner = False
    env = environ("GET", "/v1/a/c")
    log(env, lambda status, headers, exc_info=None: None)
    log.access_log(env, "200 OK", 5, env[FIRST_BYTE] - 1, env[FIRST_BYTE] + 1)
    assert statsd() == [f"proxy-server.container.GET.200.{what}" for what in (
        "timing|ms", "first-byte.timing|ms", "xfer|c")]
    env = environ("PUT", "/v1/a/c")
    log(env, lambda status, headers, exc_info=None: None)
    assert FIRST_BYTE not in env


def known(env, account, container):
    env["swift.infocache"] = {cache_key(account, container): {"storage_policy": "1"}}
    return env


@pytest.mark.parametrize("code, method, policy", [
    ("200", "HEAD", True), ("404", "HEAD", True), ("401", "HEAD", False), ("403", "PUT", False),
    ("201", "COPY", False)])
def test_what_a_storage_policy_did(statsd, code, method, policy):
    log = ProxyLogging(None, statsd.conf)
    env = known(environ(method, "/v1/a/c/o"), "a", "c")
    env["swift.split_path"] = (env["PATH_INFO"], ("v1", "a", "c", "o"))
    log.access_log(env, f"{code} x", 5, 1.0, 2.0)
    assert (f"proxy-server.object.policy.1.{method}.{code}.timing|ms" in statsd()) == policy


def test_requests_of_the_s3_api_go_by_what_they_are_about(statsd):
    log = ProxyLogging(None, statsd.conf)
    env = known(environ("PUT", "/bucket/k", **{STORE_PATH: ["v1", "a", "bucket", "k"]}),
                "a", "bucket")
    log.access_log(env, "200 OK", 5, 1.0, 2.0)
    assert statsd()[::2] == ["proxy-server.object.PUT.200.timing|ms",
                             "proxy-server.object.policy.1.PUT.200.timing|ms"]
    log.access_log({**env, "PATH_INFO": "/v1/a/c", "swift.source": "S3"}, "200 OK", 5, 1.0, 2.0)
    assert statsd()[0] == "proxy-server.container.PUT.200.timing|ms"
    log.access_log(environ("GET", "/auth/v1.0"), "200 OK", 5, 1.0, 2.0)
    assert statsd()[0] == "proxy-server.UNKNOWN.GET.200.timing|ms"


def test_refusals_of_tempauth(statsd):
    def below(env, start):
        return (env["swift.authorize"](Request(env)) or answer(200))(env, start)

    app = TempAuth(below, {**statsd.conf, "user_test_tester": "testing .admin"})

    def ask(path, **headers):
        got = []
        app({**environ("GET", path), **headers, "SERVER_NAME": "h", "SERVER_PORT": "80",
             "wsgi.url_scheme": "http"}, lambda status, found, exc=None: got.extend(found))
        return dict(got)

    ask("/v1/AUTH_test")
    ask("/v1/AUTH_test", HTTP_X_AUTH_TOKEN="AUTH_tkno")
    assert statsd() == ["tempauth.AUTH_.unauthorized|c"] * 2
    ask("/auth/v1.0", HTTP_X_AUTH_USER="test:tester", HTTP_X_AUTH_KEY="wrong")
    assert statsd() == ["tempauth.AUTH_.token_denied|c"]
    token = ask("/auth/v1.0", HTTP_X_AUTH_USER="test:tester", HTTP_X_AUTH_KEY="testing")
    ask("/v1/AUTH_test", HTTP_X_AUTH_TOKEN=token["X-Auth-Token"])
    assert statsd() == []
    ask("/v1/AUTH_.dot", HTTP_X_AUTH_TOKEN=token["X-Auth-Token"])
    assert statsd() == ["tempauth.AUTH_.forbidden|c"]


def test_errors_of_the_s3_api(statsd, monkeypatch):
    auth = TempAuth(lambda env, start: None, {"log_address": "/none"})
    app = S3Api(auth, statsd.conf)

    def refuse(env):
        raise S3Error("NoSuchKey")

    monkeypatch.setattr(app, "answer", refuse)
    app(environ("GET", "/b/k", HTTP_AUTHORIZATION="AWS a:b"),
        lambda status, headers, exc_info=None: None)
    assert statsd() == ["s3api.404.NoSuchKey|c"]
