# SPDX-License-Identifier: Apache-2.0
"""The API of volumes: everything in the caller's scope, rows before hints."""

import pytest
from volume_rows import RecordingRpc, add_host, add_volume, context

from nova import exception, quota
from nova.db import quotas, volume_attachments, volume_snapshots, volume_types, volumes
from nova.image.model import Image
from nova.volume.api import API
from nova.volume.model import Connector, VolumeConnection

pytestmark = pytest.mark.usefixtures("nova_db")
GIB = 1024 ** 3


class Images:
    def __init__(self):
        self.images = {"img": Image("img", name="tiny", size=GIB + 1, disk_format="qcow2",
                                    checksum="c", properties={"os": "tiny"}),
                       "queued": Image("queued", status="queued")}

    def get(self, _context, image_id):
        try:
            return self.images[image_id]
        except KeyError:
            raise exception.ImageNotFound(image_id=image_id) from None


@pytest.fixture
def rpc():
    return RecordingRpc()


@pytest.fixture
def api(rpc):
    return API(rpc, Images())


def test_create_writes_a_row_and_tells_the_scheduler(api, rpc):
    made = api.create(context(), 2, "name", "text", metadata={"a": "b"})
    row = volumes.get(made.id, "p")
    assert (row.status, row.host, row.size_gb, row.claimed_gb) == ("creating", None, 2, 2)
    assert (row.name, row.description, row.metadata_) == ("name", "text", {"a": "b"})
    assert rpc.casts == [("scheduler", "schedule_volumes", None, {"volume_ids": [made.id]})]


@pytest.mark.parametrize("asked, field", [
    ({"size_gb": None}, "size"), ({"size_gb": 0}, "size"), ({"size_gb": 1 << 21}, "size"),
    ({"size_gb": 1, "availability_zone": "nowhere"}, "availability_zone"),
    ({"size_gb": 1, "volume_type": "none"}, "volume_type"),
    ({"size_gb": 1, "image_id": "img"}, "size"),
    ({"size_gb": 9, "image_id": "queued"}, "imageRef"),
    ({"size_gb": 1, "image_id": "img", "snapshot_id": "s"}, "at most one"),
])
def test_bad_requests_name_the_field(api, rpc, asked, field):
    with pytest.raises(exception.BadRequest, match=field):
        api.create(context(), **asked)
    assert volumes.get_all() == [] and rpc.casts == []


def test_a_volume_of_an_image_is_bootable_and_as_large_as_it_needs(api):
    made = api.create(context(), None, image_id="img")
    assert (made.size_gb, made.bootable) == (2, True)
    assert made.image_metadata == {"image_id": "img", "image_name": "tiny", "checksum": "c",
                                   "disk_format": "qcow2", "min_disk": 0, "min_ram": 0,
                                   "size": GIB + 1, "os": "tiny"}
    with pytest.raises(exception.ImageNotFound):
        api.create(context(), 1, image_id="other")


def test_quota_counts_volumes_snapshots_and_what_both_take(api):
    add_host()
    quotas.set_limits("p", {"volumes": 2, "gigabytes": 7, "snapshots": 1})
    first = add_volume(size_gb=3)
    with pytest.raises(exception.OverQuota, match="gigabytes"):
        api.create(context(), 5)
    api.create_snapshot(context(), first.id)
    assert quota.usage("p")["gigabytes"] == 6 and quota.usage("p")["snapshots"] == 1
    with pytest.raises(exception.OverQuota, match="snapshots"):
        api.create_snapshot(context(), first.id)
    with pytest.raises(exception.OverQuota, match="gigabytes"):
        api.extend(context(), first.id, 5)
    api.create(context(), 1)
    with pytest.raises(exception.OverQuota, match="volumes"):
        api.create(context(), 1)


def test_delete_tells_the_host_and_again_tells_it_again(api, rpc):
    row, waiting = add_volume(), add_volume(status="creating", host=None)
    api.delete(context(), row.id)
    api.delete(context(), row.id)
    assert rpc.casts == [("volume", "delete_volume", "h", {"volume_id": row.id})] * 2
    assert volumes.get(row.id).desired == "deleted"
    api.delete(context(), waiting.id)
    with pytest.raises(exception.VolumeNotFound):
        volumes.get(waiting.id)


def test_snapshots_stay_when_their_volume_goes_unless_asked_for(api, rpc):
    add_host()
    row = add_volume()
    api.create_snapshot(context(), row.id, "s")
    with pytest.raises(exception.InvalidVolume, match="copied"):
        api.delete(context(), row.id)
    attached = add_volume()
    other = api.create_snapshot(context(), attached.id)
    volume_snapshots.transition(other.id, status="available")
    api.reserve(context(), attached.id, "i", "vdb")
    with pytest.raises(exception.InvalidVolume, match="reserved"):
        api.delete(context(), attached.id, cascade=True)
    assert volume_snapshots.get(other.id).status == "available"
    del rpc.casts[1:]
    api.delete(context(), row.id, cascade=True)
    assert [cast[1] for cast in rpc.casts] == [
        "create_snapshot", "delete_snapshot", "delete_volume"]


def test_extend_wants_more_than_there_is(api, rpc):
    add_host()
    row = add_volume(size_gb=2)
    for size in (1, 2, 1 << 21):
        with pytest.raises(exception.BadRequest, match="new_size"):
            api.extend(context(), row.id, size)
    api.extend(context(), row.id, 3)
    assert rpc.casts == [("volume", "extend_volume", "h", {"volume_id": row.id})]


def test_reset_status_leaves_attached_volumes_alone(api):
    row = add_volume(status="error", format=None)
    with pytest.raises(exception.BadRequest, match="never made"):
        api.reset_status(context(admin=True), row.id, "available")
    with pytest.raises(exception.BadRequest, match="in-use"):
        api.reset_status(context(admin=True), row.id, "in-use")
    row = add_volume(status="error")
    api.reset_status(context(admin=True), row.id, "available")
    api.reserve(context(), row.id, "i", "vdb")
    with pytest.raises(exception.InvalidVolume, match="reserved"):
        api.reset_status(context(admin=True), row.id, "available")


def test_metadata_is_replaced_added_to_and_removed_from(api):
    add_host()
    row = add_volume()
    assert api.replace_metadata(context(), row.id, {"a": "1"}) == {"a": "1"}
    assert api.add_metadata(context(), row.id, {"b": "2"}) == {"a": "1", "b": "2"}
    api.delete_metadata(context(), row.id, "a")
    with pytest.raises(exception.NotFound, match="'a'"):
        api.delete_metadata(context(), row.id, "a")
    quotas.set_limits("p", {"metadata_items": 1})
    with pytest.raises(exception.OverQuota):
        api.add_metadata(context(), row.id, {"c": "3"})
    snapshot = api.create_snapshot(context(), row.id)
    assert api.add_snapshot_metadata(context(), snapshot.id, {"x": "y"}) == {"x": "y"}
    api.delete_snapshot_metadata(context(), snapshot.id, "x")
    assert api.update(context(), row.id, {"name": "n"}).name == "n"
    assert api.set_bootable(context(), row.id, True).bootable is True
    assert api.update_snapshot(context(), snapshot.id, {"name": "n"}).name == "n"


def test_attach_and_detach_by_the_contract(api, rpc):
    row = add_volume()
    rpc.answers["initialize_connection"] = lambda host, volume_id, connector: VolumeConnection(
        volume_id, "iscsi", 1, portal="p", target="t", lun=1, auth_user="u",
        auth_secret="s3cret").to_dict()
    rpc.answers["terminate_connection"] = lambda host, volume_id, connector: None
    attachment = api.reserve(context(), row.id, "i", "vdb")
    api.begin_attach(attachment.id, "c")
    found = api.initialize_connection(context(), row.id, Connector("c", "iqn.c", "::1"))
    assert (found.auth_secret, found.lun) == ("s3cret", 1)
    api.finish_attach(attachment.id)
    with pytest.raises(exception.VolumeAttachmentNotFound):
        api.begin_detach(context(), row.id, "other")
    assert api.begin_detach(context(), row.id, "i").id == attachment.id
    api.terminate_connection(context(), row.id, Connector("c"))
    api.finish_detach(attachment.id)
    assert volumes.get(row.id).status == "available"
    again = api.reserve(context(), row.id, "i", "vdb")
    api.undo_reserve(again.id)
    assert volume_attachments.get_all() == []


def test_foreign_volumes_do_not_exist(api):
    """T3, T7, T14, T16: every id is looked up in the caller's project; 404 the same as for none."""
    add_host()
    row = add_volume()
    snapshot = api.create_snapshot(context(), row.id)
    volume_snapshots.transition(snapshot.id, status="available")
    other = context("q")
    for attempt in (
            lambda: api.get(other, row.id), lambda: api.delete(other, row.id),
            lambda: api.extend(other, row.id, 9), lambda: api.update(other, row.id, {}),
            lambda: api.reserve(other, row.id, "i", "vdb"),
            lambda: api.begin_detach(other, row.id, "i"),
            lambda: api.create_snapshot(other, row.id),
            lambda: api.add_metadata(other, row.id, {"a": "b"}),
            lambda: api.initialize_connection(other, row.id, Connector("c")),
            lambda: api.create(other, 1, source_volume_id=row.id),
            # An administrator copies his own project's data alone.
            lambda: api.create(context("q", admin=True), 1, source_volume_id=row.id)):
        with pytest.raises(exception.VolumeNotFound):
            attempt()
    for attempt in (
            lambda: api.get_snapshot(other, snapshot.id),
            lambda: api.delete_snapshot(other, snapshot.id),
            lambda: api.create(other, 1, snapshot_id=snapshot.id)):
        with pytest.raises(exception.SnapshotNotFound):
            attempt()
    assert api.get_all(other) == [] and api.get_all(other, all_projects=True) == []
    assert len(api.get_all(context("q", admin=True), all_projects=True)) == 1
    volume_types.create("hidden", is_public=False)
    with pytest.raises(exception.BadRequest, match="volume_type"):
        api.create(other, 1, volume_type="hidden")


def test_secrets_are_not_shown():
    """L15, L18: what says how a volume is reached does not show its secret."""
    connection = VolumeConnection("v", "iscsi", 1, auth_user="u", auth_secret="s3cret")
    assert "s3cret" not in repr(connection) and "s3cret" not in str(connection)
    assert VolumeConnection.from_dict(connection.to_dict()) == connection
    assert Connector.from_dict(Connector("h", "i", "a").to_dict()) == Connector("h", "i", "a")
