# SPDX-License-Identifier: Apache-2.0
"""What a daemon loads, and names it looks up."""
import subprocess
import sys

HEAVY = ("boto3", "botocore", "cryptography", "dns", "jsonschema", "lxml",
         "numpy", "pymemcache", "requests", "sqlalchemy")


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                          timeout=60).stdout


def test_storage_servers_load_nothing_heavy():
    # 16 MB of each of four daemons on every node went to a resolver nobody called.
    loaded = set(_run("""
import sys
import swift.cli.storage_server, swift.account.server, swift.container.server, swift.obj.server
print(*sys.modules)""").split())
    assert "swift.obj.server" in loaded
    assert not loaded.intersection(HEAVY)


def test_names_are_looked_up_beside_other_green_threads():
    """A name server that does not answer must not stop the daemon."""
    assert _run("""
from swift.common import concurrency
concurrency.patch()
import socket, threading, time
sleep, seen = concurrency._original_sleep, []
def slow(host, *args, **kwargs):
    sleep(1)
    return [(host, concurrency._original_threading.get_ident() == concurrency._main_thread)]
concurrency._original_socket.getaddrinfo = slow
concurrency.spawn(lambda: [time.sleep(0.02) or seen.append(1) for _ in range(5)])
found = socket.getaddrinfo("keystone.example", 80)
print(found, bool(seen), socket.getaddrinfo("127.0.0.1", 80))
""").split("\n")[0] == "[('keystone.example', False)] True [('127.0.0.1', True)]"


STREAMS = """
from swift.common import concurrency
concurrency.patch()
import time
from swift.common.concurrency import StreamSocket, _original_socket, get_hub, sleep, spawn

def pair():
    return [StreamSocket(end) for end in _original_socket.socketpair()]

def outcome(function, *args):
    try:
        return function(*args)
    except OSError as exc:
        return type(exc).__name__ if exc.errno is None else exc.errno

a, b = pair()
"""


def test_a_stream_waits_for_what_comes():
    assert _run(STREAMS + """
for n in range(3):
    thread = spawn(a.recv, 100)
    sleep(0)
    b.sendall(b"%d" % n)
    print(thread.wait().decode(), end=" ")
print(len(get_hub().kept), end=" ")
b.sendall(b"nobody waits")
sleep(0.02)
print(len(get_hub().kept), a.recv(100).decode(), end=" ")
thread = spawn(a.recv, 100)
sleep(0)
b.close()
print(thread.wait())
""") == "0 1 2 1 0 nobody waits b''\n"


def test_a_stream_gives_up_at_each_waits_own_deadline():
    assert _run(STREAMS + """
a.settimeout(4)
thread = spawn(outcome, a.recv, 1)
sleep(1)
b.sendall(b"x")
print(thread.wait(), end=" ")
start = time.monotonic()
print(outcome(a.recv, 1), end=" ")          # the first wait's timer fires in the middle of this
print(time.monotonic() - start > 3.9, end=" ")
a.settimeout(3600)
thread = spawn(outcome, a.recv, 1)
sleep(0.1)
b.sendall(b"y")
thread.wait()
a.settimeout(0.2)                           # sooner than the timer there is
print(outcome(a.recv, 1))
""") == "b'x' TimeoutError True TimeoutError\n"


def test_a_stream_is_written_while_it_is_read():
    assert _run(STREAMS + """
big = bytes(1 << 22)
reader, writer = spawn(outcome, a.recv, 100), spawn(a.sendall, big)
sleep(0.05)
b.sendall(b"ping")
print(reader.wait().decode(), end=" ")
b.sendall(b"unread")                        # must not keep the hub from waiting for room
sleep(0.05)
got = 0
while got < len(big):
    got += len(b.recv(1 << 20))
writer.wait()
print(got == len(big), a.recv(100).decode(), end=" ")
before = time.process_time()
sleep(0.2)
print(time.process_time() - before < 0.1)
""") == "ping True unread True\n"


def test_closing_a_stream_ends_waits_on_it():
    assert _run(STREAMS + """
thread = spawn(outcome, a.recv, 1)
sleep(0)
a.close()
a.close()
c, d = pair()                               # with the descriptor numbers of the closed ones
d.sendall(b"z")
print(thread.wait(), c.recv(1), get_hub().kept)
""") == "9 b'z' {}\n"


def test_much_is_received_at_once_but_not_waited_for_in_vain():
    # Each time all that is there, unless that is too little and more comes soon.
    assert _run(STREAMS + """
def tcp():
    listener = concurrency.listen("127.0.0.1", 0)
    client = concurrency.socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]

writer, reader = tcp()
reader.settimeout(5)
def in_crumbs():
    for _ in range(10):
        writer.sendall(b"x" * 10000)
        sleep(0.01)
    sleep(0.3)
    writer.sendall(b"y" * 7)
spawn(in_crumbs)
print(len(reader.recv_much(1 << 20, 100000)))
print(len(reader.recv(100)))                          # which does not wait for much
concurrency._PATIENCE = 0.1
spawn(writer.sendall, b"z" * 50)
print(len(reader.recv_much(1 << 20, 100000)))         # more does not come
spawn(lambda: (sleep(0.3), writer.sendall(b"z" * 3)))
print(len(reader.recv_much(1 << 20, 100000)))         # nothing came in a while
reader.settimeout(0.2)
try:
    reader.recv_much(1 << 20, 100000)
except TimeoutError:
    print("too late")
writer.sendall(b"last")
writer.close()
print(reader.recv_much(1 << 20, 100000), reader.recv_much(1 << 20, 100000))
""").split("\n")[:6] == ["100000", "7", "50", "3", "too late", "b'last' b''"]
