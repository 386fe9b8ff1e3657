# SPDX-License-Identifier: Apache-2.0
"""Volumes over a real tgtd, tried with QEMU's own initiator."""

import logging
import threading
from pathlib import Path

import pytest
from oslo_config import cfg
from sqlalchemy import text
from tgtd import initiator
from volume_rows import RecordingRpc, add_host, add_instance, context

from nova import db
from nova.db import instances, migrations, volume_attachments, volume_exports, volumes
from nova.db import session as db_session
from nova.exception import InvalidVolume
from nova.volume import audit
from nova.volume.api import API
from nova.volume.iscsi import IscsiDriver
from nova.volume.manager import VolumeManager
from nova.volume.model import Connector
from nova.volume.tgt import Tgt

CONF = cfg.CONF
HERE = Connector("c", "iqn.2010-10.test:here", "127.0.0.1")


class Rpc(RecordingRpc):
    """Calls go straight to the worker."""

    worker = None

    def Client(self, table):
        client, rpc = super().Client(table), self

        def call(context_, method, *, host=None, timeout=None, **args):
            return getattr(rpc.worker, method)(context_, **args)
        client.call = call
        return client


@pytest.fixture
def cloud(tmp_path, tgtd, monkeypatch):
    """A worker with tgtd; gives (api, worker)."""
    db.configure(f"sqlite:///{tmp_path}/nova.db")
    migrations.upgrade()
    CONF.set_override("iscsi_portal", tgtd.portal, "volume")
    rpc = Rpc()
    rpc.worker = new_worker(tmp_path, tgtd)
    add_host()
    add_instance("i")
    yield API(rpc, images=object()), rpc.worker
    CONF.clear_override("iscsi_portal", "volume")
    db.engine().dispose()
    monkeypatch.setattr(db_session, "_database", None)


def new_worker(tmp_path, tgtd):
    worker = VolumeManager(
        "h", driver=IscsiDriver("h", tmp_path / "volumes", Tgt(tgtd.socket)), images=object(),
        scheduler=RecordingRpc().Client(None))
    worker.start()
    worker._recovery.join()
    return worker


def a_volume(api, worker):
    made = api.create(context(), 1)
    volumes.claim(made.id, "h", "nova")
    worker.create_volume(context(), made.id)
    return volumes.get(made.id)


def attached(api, row):
    attachment = api.reserve(context(), row.id, "i", "vdb")
    api.begin_attach(attachment.id, HERE.host)
    connection = api.initialize_connection(context(), row.id, HERE)
    api.finish_attach(attachment.id)
    return attachment, connection


def detached(api, row, attachment):
    api.begin_detach(context(), row.id, "i")
    api.terminate_connection(context(), row.id, HERE)
    api.finish_detach(attachment.id)


def test_v12_only_who_has_the_secret_and_the_name_gets_in(cloud, tmp_path):
    """V12: no CHAP, a wrong secret, another user and another initiator are all refused."""
    api, worker = cloud
    row = a_volume(api, worker)
    attachment, connection = attached(api, row)
    for refused in ({"user": ""}, {"secret": "0" * 24}, {"user": "0" * 16},
                    {"name": "iqn.2010-10.test:there"}):
        status, said = initiator(connection, "read 0 512", folder=tmp_path, **refused)
        assert status and "Failed to" in said, refused
    status, said = initiator(connection, "write -P 0x5a 1M 64k", folder=tmp_path)
    assert status == 0, said
    path = worker.worker.driver.path(row.id)
    with path.open("rb") as file:
        file.seek(1 << 20)
        assert file.read(65536) == b"\x5a" * 65536
    # What a guest discards is zeros, and room again.
    taken = path.stat().st_blocks
    status, said = initiator(connection, "discard 1M 64k", folder=tmp_path)
    assert status == 0 and path.stat().st_blocks < taken, said
    assert initiator(connection, "read -P 0 1M 64k", folder=tmp_path)[0] == 0
    assert initiator(connection, "write -P 0x5a 1M 64k", folder=tmp_path)[0] == 0
    again = api.initialize_connection(context(), row.id, HERE)
    assert again == connection
    with pytest.raises(InvalidVolume):
        api.terminate_connection(context(), row.id, HERE)
    detached(api, row, attachment)
    status, _said = initiator(connection, "read 0 512", folder=tmp_path)
    assert status and volumes.get(row.id).status == "available"
    # The next attachment has a secret of its own; the old one is worth nothing.
    _attachment, later = attached(api, row)
    assert later.auth_secret != connection.auth_secret
    status, _said = initiator(later, "read 0 512", secret=connection.auth_secret, folder=tmp_path)
    assert status
    assert initiator(later, "read -P 0x5a 1M 64k", folder=tmp_path)[0] == 0


def test_targets_come_back_after_tgtd_and_worker_died(cloud, tmp_path, tgtd):
    """kill -9 of both: the same secret lets the same guest in, and nobody else."""
    api, worker = cloud
    row = a_volume(api, worker)
    attachment, connection = attached(api, row)
    tgtd.kill()
    tgtd.start()
    assert initiator(connection, "read 0 512", folder=tmp_path)[0] != 0
    worker.reconcile()
    assert initiator(connection, "read 0 512", folder=tmp_path)[0] == 0
    tgtd.kill()
    tgtd.start()
    worker = new_worker(tmp_path, tgtd)
    assert initiator(connection, "read 0 512", folder=tmp_path)[0] == 0
    assert initiator(connection, "read 0 512", user="", folder=tmp_path)[0] != 0
    assert audit.problems("h", worker.worker.driver) == []
    # A target nobody's row knows is closed, whoever made it.
    tgt = worker.worker.driver.tgt
    stray = "00000000-0000-4000-8000-000000000000"
    tgt.new_target(77, f"iqn.2010-10.org.openstack:volume-{stray}")
    tgt.allow(77, "ALL")
    assert [one.thing[-36:] for one in audit.problems("h", worker.worker.driver)] == [stray]
    worker.reconcile()
    assert set(tgt.targets()) == {1}
    detached(api, row, attachment)
    assert tgt.targets() == {} and tgt.accounts() == set()
    assert volume_exports.get_of_host("h") == []


def test_a_worker_without_tgtd_has_no_heartbeat(cloud, tgtd):
    from nova.exception import VolumeBackendError
    _api, worker = cloud
    assert worker.hypervisor_up()
    tgtd.kill()
    with pytest.raises(VolumeBackendError, match="tgtd"):
        worker.reconcile()
    assert not worker.hypervisor_up()
    tgtd.start()
    worker.reconcile()
    assert worker.hypervisor_up()


def test_v9_an_export_outlives_no_attachment(cloud, tmp_path):
    """V9, V6: an instance that is gone keeps no way in; a failed attach leaves none either."""
    api, worker = cloud
    row = a_volume(api, worker)
    _attachment, connection = attached(api, row)
    worker.reconcile()
    assert volumes.get(row.id).status == "in-use"
    instances.transition("i", task_state="deleting")
    instances.delete_row("i")
    worker.reconcile()
    assert volumes.get(row.id).status == "available" and volume_attachments.get_all() == []
    assert initiator(connection, "read 0 512", folder=tmp_path)[0] != 0
    attachment = api.reserve(context(), row.id, "i", "vdb")
    api.begin_attach(attachment.id, HERE.host)
    api.initialize_connection(context(), row.id, HERE)
    detached(api, row, attachment)
    assert worker.worker.driver.tgt.targets() == {}


def test_l8_l15_l18_the_secret_is_in_no_log_row_or_command_line(cloud, tmp_path, caplog):
    """L8, L15, L18: looked for in every log line, every process and every shown row."""
    api, worker = cloud
    caplog.set_level(logging.DEBUG)
    row = a_volume(api, worker)
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        attachment, connection = attached(api, row)
        worker.worker.driver.path(row.id).rename(tmp_path / "away")
        worker.worker.driver.tgt.remove_target(1)
        worker.reconcile()      # fails to export it: the error is logged
        (tmp_path / "away").rename(worker.worker.driver.path(row.id))
        detached(api, row, attachment)
    finally:
        stop.set()
        watcher.join()
    secret = connection.auth_secret
    assert len(secret) == 24 and "cannot be" not in secret
    assert "failed to export a volume" in caplog.text and secret not in caplog.text
    assert seen and not [line for line in seen if secret.encode() in line]
    _attachment, connection = attached(api, row)
    with db.reader() as session:
        for table in ("volumes", "volume_attachments"):
            shown = str(session.execute(text(f"SELECT * FROM {table}")).all())
            assert row.id in shown and connection.auth_secret not in shown
    assert connection.auth_secret not in repr(volume_exports.get(row.id))
