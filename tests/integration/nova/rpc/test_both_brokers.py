# SPDX-License-Identifier: Apache-2.0
"""Everything rpc promises, within one process and over a real RabbitMQ."""

import json
import threading
import time
import uuid

import pytest

from nova import rpc
from nova.context import RequestContext
from nova.exception import InvalidState, RemoteError, RpcTimeout
from nova.rpc import broker as broker_module
from nova.rpc.broker import Address, Source
from nova.rpc.message import Request

CONTEXT = RequestContext(user_id="u", project_id="p", roles=["member"], auth_token="s3cret-token",
                         overwrite=False)


@pytest.fixture(params=["memory", "rabbitmq"])
def any_broker(request, monkeypatch):
    url = "memory://" if request.param == "memory" else request.getfixturevalue("amqp_url")
    made = rpc.configure(url)
    yield made
    made.close()
    monkeypatch.setattr(broker_module, "_broker", None)


class Worker:
    """An endpoint that remembers what it was asked."""

    def __init__(self):
        self.seen = []
        self.contexts = []
        self.go = threading.Event()
        self.entered = threading.Event()

    def echo(self, context, text, more=None):
        self.contexts.append(context)
        self.seen.append(text)
        return {"text": text, "more": more}

    def refuse(self, context, instance_id):
        raise InvalidState(action="stop", instance_id=instance_id, vm_state="error",
                           task_state=None)

    def crash(self, context):
        self.seen.append("crash")
        raise OSError("the password is s3cret")

    def message_parked(self, context, method, args, reason):
        self.seen.append((context.request_id, method, args, reason))

    def unspeakable(self, context):
        return object()

    def multiply(self, context, text, times):
        return text * times

    def slow(self, context, text):
        self.entered.set()
        self.go.wait(20)
        self.seen.append(text)
        return text


def make_table():
    """A topic nobody else has."""
    return rpc.MethodTable(f"topic-{uuid.uuid4().hex[:8]}", [
        rpc.Method("echo", ("text",), ("more",)), rpc.Method("refuse", ("instance_id",)),
        rpc.Method("crash"), rpc.Method("unspeakable"),
        rpc.Method("multiply", ("text", "times")),
        rpc.Method("slow", ("text",), timeout=20)])


@pytest.fixture
def table(any_broker):
    return make_table()


@pytest.fixture
def serve(any_broker, table):
    started = []

    def start(host="host1", **options):
        worker = Worker()
        server = rpc.Server(table, host, worker, **options).start()
        assert server.wait_ready(60)
        started.append((server, worker))
        return server, worker

    yield start
    for server, worker in started:
        worker.go.set()
        server.stop(grace=5)


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_call_answers_with_what_the_handler_returned(table, serve):
    _server, worker = serve()
    client = rpc.Client(table)
    assert client.call(CONTEXT, "echo", text="täxt", more=[1, None]) == {
        "text": "täxt", "more": [1, None]}
    assert client.call(CONTEXT, "echo", host="host1", text="x")["text"] == "x"
    got = worker.contexts[0]
    assert (got.user_id, got.project_id, got.roles, got.request_id) == (
        "u", "p", ["member"], CONTEXT.request_id)


def test_known_errors_cross_the_wire_with_their_arguments(table, serve):
    serve()
    with pytest.raises(InvalidState) as caught:
        rpc.Client(table).call(CONTEXT, "refuse", instance_id="abc")
    assert caught.value.details["vm_state"] == "error"
    assert "'stop' instance abc" in str(caught.value)


def test_result_that_is_not_json_is_a_remote_error(table, serve):
    serve()
    with pytest.raises(RemoteError, match="cannot travel"):
        rpc.Client(table).call(CONTEXT, "unspeakable")


def test_arguments_are_checked_before_anything_is_sent(table, any_broker):
    client = rpc.Client(table)
    for method, args in (("nothing", {}), ("echo", {}), ("echo", {"text": 1, "extra": 2})):
        with pytest.raises(ValueError):
            client.call(CONTEXT, method, **args)
        with pytest.raises(ValueError):
            client.cast(CONTEXT, method, **args)
    assert any_broker.depth(Address.worker(table.topic)) == 0


def test_endpoint_without_a_method_of_the_table_is_refused(table):
    with pytest.raises(TypeError, match="slow"):
        rpc.Server(table, "h", type("Half", (), {"echo": 1, "refuse": print})())


def test_call_to_nobody_ends_at_its_deadline_and_is_not_done_later(table, serve):
    started = time.monotonic()
    with pytest.raises(RpcTimeout) as caught:
        rpc.Client(table).call(CONTEXT, "echo", text="late", timeout=1)
    assert time.monotonic() - started > 0.9
    assert caught.value.details == {"method": "echo", "topic": table.topic, "seconds": 1}
    # The broker's clock for a message starts when it has arrived, a little after the caller's.
    time.sleep(1)
    _server, worker = serve()
    rpc.Client(table).call(CONTEXT, "echo", text="second")
    assert worker.seen == ["second"]


def test_cast_waits_for_a_worker_that_is_not_there_yet(table, serve):
    rpc.Client(table).cast(CONTEXT, "echo", text="anybody")
    rpc.Client(table).cast(CONTEXT, "echo", host="host1", text="you")
    _server, worker = serve("host1")
    eventually(lambda: sorted(worker.seen) == ["anybody", "you"])


def test_cast_to_a_topic_reaches_one_worker_and_fanout_all(table, serve):
    workers = [serve(f"host{n}")[1] for n in range(3)]
    rpc.Client(table).cast(CONTEXT, "echo", text="one")
    rpc.Client(table).cast(CONTEXT, "echo", host="host2", text="third")
    rpc.Client(table).fanout(CONTEXT, "echo", text="all")
    eventually(lambda: sum(len(w.seen) for w in workers) == 5)
    time.sleep(0.2)
    everything = [text for worker in workers for text in worker.seen]
    assert sorted(everything) == ["all", "all", "all", "one", "third"]
    assert "third" in workers[2].seen


def test_module_functions_do_what_the_client_does(table, serve):
    _server, worker = serve()
    assert rpc.call(CONTEXT, table, "echo", text="a")["text"] == "a"
    rpc.cast(CONTEXT, table, "echo", host="host1", text="b")
    rpc.fanout(CONTEXT, table, "echo", text="c")
    eventually(lambda: sorted(worker.seen) == ["a", "b", "c"])


def test_message_is_acknowledged_after_the_handler_not_before(table, serve):
    """A worker that stops in the middle of a handler gives its message back."""
    first, worker = serve("host1")
    rpc.Client(table).cast(CONTEXT, "slow", text="x")
    assert worker.entered.wait(10)
    first.stop(grace=0.1)
    _second, other = serve("host2")
    other.go.set()
    eventually(lambda: other.seen == ["x"])


def test_stop_lets_running_handlers_finish(table, serve, any_broker):
    server, worker = serve()
    rpc.Client(table).cast(CONTEXT, "slow", text="x")
    assert worker.entered.wait(10)
    threading.Timer(0.5, worker.go.set).start()
    server.stop(grace=10)
    assert worker.seen == ["x"]
    assert any_broker.depth(Address.worker(table.topic)) == 0
    rpc.Client(table).cast(CONTEXT, "echo", text="later")
    time.sleep(0.3)
    assert worker.seen == ["x"]


def test_message_that_comes_twice_is_done_once(table, serve, any_broker):
    _server, worker = serve()
    request = Request("slow", {"text": "x"}, CONTEXT.to_wire(), "unique-1")
    any_broker.publish(Address.worker(table.topic), request.encode())
    assert worker.entered.wait(10)
    any_broker.publish(Address.worker(table.topic, "host1"), request.encode())
    time.sleep(0.3)
    worker.go.set()
    any_broker.publish(Address.worker(table.topic), request.encode())
    time.sleep(0.5)
    assert worker.seen == ["x"]
    assert any_broker.depth(Address.worker(table.topic)) == 0


def test_call_asked_twice_is_answered_twice_and_done_once(table, serve, any_broker):
    _server, worker = serve()
    answers = []
    subscription = any_broker.subscribe(
        [Source(Address(Address.REPLY, table.topic + ".reply"), table.topic + ".reply")],
        lambda delivery: (answers.append(json.loads(delivery.body)), delivery.ack()), prefetch=5)
    assert subscription.wait_ready(60)
    request = Request("echo", {"text": "x"}, {}, uuid.uuid4().hex, table.topic + ".reply", 10)
    for expected in (1, 2):
        any_broker.publish(Address.worker(table.topic), request.encode())
        eventually(lambda expected=expected: len(answers) == expected)
    assert answers[0] == answers[1]
    assert worker.seen == ["x"]
    subscription.stop()


def dead_letters_with(any_broker, text):
    """How many letters were put aside that hold a text; takes them all out."""
    found = []
    source = Source(Address(Address.DEAD, "nova_dead_letters"), "nova_dead_letters")
    if hasattr(any_broker, "connection"):
        from nova.rpc import amqp
        with any_broker.connection(0) as connection:
            queue = amqp.DEAD(connection.channel())
            queue.declare()
            while (letter := queue.get(no_ack=True)) is not None:
                found.append(bytes(letter.body))
    else:
        any_broker.subscribe([source], lambda delivery: (
            found.append(delivery.body), delivery.ack()), prefetch=1000).stop()
    return sum(text.encode() in body for body in found)


@pytest.mark.parametrize("body", [
    b"\xff\xfe", b"[]", b"{}", b"null", b"[" * 100000,
    b'{"version":1,"method":"echo","args":[],"context":{},"unique_id":"u","reply_to":null}',
    b'{"version":9,"method":"echo","args":{},"context":{},"unique_id":"u","reply_to":null}',
    b'{"version":1,"method":"echo","args":{"text":1,"x":2},"context":{},"unique_id":"u",'
    b'"reply_to":null}',
], ids=str)
def test_poison_is_put_aside_and_the_worker_goes_on(table, serve, any_broker, body):
    _server, worker = serve()
    dead_letters_with(any_broker, "")
    any_broker.publish(Address.worker(table.topic), body)
    assert rpc.Client(table).call(CONTEXT, "echo", text="alive")["text"] == "alive"
    time.sleep(0.2)
    assert dead_letters_with(any_broker, body.decode("latin-1")[:50] if body[0] < 128 else "") == 1
    assert worker.seen == ["alive"]


def test_message_that_kills_its_workers_is_put_aside(table, serve, any_broker):
    dead_letters_with(any_broker, "")
    rpc.Client(table).cast(CONTEXT, "slow", text="poison")
    deaths = 0
    for number in range(20):
        server, worker = serve(f"host{number}")
        if not worker.entered.wait(5):
            break
        deaths += 1
        time.sleep(0.2)     # the copy that was counted is acknowledged
        server.stop(grace=0)
    assert deaths == 5 == broker_module.CONF.rpc.max_deliveries
    assert dead_letters_with(any_broker, "poison") == 1


def test_message_whose_handler_breaks_is_put_aside_and_the_worker_told(
        table, serve, any_broker, monkeypatch):
    monkeypatch.setattr("nova.rpc.server.AGAIN_PAUSE", 0.01)
    dead_letters_with(any_broker, "")
    _server, worker = serve(pool_size=1)
    rpc.Client(table).cast(CONTEXT, "crash")
    eventually(lambda: len(worker.seen) == 6)
    assert worker.seen == ["crash"] * 5 + [
        (CONTEXT.request_id, "crash", {}, "5 times it raised OSError")]
    assert rpc.Client(table).call(CONTEXT, "echo", text="alive")["text"] == "alive"
    assert dead_letters_with(any_broker, '"crash"') == 1


def test_call_whose_handler_breaks_is_answered_and_not_repeated(table, serve):
    _server, worker = serve()
    with pytest.raises(RemoteError):
        rpc.Client(table).call(CONTEXT, "crash")
    assert worker.seen == ["crash"]


def test_ping_comes_back_through_the_broker(table, serve, any_broker):
    server, worker = serve(pool_size=1)
    assert server.ping(5)
    # Also while every hand is busy.
    rpc.Client(table).cast(CONTEXT, "slow", text="1")
    assert worker.entered.wait(10)
    assert server.ping(5)
    worker.go.set()
    server.stop()
    assert not server.ping(0.3)


def test_no_more_than_pool_size_handlers_run_at_once(table, serve):
    _server, worker = serve(pool_size=3)
    running, most, lock = 0, 0, threading.Lock()

    def counted(context, text):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        worker.seen.append(text)

    worker.slow = counted
    for number in range(12):
        rpc.Client(table).cast(CONTEXT, "slow", text=number)
    eventually(lambda: len(worker.seen) == 12)
    assert most == 3


def test_parallel_calls_get_their_own_answers(table, serve):
    serve()
    wrong = []

    def ask(number):
        for turn in range(10):
            text = f"{number}-{turn}"
            if rpc.Client(table).call(CONTEXT, "echo", text=text)["text"] != text:
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---------------------------------------------------------------- security

def test_security_l5_no_token_crosses_the_bus(table, any_broker):
    """L5: the context that travels has no token; the broker never sees one."""
    seen = []
    subscription = any_broker.subscribe(
        [Source(Address.worker(table.topic), table.topic)],
        lambda delivery: (seen.append(delivery.body), delivery.ack()), prefetch=5)
    assert subscription.wait_ready(60)
    rpc.Client(table).cast(CONTEXT, "echo", text="x")
    eventually(lambda: seen)
    assert b"s3cret" not in seen[0]
    assert "s3cret" not in json.dumps(CONTEXT.to_wire())
    subscription.stop()


def test_security_l11_foreign_errors_cross_as_their_class_alone(table, serve):
    """L10, L11: the text of an exception that is not ours stays in the worker."""
    serve()
    with pytest.raises(RemoteError) as caught:
        rpc.Client(table).call(CONTEXT, "crash")
    assert str(caught.value) == "The worker failed: OSError"


def test_security_q7_a_large_answer_does_not_break_the_bus(table, serve):
    """Q7: megabytes of text, any characters, and the worker answers the next call."""
    serve()
    text = "\x00\x1b\u2028\U0001f40d" * 200_000
    assert rpc.Client(table).call(CONTEXT, "echo", text=text, timeout=30)["text"] == text
    with pytest.raises(ValueError, match="bytes"):
        rpc.Client(table).call(CONTEXT, "echo", text="x" * 17 * 1024 * 1024)
    with pytest.raises(RemoteError, match="cannot travel"):
        rpc.Client(table).call(CONTEXT, "multiply", text="x" * 1024, times=17 * 1024)
    assert rpc.Client(table).call(CONTEXT, "echo", text="next")["text"] == "next"


def test_security_only_methods_of_the_table_can_be_called(table, serve, any_broker):
    """Any attribute name from the wire was called once (nova 2011): refused here."""
    _server, worker = serve()
    answers = []
    name = table.topic + ".reply"
    subscription = any_broker.subscribe(
        [Source(Address(Address.REPLY, name), name)],
        lambda delivery: (answers.append(json.loads(delivery.body)), delivery.ack()), prefetch=5)
    assert subscription.wait_ready(60)
    for method in ("__init__", "__class__", "seen", "go.set", ""):
        request = Request(method, {}, {}, uuid.uuid4().hex, name, 5)
        any_broker.publish(Address.worker(table.topic), request.encode())
    eventually(lambda: len(answers) == 5)
    assert {answer["error"]["class"] for answer in answers} == {"RemoteError"}
    assert worker.seen == []
    subscription.stop()


def test_security_errors_from_the_wire_are_built_from_the_allow_list_alone(table):
    """A reply that names another class than ours is a RemoteError."""
    from nova.rpc.message import decode_reply
    for name in ("OSError", "os.system", "BrokerUnavailable", None, 5, ["x"]):
        wire = json.dumps({"message_id": "m", "error": {"class": name, "message": "x"}} if not
                          isinstance(name, list) else {"message_id": "m", "error": name})
        assert isinstance(decode_reply(wire.encode())[2], RemoteError)
