# SPDX-License-Identifier: Apache-2.0
"""Notifications of images over a real broker."""

import json
import time

import kombu

from glance.notifier import AmqpSink, Notifier

TIMEOUT = 60


def test_messages_arrive_in_the_envelope_consumers_know(new_amqp_url):
    """Sent before anybody listened, too: the queue is declared by the sender."""
    url = new_amqp_url()
    notifier = Notifier([AmqpSink(url, ["notifications"])], "image.test")
    for number in range(3):
        notifier.tell("image.update", {"id": str(number)})
    seen = []
    with kombu.Connection(url) as connection:
        exchange = kombu.Exchange("glance", type="topic", durable=True)
        box = kombu.Queue("notifications.info", exchange, routing_key="notifications.info",
                          durable=True)(connection.channel())
        box.declare()
        deadline = time.monotonic() + TIMEOUT
        while len(seen) < 3:
            assert time.monotonic() < deadline
            message = box.get(no_ack=True)
            if message is None:
                time.sleep(0.05)
                continue
            assert message.payload["oslo.version"] == "2.0"
            seen.append(json.loads(message.payload["oslo.message"]))
    assert [each["payload"]["id"] for each in seen] == ["0", "1", "2"]
    assert {(each["event_type"], each["publisher_id"], each["priority"]) for each in seen} == {
        ("image.update", "image.test", "INFO")}


def test_nova_and_glance_share_a_broker(new_amqp_url):
    """They tell of things in queues of the same names, which the second one cannot declare anew."""
    url = new_amqp_url()
    notifier = Notifier([AmqpSink(url, ["notifications"])], "image.test")
    with kombu.Connection(url) as connection:
        as_nova = kombu.Queue("notifications.error", kombu.Exchange(""), durable=True)(
            connection.channel())
        as_nova.declare()
        notifier.tell("image.update", {"id": "1"}, "ERROR")
        deadline = time.monotonic() + TIMEOUT
        while (message := as_nova.get(no_ack=True)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert "image.update" in message.payload["oslo.message"]


def test_a_broker_that_is_away_holds_nobody_up(caplog):
    notifier = Notifier([AmqpSink("amqp://127.0.0.1:1//", ["notifications"])], "image.test")
    for number in range(1100):
        notifier.tell("image.update", {"id": str(number)})
    assert "dropped" in caplog.text
