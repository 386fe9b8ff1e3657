# SPDX-License-Identifier: Apache-2.0
"""The line by which a balancer introduces a client."""
import pytest

from swift.common import proxy_protocol, runner
from swift.common.concurrency import socket, spawn
from swift.common.wsgi import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def who(env, start_response):
    start_response("200 OK", [])
    return [f"<{env['REMOTE_ADDR']} {env['REMOTE_PORT']} {env['SERVER_PORT']} "
            f"{env['wsgi.url_scheme']}>".encode()]


@pytest.fixture
def ask():
    """A function that sends bytes to a server that wants to know for whom; what it answers."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)
    options = runner.server_options({"require_proxy_protocol": "true", "client_timeout": "20",
                                     "keepalive_timeout": "20"})
    server = Server(sock, who, **options)
    thread = spawn(server.run)

    def talk(*pieces):
        client = socket.create_connection(sock.getsockname())
        client.settimeout(30)
        for piece in pieces:
            client.sendall(piece)
        out = b""
        while more := client.recv(65536):
            out += more
        client.close()
        return out

    yield talk
    server.stop()
    thread.wait()


@pytest.mark.parametrize("line, known", [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 5001 8080\r\n", b"<192.0.2.7 5001 8080 http>"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 5001 443\r\n", b"<2001:db8::7 5001 443 https>"),
])
def test_requests_come_from_whom_the_balancer_names(ask, line, known):
    said = ask(line[:9], line[9:] + REQUEST, LAST)
    assert said.count(known) == 2


def test_the_balancer_may_ask_for_itself(ask):
    assert b"<127.0.0.1 " in ask(b"PROXY UNKNOWN\r\n" + LAST)


@pytest.mark.parametrize("line", [
    b"", b"PROXY\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 5001\r\n",
    b"PROXY TCP4 192.0.2.7 2001:db8::1 5001 8080\r\n", b"PROXY TCP4 a 192.0.2.1 5001 8080\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 5001 65536\r\n", b"PROXY \xff\r\n",
    b"proxy TCP4 192.0.2.7 192.0.2.1 5001 8080\r\n", b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
])
def test_who_is_not_introduced_is_refused(ask, line):
    said = ask(line + LAST)
    assert said.startswith(b"HTTP/1.1 400 ") and b"PROXY" in said and said.count(b"HTTP/1.1") == 1


def test_nobody_is_asked_unless_it_is_configured():
    assert not runner.server_options({})["proxied"]
    assert not runner.server_options({"require_proxy_protocol": "false"})["proxied"]
    with pytest.raises(ValueError):
        proxy_protocol.parse(b"GET / HTTP/1.1")
