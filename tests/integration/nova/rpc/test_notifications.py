# SPDX-License-Identifier: Apache-2.0
"""Notifications on a real RabbitMQ: who may take them how, and that nobody waits for them."""

import json
import time

import kombu
import pytest
from oslo_config import cfg

from nova import metrics, notifications, rpc
from nova.rpc import broker as broker_module

CONF = cfg.CONF
DEADLINE = 30


@pytest.fixture
def connected(amqp_url, monkeypatch):
    made = rpc.configure(amqp_url)
    CONF.set_override("drivers", ["rabbitmq"], "notifications")
    yield amqp_url
    CONF.clear_override("drivers", "notifications")
    made.close()
    monkeypatch.setattr(broker_module, "_broker", None)


def take(channel, queue):
    deadline = time.monotonic() + DEADLINE
    while (message := queue(channel).get(no_ack=True)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return message


def test_they_wait_in_durable_queues_and_reach_who_binds_to_the_exchange(connected):
    """A queue of nova's own keeps them; anybody may bind another to the topic exchange."""
    exchange = kombu.Exchange("nova", type="topic", durable=True)
    with kombu.Connection(connected) as connection:
        channel = connection.channel()
        mine = kombu.Queue("mine", exchange=exchange, routing_key="notifications.*",
                           exclusive=True)
        mine(channel).declare()
        notifications.emit("compute.instance.create.start", {"instance_id": "one"})
        notifications.emit("compute.instance.create.error", {"instance_id": "one"},
                           notifications.ERROR)
        assert notifications.flush(DEADLINE)
        for queue, event in (("notifications.info", "create.start"),
                             ("notifications.error", "create.error")):
            message = take(channel, kombu.Queue(queue))
            body = json.loads(message.body)
            assert body["event_type"] == f"compute.instance.{event}"
            assert body["payload"] == {"instance_id": "one"}
            assert message.properties["delivery_mode"] == 2
            assert take(channel, mine).body == message.body


def test_nobody_waits_for_a_broker_that_is_away(monkeypatch, free_port):
    CONF.set_override("drivers", ["rabbitmq"], "notifications")
    monkeypatch.setattr(notifications, "PENDING", 5)
    sender = notifications._Sender()
    monkeypatch.setitem(notifications._DRIVERS, "rabbitmq", sender.put)
    made = rpc.configure(f"amqp://guest:guest@127.0.0.1:{free_port()}//")
    CONF.set_override("publish_timeout", 1, "rpc")
    try:
        dropped = metrics.NOTIFICATIONS.labels("compute.instance.test", "dropped")
        before = dropped._value.get()
        for _ in range(20):
            notifications.emit("compute.instance.test", {})
        assert dropped._value.get() - before >= 10
    finally:
        made.close()
        monkeypatch.setattr(broker_module, "_broker", None)
        CONF.clear_override("publish_timeout", "rpc")
        CONF.clear_override("drivers", "notifications")
        sender.flush(DEADLINE)
