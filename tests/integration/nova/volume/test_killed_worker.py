# SPDX-License-Identifier: Apache-2.0
"""nova-volume as a process over RabbitMQ, killed in the middle of everything it does."""

import os
import random
import time

import pytest
from nova_daemons import Cloud
from oslo_config import cfg
from tgtd import initiator
from volume_rows import add_instance, context

from nova import db, exception, rpc
from nova.db import services, volume_snapshots, volumes
from nova.db import session as db_session
from nova.image.model import Image
from nova.volume import audit
from nova.volume.api import API
from nova.volume.iscsi import IscsiDriver
from nova.volume.model import Connector
from nova.volume.tgt import Tgt

pytestmark = [pytest.mark.timeout(300), pytest.mark.kill]

SETTLE_TIMEOUT = 120
CONF = cfg.CONF
OPTIONS = """service_down_time = 60
[volume]
driver = iscsi
iscsi_portal = {portal}
tgt_socket = {socket}
reserved_gb = 0
reconcile_interval = 1
[scheduler]
housekeeping_interval = 2
"""
HERE = Connector("c", "iqn.2010-10.test:here")


@pytest.fixture
def cloud(tmp_path, free_port, amqp_url, tgtd, monkeypatch):
    made = Cloud(tmp_path, free_port, transport=amqp_url, extra=OPTIONS.format(
        portal=tgtd.portal, socket=tgtd.socket))
    with made:
        db.configure(f"sqlite:///{tmp_path}/nova.db")
        rpc.configure(amqp_url)
        yield made
    db.engine().dispose()
    monkeypatch.setattr(db_session, "_database", None)
    rpc.configure("memory://")


def wait_for(condition, what):
    until = time.monotonic() + SETTLE_TIMEOUT
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def settled():
    return not [row for row in (*volumes.get_all(), *volume_snapshots.get_all())
                if row.status in ("creating", "deleting", "extending")]


def work(api, source, image, dice):
    """Ask for something of each kind at once; what is refused because others are busy is not."""
    asked = [
        lambda: api.create(context(), 1), lambda: api.create(context(), 1, image_id=image),
        lambda: api.create(context(), None, source_volume_id=source.id),
        lambda: api.create_snapshot(context(), source.id),
        *(lambda row=row: api.delete(context(), row.id) for row in volumes.get_all()
          if row.id != source.id),
        *(lambda row=row: api.delete_snapshot(context(), row.id)
          for row in volume_snapshots.get_all())]
    dice.shuffle(asked)
    for one in asked:
        try:
            one()
        except (exception.InvalidVolume, exception.InvalidSnapshot):
            continue


def test_killed_in_the_middle_of_everything_it_settles(cloud, tgtd, tmp_path):
    """P2, P3, P10: kill -9 amid creates, copies and deletes; nothing is stuck, nothing lost."""
    cloud.start("scheduler")
    name = cloud.start("volume")
    wait_for(lambda: {row.binary for row in services.get_all() if services.is_up(row, 60)}
             == {"nova-scheduler", "nova-volume"}, "workers are not up")
    images = type("Images", (), {"get": lambda _self, _context, image_id: Image(image_id)})()
    api = API(rpc, images)
    source = api.create(context(), 1)
    wait_for(settled, "the first volume is not made")
    source = volumes.get(source.id)
    assert source.status == "available", source.fault
    path = tmp_path / "host1/volumes" / f"volume-{source.id}"
    content = os.urandom(32 << 20)
    with path.open("r+b") as file:
        file.write(content)
    kept = api.create(context(), 1)
    wait_for(settled, "a volume is not made")
    add_instance("i")
    attachment = api.reserve(context(), kept.id, "i", "vdb")
    api.begin_attach(attachment.id, HERE.host)
    connection = api.initialize_connection(context(), kept.id, HERE)
    api.finish_attach(attachment.id)
    dice, caught = random.Random(2010), 0
    for _ in range(4):
        work(api, source, cloud.image, dice)
        time.sleep(dice.uniform(0.1, 0.6))
        cloud.kill(name)
        caught += not settled()
        # What is attached goes on without the worker.
        assert initiator(connection, "read 0 512", folder=tmp_path)[0] == 0
        name = cloud.start("volume")
        wait_for(settled, cloud.log("volume-host1")[-3000:])
    assert caught >= 2, "it was never killed in the middle of anything"
    faults = [row.fault for row in volumes.get_all() if row.status == "error"]
    assert faults == []
    copies = [row for row in volumes.get_all() if row.source_volume_id == source.id]
    for copy in copies:
        with path.with_name(f"volume-{copy.id}").open("rb") as file:
            assert file.read(len(content)) == content
    assert volumes.get(kept.id).status == "in-use"
    driver = IscsiDriver("host1", path.parent, Tgt(tgtd.socket))
    assert audit.problems("host1", driver) == []
    assert not [one.name for one in path.parent.iterdir() if one.name.startswith(".")]
    api.begin_detach(context(), kept.id, "i")
    api.terminate_connection(context(), kept.id, HERE)
    api.finish_detach(attachment.id)
    for row in volumes.get_all():
        api.delete(context(), row.id, cascade=True)
    wait_for(lambda: not volumes.get_all() and not volume_snapshots.get_all(), "not deleted")
    assert list(path.parent.iterdir()) == []
    assert cloud.stop(name) == 0
    assert connection.auth_secret not in cloud.log("volume-host1")
    assert "Traceback" not in cloud.log("volume-host1")
