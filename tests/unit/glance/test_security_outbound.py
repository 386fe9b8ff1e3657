# SPDX-License-Identifier: Apache-2.0
"""U4 to U7: where this service fetches from, and what it says when it does not."""

import contextlib
import socket
import threading

# by name: importing eventlet makes the attribute http.server a green copy of the module
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from glance import exceptions, outbound
from glance.outbound import Fetcher


class Handler(BaseHTTPRequestHandler):
    """Answers ``/data``; anything else is a redirect that the test chose."""

    def log_message(self, *_args):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, self.headers["Host"]))
        if self.path == "/data":
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"data")
            return
        status, where = self.server.redirect
        self.send_response(status)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen, made.redirect = [], (302, "/data")
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join(10)
    made.server_close()


def answers(*addresses):
    """A resolver that says these, whatever it is asked."""
    def resolve(_host, port, *_more):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in addresses]
    return resolve


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1.",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00::1]",
    "169.254.169.254", "0xa9fea9fe", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1",
    "0.0.0.0", "0", "255.255.255.255", "224.0.0.1", "localhost", "localhost."])
def test_inner_addresses_in_any_spelling(host):
    """U4, U6: numbers in other bases, mapped and tunnelled forms, names that lead inside."""
    with pytest.raises(exceptions.Invalid):
        Fetcher().resolve(f"http://{host}/image")


@pytest.mark.parametrize("url", [
    "http://ok@bad.example/", "http://user:key@host.example/", "http://@host.example/",
    "file:///etc/passwd", "FILE:///etc/passwd", "ftp://host.example/", "gopher://host.example/",
    "//host.example/", "host.example", "", "http:///x", "http://host.example:22/",
    "http://host.example:0/", "http://host.example:99999/", "http://host.example:x/",
    "http://host.example/a b", "http://host.example\\@127.0.0.1/", "http://h\n.example/",
    "http://h\u0131.example/", "http://host.example/" + "x" * 2000, "http://[::1", 7, None])
def test_urls_that_are_never_fetched(url):
    """U1, U2, U4, U6: other schemes, other ports, a user, odd characters."""
    fetcher = Fetcher(resolver=answers("93.184.216.34"))
    with pytest.raises(exceptions.Invalid):
        fetcher.check(url)
    with pytest.raises(exceptions.Invalid):
        fetcher.resolve(url)


def test_a_public_address_passes_and_is_the_one_connected_to():
    fetcher = Fetcher(resolver=answers("93.184.216.34"))
    target = fetcher.resolve("HTTP://Host.Example.:80/a?b#c")
    assert (target.address, target.netloc, target.path) == (
        "93.184.216.34", "host.example", "/a?b")


def test_one_inner_address_among_public_ones_is_enough_to_refuse():
    with pytest.raises(exceptions.Invalid):
        Fetcher(resolver=answers("93.184.216.34", "10.0.0.1")).resolve("http://host.example/")


def test_lists_of_the_operator():
    where = answers("93.184.216.34")
    Fetcher(hosts=["Mirror.Example"], resolver=where).resolve("http://mirror.example./")
    for fetcher in (Fetcher(hosts=["mirror.example"], resolver=where),
                    Fetcher(bad_hosts=["host.example."], resolver=where),
                    Fetcher(ports=[443], resolver=where),
                    Fetcher(schemes=["https"], resolver=where)):
        with pytest.raises(exceptions.Invalid):
            fetcher.resolve("http://host.example/")
    assert Fetcher(schemes=["http", "file"]).schemes == {"http"}
    with pytest.raises(exceptions.ConfigurationError, match="allowed_networks"):
        Fetcher(networks=["10.0.0.0/33"])


def test_the_name_is_asked_for_once_and_the_checked_address_used(server):
    """U6: a name that changes between check and connect changes nothing."""
    asked = []

    def resolve(host, port, *_more):
        asked.append(host)
        return answers("127.0.0.1" if len(asked) == 1 else "10.9.9.9")(host, port)

    fetcher = Fetcher(networks=["127.0.0.0/8"], ports=[server.server_port], resolver=resolve)
    url = f"http://rebinding.example:{server.server_port}/data"
    assert b"".join(fetcher.open(url).pieces()) == b"data"
    assert asked == ["rebinding.example"]
    assert server.seen == [("/data", f"rebinding.example:{server.server_port}")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", [
    "http://169.254.169.254/", "http://127.0.0.2:{port}/data", "http://2130706433:{port}/data",
    "file:///etc/passwd", "http://ok@127.0.0.1:{port}/data", "//10.0.0.1/", "/loop", ""])
def test_redirects_are_checked_like_the_first_address(server, status, where):
    """U6: and there is an end to them."""
    server.redirect = (status, where.format(port=server.server_port))
    fetcher = Fetcher(networks=["127.0.0.1/32"], ports=[server.server_port])
    with pytest.raises(exceptions.Invalid):
        fetcher.open(f"http://127.0.0.1:{server.server_port}/away")
    assert len(server.seen) <= outbound.MAX_REDIRECTS + 1
    server.redirect = (status, "/data")
    assert b"".join(fetcher.open(f"http://127.0.0.1:{server.server_port}/away").pieces()) == b"data"


def test_nobody_learns_which_ports_are_open(server, free_port):
    """U5: open with a banner, closed and silent ports read the same, within the time limit."""
    said = set()
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        banner = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def greet():
            with contextlib.suppress(OSError):
                connection, _ = banner.accept()
                connection.sendall(b"SSH-2.0-secret\r\n\r\n")
                connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        ports = [silent.getsockname()[1], banner.getsockname()[1], free_port()]
        fetcher = Fetcher(networks=["127.0.0.0/8"], ports=[*ports, server.server_port],
                          connect_timeout=1, read_timeout=1)
        server.redirect = (404, "")
        for port in [*ports, server.server_port]:
            with pytest.raises(exceptions.Invalid) as caught:
                fetcher.open(f"http://127.0.0.1:{port}/secret")
            said.add(caught.value.message)
        thread.join(10)
    assert said == {outbound.UNREACHABLE}
