# SPDX-License-Identifier: Apache-2.0
"""The broker dies, or the way to it does, in the middle of calls and casts: nothing is lost."""

import threading
import time
import uuid

import pytest

from nova import rpc
from nova.context import admin_context
from nova.exception import RpcUnavailable
from nova.rpc import broker as broker_module

CALL_TIMEOUT = 150      # seconds: RabbitMQ's own start is most of it on a busy machine


class Worker:
    def __init__(self):
        self.seen = []
        self.go = threading.Event()
        self.entered = threading.Event()

    def slow(self, context, text):
        self.entered.set()
        assert self.go.wait(CALL_TIMEOUT)
        self.seen.append(text)
        return text

    def note(self, context, text):
        self.seen.append(text)


@pytest.fixture
def table():
    return rpc.MethodTable(f"topic-{uuid.uuid4().hex[:8]}", [
        rpc.Method("slow", ("text",), timeout=CALL_TIMEOUT), rpc.Method("note", ("text",))])


@pytest.fixture
def connect(monkeypatch):
    yield rpc.configure
    broker_module._broker.close()
    monkeypatch.setattr(broker_module, "_broker", None)


@pytest.fixture
def patient_senders():
    """A broker that is starting is waited for as long as a busy machine takes for it."""
    broker_module.CONF.set_override("publish_timeout", CALL_TIMEOUT, "rpc")
    yield
    broker_module.CONF.clear_override("publish_timeout", "rpc")


def eventually(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def in_background(function, *args, **kwargs):
    """Run a function in a thread; returns (thread, list that gets its result or error)."""
    outcome = []

    def run():
        try:
            outcome.append(function(*args, **kwargs))
        except Exception as error:      # the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


@pytest.mark.timeout(400)
def test_broker_killed_and_restarted_in_the_middle_of_a_call(
        private_rabbit, connect, table, patient_senders):
    """P5: kill -9 of the broker; the call still gets its answer and the work was done once."""
    connect(private_rabbit.url)
    worker = Worker()
    server = rpc.Server(table, "h", worker).start()
    assert server.wait_ready(60)
    client = rpc.Client(table)
    caller, answer = in_background(client.call, admin_context(), "slow", text="called")
    assert worker.entered.wait(60)
    client.cast(admin_context(), "note", text="cast before")

    private_rabbit.kill()
    eventually(lambda: not server.ping(0.2))
    sender, sent = in_background(client.cast, admin_context(), "note", text="cast while away")
    worker.go.set()
    time.sleep(1)
    private_rabbit.start()

    caller.join(CALL_TIMEOUT)
    sender.join(CALL_TIMEOUT)
    assert answer == ["called"]
    assert sent == [None]
    eventually(lambda: len(worker.seen) >= 3)
    assert server.ping(60)
    time.sleep(1)
    assert sorted(worker.seen) == ["called", "cast before", "cast while away"]
    server.stop()


@pytest.mark.timeout(400)
def test_casts_wait_on_the_brokers_disk_while_it_is_dead(private_rabbit, connect, table):
    """What a cast was confirmed for survives kill -9 of the broker, without any worker there."""
    connect(private_rabbit.url)
    for number in range(20):
        rpc.Client(table).cast(admin_context(), "note", text=number)
    private_rabbit.kill()
    private_rabbit.start()
    worker = Worker()
    server = rpc.Server(table, "h", worker).start()
    eventually(lambda: len(worker.seen) == 20)
    assert sorted(worker.seen) == list(range(20))
    server.stop()


def test_connection_cut_in_the_middle_of_a_call(amqp_url, connect, table, wire):
    """The caller's and the worker's connections are cut and mended: one answer, done once."""
    cable = wire(5672)
    connect(amqp_url.replace(":5672", f":{cable.port}"))
    worker = Worker()
    server = rpc.Server(table, "h", worker).start()
    assert server.wait_ready(60)
    caller, answer = in_background(rpc.Client(table).call, admin_context(), "slow", text="x")
    assert worker.entered.wait(60)
    assert cable.cut() >= 3     # worker, reply queue, sender
    assert not server.ping(0.5)
    worker.go.set()
    time.sleep(0.5)
    cable.mend()
    caller.join(CALL_TIMEOUT)
    assert answer == ["x"]
    eventually(lambda: server.ping(2))
    assert worker.seen == ["x"]
    server.stop()


def test_sender_is_told_when_the_broker_stays_away(connect, table, free_port):
    connect(f"amqp://guest:s3cret-pw@127.0.0.1:{free_port()}//")
    broker_module.CONF.set_override("publish_timeout", 1, "rpc")
    try:
        with pytest.raises(RpcUnavailable) as caught:
            rpc.Client(table).cast(admin_context(), "note", text="x")
        assert "s3cret" not in str(caught.value)
    finally:
        broker_module.CONF.clear_override("publish_timeout", "rpc")


def test_security_c6_broker_without_a_trusted_certificate_is_refused(connect, table, tmp_path):
    """C6: over TLS the broker's certificate and the name in it are checked."""
    import socket
    import ssl
    import subprocess
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
                    "-subj", "/CN=elsewhere.example", "-addext",
                    "subjectAltName=DNS:elsewhere.example",
                    "-keyout", str(key), "-out", str(certificate)],
                   check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            while True:
                try:
                    raw, _ = listener.accept()
                    with context.wrap_socket(raw, server_side=True) as secure:
                        heard.append(secure.recv(100))
                except (OSError, ssl.SSLError) as error:
                    if listener.fileno() < 0:
                        return
                    heard.append(type(error))
        threading.Thread(target=serve, daemon=True).start()
        # Trusted authority, wrong name: the name decides.
        broker_module.CONF.set_override("ssl_ca_file", str(certificate), "rpc")
        broker_module.CONF.set_override("publish_timeout", 1, "rpc")
        try:
            connect(f"amqps://guest:guest@127.0.0.1:{listener.getsockname()[1]}//")
            with pytest.raises(RpcUnavailable):
                rpc.Client(table).cast(admin_context(), "note", text="x")
        finally:
            broker_module.CONF.clear_override("ssl_ca_file", "rpc")
            broker_module.CONF.clear_override("publish_timeout", "rpc")
    assert heard and not any(isinstance(item, bytes) and item for item in heard)
