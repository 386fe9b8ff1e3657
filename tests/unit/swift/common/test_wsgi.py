# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: what it takes, what it refuses, and that it can be stopped gently."""
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.common import runner, storage, wsgi
from swift.common.concurrency import Timeout, sleep, spawn
from swift.common.concurrency import socket as green_socket
from swift.common.exceptions import ChunkReadTimeout, ConfigError
from swift.common.wsgi import BadRequest, Server, parse_head

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


def echo(env, start_response):
    body = env["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Path", env["PATH_INFO"])])
    return [body]


def slow(env, start_response):
    sleep(0.3)
    start_response("200 OK", [])
    return [b"done"]


@pytest.fixture
def serve():
    """A function that serves an app on loopback; its address."""
    servers = []

    def start(app=echo, **options):
        sock = green_socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(16)
        options.setdefault("client_timeout", 2)
        server = Server(sock, app, **options)
        server.address = sock.getsockname()
        server.thread = spawn(server.run)
        sleep(0)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()
        server.thread.wait()


def talk(server, data, pause=None):
    """Send `data`, read until the server closes or is silent for a second."""
    sock = green_socket.create_connection(server.address)
    sock.settimeout(1)
    sock.sendall(data)
    out = b""
    try:
        if pause:
            out += sock.recv(65536)
            sock.sendall(pause)
        while more := sock.recv(65536):
            out += more
    except TimeoutError:
        pass
    finally:
        sock.close()
    return out


@pytest.mark.parametrize("head, status", [
    (b"Content-Length: 1\r\nContent-Length: 1\r\n", 400),
    (b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"Transfer-Encoding: gzip, chunked\r\n", 501),
    (b"Content-Length: +1\r\n", 400), (b"Content-Length: 0x1\r\n", 400),
    (b"Content-Length: 1, 1\r\n", 400), (b"Content-Length: \xb2\r\n", 400),
    (b"A : b\r\n", 400), (b": b\r\n", 400), (b"A\r\n", 400), (b" folded: b\r\n", 400),
    (b"A: b\n", 400), (b"A: b\rC: d\r\n", 400), (b"A: \0\r\n", 400),
    (b"A: " + b"x" * 8200 + b"\r\n", 400), (b"A: b\r\n" * 12000, 400),
    (b"Expect: nonsense\r\n", 417), (b"Host: y\r\n", 400)])
def test_requests_two_servers_could_read_differently_are_refused(serve, head, status):
    """Request smuggling: nothing ambiguous goes on, and the connection ends."""
    answer = talk(serve(), HEAD + head + b"\r\nGET /second HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"Connection: close" in answer and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("line, status", [
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1", 414), (b"GET  / HTTP/1.1", 400),
    (b"GET /a b HTTP/1.1", 400), (b"GET / HTTP/2.0", 505), (b"GET / http/1.1", 400),
    (b"GET foo HTTP/1.1", 400), (b"G\x00T / HTTP/1.1", 400), (b"\xff\xfe\xfd", 400)])
def test_bad_request_lines(serve, line, status):
    assert talk(serve(), line + b"\r\n\r\n").startswith(b"HTTP/1.1 %d " % status)


@pytest.fixture
def long_heads(tmp_path, monkeypatch):
    """A function that starts a server whose swift.conf has some constraints."""
    for name in ("MAX_LINE", "MAX_HEADER", "MAX_HEAD"):
        monkeypatch.setattr(wsgi, name, getattr(wsgi, name))
    monkeypatch.setattr(storage, "_secrets", (b"a", b"b"))
    monkeypatch.setenv("SWIFT_CONF", str(tmp_path / "swift.conf"))
    (tmp_path / "server.conf").write_text(
        "[DEFAULT]\nlog_address = /none\n[pipeline:main]\npipeline = account-server\n"
        "[app:account-server]\nuse = egg:swift#account\n")
    plan = runner.Plan(str(tmp_path / "server.conf"), "account-server", 0)

    def start(constraints):
        (tmp_path / "swift.conf").write_text(f"[swift-constraints]\n{constraints}\n")
        with green_socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            runner.make_servers(plan, [sock])
    return start


LONG_LINE = b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n"
LONG_HEADER = b"GET / HTTP/1.1\r\n" + 4 * (b"X-Auth-Token: " + b"a" * 20000 + b"\r\n")


@pytest.mark.parametrize("constraints, head", [
    ("max_request_line = 10000", LONG_LINE), ("max_header_size = 21000", LONG_HEADER)])
def test_swift_conf_says_how_long_heads_may_be(long_heads, serve, constraints, head):
    server = serve()
    assert talk(server, head + b"\r\n").startswith(b"HTTP/1.1 4")
    long_heads(constraints)
    assert talk(server, head + b"\r\n").startswith(b"HTTP/1.1 200 ")
    long_heads("max_request_line = 100\nmax_header_size = 100")
    assert talk(server, head + b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_length_of_heads_that_is_none_is_refused(long_heads):
    with pytest.raises(ConfigError, match="max_request_line"):
        long_heads("max_request_line = long")


def test_keep_alive_and_pipelining(serve):
    one = b"PUT /a%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    last = b"PUT /z HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nz"
    answer = talk(serve(), one + one + last)
    assert answer.count(b"200 OK") == 3 and answer.endswith(b"\r\n\r\nz")
    assert b"X-Path: /a b" in answer


@pytest.mark.parametrize("body, good", [
    (b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n", b"abcde"), (b"0\r\n\r\n", b""),
    (b"3\r\nabcd\r\n0\r\n\r\n", None), (b"zz\r\nabc\r\n0\r\n\r\n", None),
    (b"-1\r\n", None), (b"3\nabc\n0\n\n", None), (b"0x3\r\nabc\r\n0\r\n\r\n", None),
    (b" 3\r\nabc\r\n0\r\n\r\n", None), (b"ffffffffffffffffff\r\n", None)])
def test_chunked_bodies(serve, body, good):
    answer = talk(serve(), b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                           b"Connection: close\r\n\r\n" + body)
    if good is None:
        assert answer.startswith(b"HTTP/1.1 400 ")
    else:
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n" + good)


def test_who_asks_to_be_kept_is_told(serve):
    ask = b"GET / HTTP/1.%d\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n"
    for version in (0, 1):
        assert b"Connection: keep-alive" in talk(serve(), ask % version)
    assert b"Connection:" not in talk(serve(), HEAD + b"\r\n")


def test_expect_100_continue_of_an_empty_body_is_answered_first(serve):
    """botocore would take a final answer alone for that to its next request on the connection."""
    request = b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
    answer = talk(serve(), request * 2)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"100", b"200", b"100", b"200"]


def test_expect_100_continue_is_answered_when_the_body_is_read(serve):
    answer = talk(serve(), b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                           b"Content-Length: 3\r\nConnection: close\r\n\r\n", b"abc")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") and answer.endswith(b"abc")


def test_a_refusal_before_the_body_closes_the_connection(serve):
    def refuse(env, start_response):
        start_response("403 Forbidden", [])
        return [b"no"]

    answer = talk(serve(refuse), b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                                 b"Content-Length: 3\r\n\r\n")
    assert b"100 Continue" not in answer and b"Connection: close" in answer


def test_an_exception_is_a_500_and_the_server_lives(serve):
    def broken(env, start_response):
        if env["PATH_INFO"] == "/bad":
            raise KeyError("bug")
        start_response("200 OK", [])
        return [b"fine"]

    server = serve(broken)
    assert talk(server, b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    assert b"fine" in talk(server, HEAD + b"Connection: close\r\n\r\n")


def test_a_line_break_in_a_response_header_is_not_sent(serve):
    def split(env, start_response):
        start_response("200 OK", [("X-Evil", "a\r\nSet-Cookie: b")])
        return [b""]

    answer = talk(serve(split), HEAD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ") and b"Set-Cookie" not in answer


def test_underscores_do_not_pass_for_dashes():
    env = parse_head(b"GET / HTTP/1.1\r\nX_Backend_Foo: bad\r\nX-Foo: good", {})
    assert "HTTP_X_BACKEND_FOO" not in env and env["HTTP_X_FOO"] == "good"


def test_metadata_names_may_be_utf8():
    env = parse_head("GET / HTTP/1.1\r\nX-Object-Meta-\u00fcn\u00ef: v".encode(), {})
    key = "HTTP_X_OBJECT_META_" + "\u00fcN\u00ef".encode().decode("latin-1")
    assert env[key] == "v"


def test_without_length_http_1_0_is_closed_and_1_1_is_chunked(serve):
    def stream(env, start_response):
        start_response("200 OK", [])
        return iter([b"ab", b"", b"cd"])

    server = serve(stream)
    assert talk(server, b"GET / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nabcd")
    assert talk(server, HEAD + b"Connection: close\r\n\r\n").endswith(
        b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")


def test_stop_lets_requests_in_flight_finish(serve):
    server = serve(slow)
    client = spawn(talk, server, HEAD + b"\r\n")
    sleep(0.1)
    server.stop()
    server.thread.wait()
    assert client.wait().endswith(b"done")


def test_bug_a_connection_in_the_moment_of_the_stop_cost_what_was_in_flight(serve):
    """The stop struck the acceptor, which had just taken one, while it waited for the others."""
    server = serve(slow)
    client = spawn(talk, server, HEAD + b"\r\n")
    sleep(0.1)
    accept = server._accept

    def accept_and_stop():
        accept()
        server.stop()
    server._accept = accept_and_stop
    green_socket.create_connection(server.address).close()      # the acceptor was in the first
    green_socket.create_connection(server.address).close()
    server.thread.wait()
    assert client.dead and client.wait().endswith(b"done")


def test_stop_ends_idle_connections_at_once(serve):
    server = serve(client_timeout=3600)
    sock = green_socket.create_connection(server.address)
    sock.sendall(HEAD + b"\r\n")
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    server.stop()
    server.thread.wait()
    sock.close()


@given(st.binary(max_size=200))
def test_any_head_is_an_environ_or_a_bad_request(data):
    try:
        env = parse_head(data, {})
    except BadRequest as exc:
        assert exc.status in (400, 414, 505)
        return
    assert env["REQUEST_METHOD"] and env["PATH_INFO"] is not None


def test_bug_a_read_timeout_struck_twice(serve):
    """The timeout raised for a silent client struck its thread once more, in mid clean-up."""
    strikes = []

    def app(env, start_response):
        try:
            env["wsgi.input"].read()
        except ChunkReadTimeout as error:
            strikes.append(error)
        try:
            sleep(0.3)
        except Timeout as error:
            strikes.append(error)
        start_response("408 Request Timeout", [("Content-Length", "0")])
        return [b""]

    server = serve(app, client_timeout=0.1)
    talk(server, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
    assert len(strikes) == 1


def test_the_kernel_asks_whether_silent_peers_are_there():
    conf = {"bind_ip": "127.0.0.1", "keep_idle": "77", "bind_timeout": "0"}
    listener = runner.bind(conf, 0)
    client = green_socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    assert accepted.getsockopt(green_socket.SOL_SOCKET, green_socket.SO_KEEPALIVE)
    assert accepted.getsockopt(green_socket.IPPROTO_TCP, green_socket.TCP_KEEPIDLE) == 77
    for sock in (client, accepted, listener):
        sock.close()
    for value in ("0", "32768", "soon"):
        with pytest.raises(ConfigError, match="keep_idle"):
            runner.bind({**conf, "keep_idle": value}, 0)
