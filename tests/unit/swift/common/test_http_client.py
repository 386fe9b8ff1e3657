# SPDX-License-Identifier: Apache-2.0
"""The storage client: parsing, framing, kept and stale connections."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.common.exceptions import ChunkReadError, ResponseTimeout, expired
from swift.common.http_client import BadReply, Conn, Pool, Reply, StaleConnection

GET = b'GET /x HTTP/1.1\r\n\r\n'


@pytest.fixture
def server():
    """Listens; ``server(*answers)`` serves one connection: each request gets the next answer."""
    listener = socket.create_server(('127.0.0.1', 0))
    threads = []

    def serve(*answers, connections=1):
        def run():
            for _ in range(connections):
                sock, _ = listener.accept()
                with sock:
                    for reply in answers:
                        if not sock.recv(65536):
                            break
                        sock.sendall(reply)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        return listener.getsockname()
    yield serve
    listener.close()


def ask(pool, addr, data=GET, fresh=False):
    conn = pool.connect(addr, fresh)
    conn.send(data)
    return conn.read_head(5)


def test_length_chunks_and_close(server):
    pool = Pool()
    addr = server(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello',
                  b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'
                  b'2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n',
                  b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n',
                  b'HTTP/1.0 200 OK\r\n\r\nuntil the end')
    reply = ask(pool, addr)
    assert reply.headers['x-a'] == '1,2' and reply.read_all() == b'hello'
    assert len(pool.idle[addr]) == 1
    assert ask(pool, addr).read_all() == b'abcde'
    reply = ask(pool, addr)
    assert reply.status == 404 and reply.done
    assert ask(pool, addr).read_all() == b'until the end'
    assert pool.idle[addr] == []


def test_head_and_204_have_no_body(server):
    pool = Pool()
    addr = server(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
                  b'HTTP/1.1 204 No Content\r\n\r\n')
    assert ask(pool, addr, b'HEAD /x HTTP/1.1\r\n\r\n').read_all() == b''
    assert ask(pool, addr).read_all() == b''


def test_cut_body_is_an_error(server):
    for framing in (b'Content-Length: 9\r\n\r\nabc', b'Transfer-Encoding: chunked\r\n\r\n9\r\nabc',
                    b'Transfer-Encoding: chunked\r\n\r\nzz\r\nabc'):
        addr = server(b'HTTP/1.1 200 OK\r\n' + framing)
        with pytest.raises(ChunkReadError):
            ask(Pool(), addr).read_all()


def test_stale_connection_is_seen_when_taken(server):
    pool = Pool()
    addr = server(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', connections=2)
    ask(pool, addr)
    pool.idle[addr][0].sock.shutdown(socket.SHUT_RDWR)
    assert pool.take(addr) is None
    assert ask(pool, addr).status == 200


def test_stale_connection_is_seen_when_no_answer_comes(server):
    pool = Pool()
    addr = server(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    ask(pool, addr)
    conn = pool.take(addr)
    conn = conn or Conn(pool, addr, socket.create_connection(addr))
    conn.reused = True
    conn.sock.shutdown(socket.SHUT_RD)
    with pytest.raises(StaleConnection):
        conn.send(GET)
        conn.read_head(5)


def test_a_new_connection_that_closes_is_no_stale_one(server):
    addr = server(b'')
    with pytest.raises(BadReply) as caught:
        ask(Pool(), addr)
    assert not isinstance(caught.value, StaleConnection)


def test_timeout_keeps_what_came():
    ours, theirs = socket.socketpair()
    conn = Conn(Pool(), ('x', 1), ours)
    theirs.sendall(b'HTTP/1.1 20')
    with pytest.raises(ResponseTimeout):
        conn.read_head(0.05)
    theirs.sendall(b'1 Created\r\nContent-Length: 0\r\n\r\n')
    assert conn.read_head(1).status == 201
    theirs.close()
    conn.pool.forget(('x', 1))


@pytest.mark.parametrize('head', [b'', b'HTTP/1.1', b'HTTP/1.1 x OK', b'SSH-2.0 200 x',
                                  b'HTTP/1.1 200 OK\r\nContent-Length: x'])
def test_nonsense(head):
    with pytest.raises(BadReply):
        Reply(head, Conn(Pool(), ('x', 1), None))


@given(st.binary())
def test_any_bytes_are_a_reply_or_a_bad_one(head):
    try:
        Reply(head, Conn(Pool(), ('x', 1), None))
    except BadReply:
        pass


def test_header_values_keep_their_bytes():
    text = 'é\x85\xa0'.encode()
    reply = Reply(b'HTTP/1.1 200 OK\r\nX-A: ' + text + b' \t\r\nContent-Length: 1', Conn(
        Pool(), ('x', 1), None))
    assert reply.headers['x-a'].encode('latin-1') == text


def test_bug_a_timeout_struck_twice():
    """Raising a timeout for a wait that is over started it anew."""
    from swift.common.concurrency import sleep
    error = expired(ResponseTimeout, 0.01)
    assert '0.01' in str(error)
    sleep(0.03)
