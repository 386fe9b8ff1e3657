# SPDX-License-Identifier: Apache-2.0
"""The sender of one replica ends whatever becomes of the upload."""

import pytest

from swift.common.concurrency import Timeout, sleep, spawn
from swift.common.exceptions import ChunkWriteTimeout
from swift.proxy.put import Replica, Upload


class FakeConn:
    def __init__(self, fail_after=None):
        self.sent, self.closed, self.fail_after = [], False, fail_after

    def send(self, data, timeout):
        if self.fail_after is not None and len(self.sent) >= self.fail_after:
            raise ChunkWriteTimeout(None)
        self.sent.append(data)

    def close(self):
        self.closed = True


class FakeApp:
    node_timeout = 1

    def __init__(self):
        self.errors = []

    def failed(self, node, kind, error, what):
        self.errors.append(node)


@pytest.fixture
def upload():
    made = Upload.__new__(Upload)
    made.app, made.what = FakeApp(), 'PUT'
    return made


def started(upload, conn):
    replica = Replica('node', conn, 2)
    thread = spawn(upload._send, replica)
    sleep(0)
    return replica, thread


def test_sends_until_the_end(upload):
    replica, thread = started(upload, FakeConn())
    for piece in (b'a', b'b', b''):
        replica.queue.put(piece)
    with Timeout(1):
        thread.wait()
    assert replica.conn.sent == [b'a', b'b'] and not replica.failed and replica.done.ready()


def test_bug_sender_waited_for_ever_when_the_client_left(upload):
    replica, thread = started(upload, FakeConn())
    replica.abandon()
    with Timeout(1):
        thread.wait()
    assert replica.conn.closed and replica.done.ready()


def test_a_node_that_fails_is_counted_once_and_blocks_nobody(upload):
    replica, thread = started(upload, FakeConn(fail_after=1))
    with Timeout(1):
        for _ in range(5):
            upload.put(replica, b'x')
            sleep(0)
            if replica.failed:
                break
        thread.wait()
    assert replica.failed and upload.app.errors == ['node'] and replica.done.ready()
