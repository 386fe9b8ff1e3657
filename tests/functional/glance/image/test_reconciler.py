# SPDX-License-Identifier: Apache-2.0
"""What a process that died in mid-work leaves behind, and who cleans it up."""

import uuid

import pytest

from glance import exceptions
from glance.context import service_context
from glance.image.audit import findings
from glance.image.reconciler import Reconciler
from glance.image.worker import Worker

SERVICE = service_context()


@pytest.fixture
def reconciler(api):
    return Reconciler(api.service, stall_timeout=900)


def dead_upload(api, worker_id, bytes_in_store=True):
    """An image whose uploader is gone, with what it had written."""
    image = api.create()
    api.service.registry.update_image(SERVICE, image["id"], {
        "status": "saving", "upload_token": str(uuid.uuid4()), "upload_worker": worker_id,
        "upload_bytes": 3}, from_status=("queued",))
    if bytes_in_store:
        store = api.service.stores["file"]
        (store._directories[0][0] / ".partial" / f"{image['id']}.rest").write_bytes(b"abc")
        (store._directories[0][0] / image["id"]).write_bytes(b"abc")
    return image


def another_worker(api):
    return Worker(api.service.worker.directory)


def test_upload_of_a_dead_process_is_killed_and_its_bytes_removed(api, reconciler, image_files):
    worker = another_worker(api)
    image = dead_upload(api, worker.id)
    assert reconciler.run_once() == 0  # it lives
    assert len(image_files()) == 2
    worker.close()
    assert reconciler.run_once() == 1
    assert api.show(image["id"])["status"] == "killed"
    assert image_files() == []
    assert list(findings(api.service)) == []
    assert reconciler.run_once() == 0


def test_own_upload_that_is_no_longer_running(api, reconciler):
    """The registry was away when the upload failed, so nobody wrote the verdict down."""
    image = dead_upload(api, api.service.worker.id)
    assert reconciler.run_once() == 1
    assert api.show(image["id"])["status"] == "killed"


def test_own_upload_that_runs_is_left_alone(api, reconciler):
    image = dead_upload(api, api.service.worker.id)
    [found] = api.service.registry.list_transient(SERVICE)
    api.service.worker.uploads.add(found["upload_token"])
    assert reconciler.run_once() == 0
    assert api.show(image["id"])["status"] == "saving"


def test_upload_through_another_machine_counts_by_its_last_sign_of_life(api, reconciler):
    image = dead_upload(api, "elsewhere:0123456789abcdef:worker")
    assert reconciler.run_once(at_start=True) == 0
    reconciler.stall_timeout = 0.0
    assert reconciler.run_once() == 1
    assert api.show(image["id"])["status"] == "killed"


def test_a_late_uploader_cannot_come_back(api, reconciler):
    """Said dead first, then cleaned: whoever was only slow loses, and leaves nothing."""
    image = dead_upload(api, "")
    [found] = api.service.registry.list_transient(SERVICE)
    reconciler.run_once()
    with pytest.raises(exceptions.Conflict):
        api.service.registry.update_image(
            SERVICE, image["id"], {"status": "active"}, from_status=("saving",),
            upload_token=found["upload_token"])


def test_delete_that_was_interrupted_is_finished(api, reconciler, image_files):
    image = api.active()
    api.service.registry.delete_image(service_context(), image["id"])
    assert image_files() == [image["id"]]
    assert reconciler.run_once() == 0  # the process that began it may still be at it
    assert reconciler.run_once(at_start=True) == 1
    assert image_files() == []
    assert api.service.registry.list_transient(SERVICE) == []


def test_delete_while_the_store_is_away(api, reconciler, image_files, monkeypatch):
    """The caller's part is done; the bytes go when the store is back, and count until then."""
    store = api.service.stores["file"]
    image = api.active(b"x" * 100)

    def away(_url):
        raise exceptions.Unavailable("store file cannot be used now")

    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", away)
        assert api.call("DELETE", f"/v2/images/{image['id']}").status_int == 204
        assert api.get(f"/v2/images/{image['id']}").status_int == 404
        assert api.service.registry.usage(SERVICE, "alpha").bytes == 100
        assert reconciler.run_once(at_start=True) == 0
        assert image_files() == [image["id"]]
    assert reconciler.run_once(at_start=True) == 1
    assert image_files() == []
    assert api.service.registry.usage(SERVICE, "alpha").bytes == 0


def test_image_in_a_store_that_is_not_enabled_keeps_its_row(api, reconciler, monkeypatch):
    image = api.active()
    api.service.registry.delete_image(SERVICE, image["id"])
    monkeypatch.setattr(api.service.stores, "get", lambda _name: None)
    assert reconciler.run_once(at_start=True) == 0
    assert len(api.service.registry.list_transient(SERVICE)) == 1


def test_locks_of_dead_workers_are_swept(api, reconciler):
    worker = another_worker(api)
    worker._descriptor, descriptor = -1, worker._descriptor
    import os
    os.close(descriptor)  # as the kernel does for a killed process
    directory = api.service.worker.directory
    assert len(list(directory.glob("*.lock"))) == 2
    reconciler.run_once()
    assert len(list(directory.glob("*.lock"))) == 1
    assert api.service.worker.is_alive(worker.id, "x") is False


def test_audit_names_everything_that_does_not_match(api, tmp_path):
    lost, short, good = api.active(), api.active(), api.active()
    images = tmp_path / "images"
    (images / lost["id"]).unlink()
    (images / short["id"]).write_bytes(b"x")
    stray = str(uuid.uuid4())
    (images / stray).write_bytes(b"x")
    dead_upload(api, "", bytes_in_store=False)
    found = list(findings(api.service))
    assert len(found) == 4
    text = "\n".join(found)
    for word in (lost["id"], short["id"], stray, "saving"):
        assert word in text
    assert good["id"] not in text
