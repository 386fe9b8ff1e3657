# SPDX-License-Identifier: Apache-2.0
"""Upload and download of API v2: one winner, right bytes or none."""

import hashlib
import io
import threading

import pytest

from glance.context import service_context

ADMIN = service_context()
DATA = bytes(range(256)) * 9000  # more than two reads


class Broken(io.BytesIO):
    """A client that goes away after some bytes."""

    def __init__(self, data, error=None):
        super().__init__(data)
        self.error = error

    def read(self, size=-1):
        piece = super().read(size)
        if not piece and self.error is not None:
            raise self.error
        return piece


def test_the_site_chooses_the_hash(make_api):
    image = make_api(hashing_algorithm="sha512").active(DATA)
    assert (image["os_hash_algo"], image["os_hash_value"]) == (
        "sha512", hashlib.sha512(DATA).hexdigest())


def test_upload_download_round_trip(api, image_files):
    image = api.active(DATA)
    assert image["status"] == "active"
    assert image["size"] == len(DATA)
    assert image["checksum"] == hashlib.md5(DATA).hexdigest()
    assert image["os_hash_algo"] == "sha256"
    assert image["os_hash_value"] == hashlib.sha256(DATA).hexdigest()
    assert image_files() == [image["id"]]
    response = api.get(f"{image['file']}")
    assert response.status_int == 200
    assert response.body == DATA
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-MD5"] == image["checksum"]
    assert response.content_length == len(DATA)


def test_upload_of_unknown_length(api):
    image = api.create()
    assert api.upload(image["id"], io.BytesIO(DATA)).status_int == 204
    assert api.show(image["id"])["size"] == len(DATA)


def test_empty_image(api):
    image = api.create()
    assert api.upload(image["id"], b"").status_int == 204
    assert api.show(image["id"])["size"] == 0
    assert api.get(image["file"]).body == b""


@pytest.mark.parametrize("header, part", [
    ("bytes=0-9", slice(0, 10)), ("bytes=10-", slice(10, None)), ("bytes=-7", slice(-7, None)),
    ("bytes=5-999999999", slice(5, None))])
def test_ranges(api, header, part):
    image = api.active(DATA)
    response = api.get(image["file"], headers={"Range": header})
    assert response.status_int == 206
    assert response.body == DATA[part]
    start = part.indices(len(DATA))[0]
    assert response.headers["Content-Range"] == \
        f"bytes {start}-{start + len(response.body) - 1}/{len(DATA)}"


def test_ranges_of_older_clients(api):
    image = api.active(DATA)
    response = api.get(image["file"], headers={"Content-Range": f"bytes 3-5/{len(DATA)}"})
    assert response.status_int == 206
    assert response.body == DATA[3:6]
    for wrong in ("bytes 5-3/9", f"bytes 0-{len(DATA)}/*"):
        assert api.get(image["file"], headers={"Content-Range": wrong}).status_int == 416
    assert api.get(image["file"], headers={"Content-Range": "lines 1"}).status_int == 400


@pytest.mark.parametrize("header, status", [
    (f"bytes={len(DATA)}-", 416), ("bytes=-0", 416), ("bytes=0-1,3-4", 416), ("lines=1-2", 200),
    ("bytes=", 200), ("bytes=5-3", 200), ("bytes=-", 200)])
def test_odd_ranges(api, header, status):
    image = api.active(DATA)
    assert api.get(image["file"], headers={"Range": header}).status_int == status


def test_download_without_data(api):
    assert api.get(api.create()["file"]).status_int == 204


def test_upload_needs_bytes_and_formats(api):
    image = api.create()
    response = api.upload(image["id"], b"x", headers={"Content-Type": "application/json"})
    assert response.status_int == 415
    bare = api.call("POST", "/v2/images", {}).json
    response = api.upload(bare["id"], b"x")
    assert response.status_int == 400
    assert "disk_format" in response.json["error"]["message"]
    assert api.show(bare["id"])["status"] == "queued"


def test_second_upload_is_a_conflict(api):
    image = api.active(DATA)
    assert api.upload(image["id"], b"other bytes").status_int == 409
    assert api.get(image["file"]).body == DATA


def test_two_uploads_at_once_one_wins(api, image_files):
    image = api.create()
    started, finish = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size=-1):
            started.set()
            finish.wait(10)
            return super().read(size)

    results = []
    first = threading.Thread(
        target=lambda: results.append(api.upload(image["id"], Slow(DATA)).status_int))
    first.start()
    assert started.wait(10)
    loser = api.upload(image["id"], b"the loser's bytes")
    assert loser.status_int == 409
    assert "saving" in loser.json["error"]["message"]
    finish.set()
    first.join(10)
    assert results == [204]
    assert api.get(image["file"]).body == DATA
    assert image_files() == [image["id"]]


@pytest.mark.parametrize("error", [None, OSError("reset"), ValueError("bad chunk")])
def test_a_client_that_goes_away_leaves_nothing(api, image_files, error):
    image = api.create()
    response = api.call("PUT", image["file"], headers={
        "Content-Type": "application/octet-stream"}, environ={
            "wsgi.input": Broken(DATA[:100], error), "CONTENT_LENGTH": str(len(DATA))})
    assert response.status_int == 400
    assert "100" in response.json["error"]["message"]
    assert api.show(image["id"])["status"] == "killed"
    assert image_files() == []
    assert api.upload(image["id"], DATA).status_int == 409
    assert api.call("DELETE", f"/v2/images/{image['id']}").status_int == 204


def test_size_cap_announced_and_not(make_api, image_files):
    """Q24: the cap holds for a chunked body too, and what was written is gone."""
    api = make_api(image_size_cap=1 << 20)
    image = api.create()
    response = api.upload(image["id"], DATA)
    assert response.status_int == 413
    assert api.show(image["id"])["status"] == "queued"
    response = api.upload(image["id"], io.BytesIO(DATA))
    assert response.status_int == 413
    assert "size:" in response.json["error"]["message"]
    assert api.show(image["id"])["status"] == "killed"
    assert image_files() == []


def test_project_quota_in_bytes(make_api, image_files):
    """G2: bytes that wait to be removed still count."""
    api = make_api(image_size_total=100)
    image = api.active(b"x" * 60)
    second = api.create()
    response = api.upload(second["id"], b"y" * 60)
    assert response.status_int == 413
    assert "100 bytes" in response.json["error"]["message"]
    api.call("DELETE", f"/v2/images/{image['id']}")
    assert api.upload(second["id"], b"y" * 60).status_int == 204
    assert image_files() == [second["id"]]


def test_project_quota_during_a_chunked_upload(make_api, monkeypatch, image_files):
    """G2: bytes on their way count, also when no length was announced."""
    monkeypatch.setattr("glance.image.upload.BEAT_INTERVAL", 0.0)
    api = make_api(image_size_total=1 << 20)
    image = api.create()
    assert api.upload(image["id"], io.BytesIO(b"x" * (4 << 20))).status_int == 413
    assert api.show(image["id"])["status"] == "killed"
    assert image_files() == []


def test_uploads_at_a_time(make_api):
    """Q25: an end to uploads in progress."""
    api = make_api(image_count_uploading=0)
    assert api.upload(api.create()["id"], b"x").status_int == 413


def test_full_disk_is_413_and_clean(api, image_files, monkeypatch):
    import errno

    from glance.store import blocks

    def full(_descriptor, _chunk):
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/path")

    monkeypatch.setattr(blocks, "write_all", full)
    image = api.create()
    response = api.upload(image["id"], DATA)
    assert response.status_int == 413
    assert "/secret" not in response.text
    assert image_files() == []
    assert api.show(image["id"])["status"] == "killed"


def test_delete_during_upload(api, image_files, monkeypatch):
    """G2, G3: the bytes are gone, the uploader is told, the id stays used."""
    monkeypatch.setattr("glance.image.upload.BEAT_INTERVAL", 0.0)
    image = api.create()

    class Deleting(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            self.reads += 1
            if self.reads == 2:
                assert api.call("DELETE", f"/v2/images/{image['id']}").status_int == 204
            return super().read(size)

    response = api.upload(image["id"], Deleting(DATA))
    assert response.status_int == 410
    assert image_files() == []
    assert api.get(f"/v2/images/{image['id']}").status_int == 404
    assert api.service.registry.list_transient(ADMIN) == []
    assert api.call("POST", "/v2/images", {"id": image["id"]}).status_int == 409


def test_delete_with_the_last_byte(api, image_files, monkeypatch):
    """G2: a delete that comes between the store's and the registry's yes."""
    image = api.create()
    real = api.service.stores["file"].add

    def add(image_id, chunks, size):
        stored = real(image_id, chunks, size)
        assert api.call("DELETE", f"/v2/images/{image['id']}").status_int == 204
        return stored

    monkeypatch.setattr(api.service.stores["file"], "add", add)
    assert api.upload(image["id"], DATA).status_int == 410
    assert image_files() == []
    assert api.service.registry.list_transient(ADMIN) == []


def test_registry_away_during_an_upload(api, image_files, monkeypatch):
    """P5: it went and came back between first and last byte; nothing is lost."""
    from glance import exceptions

    monkeypatch.setattr("glance.image.upload.BEAT_INTERVAL", 0.0)
    monkeypatch.setattr("glance.image.service.FINISH_PAUSE", 0.0)
    real, away = api.service.registry.update_image, []

    def gone(*_args):
        away.append(True)
        raise exceptions.Unavailable("the image registry does not answer")

    def update_image(context, image_id, values, **conditions):
        if values.get("status") == "active" and len(away) < 6:
            gone()
        return real(context, image_id, values, **conditions)

    monkeypatch.setattr(api.service.registry, "beat", gone)
    monkeypatch.setattr(api.service.registry, "update_image", update_image)
    image = api.create()
    assert api.upload(image["id"], DATA).status_int == 204
    assert len(away) == 6
    assert api.get(image["file"]).body == DATA


def test_registry_that_stays_away_leaves_the_verdict_to_the_reconciler(
        api, image_files, monkeypatch):
    """P3, P5: the client is told to try later; no bytes stay once the registry is back."""
    from glance import exceptions
    from glance.image.reconciler import Reconciler

    monkeypatch.setattr("glance.image.service.FINISH_PAUSE", 0.0)
    real = api.service.registry.update_image

    def update_image(context, image_id, values, **conditions):
        if values.get("status") in ("active", "killed"):
            raise exceptions.Unavailable("the image registry does not answer")
        return real(context, image_id, values, **conditions)

    image = api.create()
    with monkeypatch.context() as patch:
        patch.setattr(api.service.registry, "update_image", update_image)
        response = api.upload(image["id"], DATA)
        assert response.status_int == 503
        assert response.headers["Retry-After"]
    assert api.show(image["id"])["status"] == "saving"
    assert Reconciler(api.service).run_once() == 1
    assert api.show(image["id"])["status"] == "killed"
    assert image_files() == []


def test_bug_lost_answer_of_the_registry_kept_the_bytes(api, image_files, monkeypatch):
    """The row became active, its answer got lost, the second try met an active image."""
    from glance import exceptions

    monkeypatch.setattr("glance.image.service.FINISH_PAUSE", 0.0)
    real = api.service.registry.update_image
    lost = []

    def update_image(context, image_id, values, **conditions):
        found = real(context, image_id, values, **conditions)
        if values.get("status") == "active" and not lost:
            lost.append(True)
            raise exceptions.Unavailable("the image registry does not answer")
        return found

    monkeypatch.setattr(api.service.registry, "update_image", update_image)
    image = api.create()
    assert api.upload(image["id"], DATA).status_int == 204
    assert lost
    assert image_files() == [image["id"]]
    assert api.get(image["file"]).body == DATA


def test_rotten_bytes_are_never_delivered_whole(api, tmp_path):
    image = api.active(DATA)
    path = tmp_path / "images" / image["id"]
    rotten = bytearray(DATA)
    rotten[5] ^= 1
    path.write_bytes(rotten)
    request = api.get(image["file"])
    with pytest.raises(OSError, match="cannot be completed"):
        request.body  # noqa: B018
    path.write_bytes(DATA[:-1])
    response = api.get(image["file"])
    assert response.status_int == 500
    assert "bytes" in response.json["error"]["message"]
    assert str(tmp_path) not in response.text
    path.unlink()
    assert api.get(image["file"]).status_int == 500


def test_unknown_store(api):
    image = api.create()
    response = api.upload(image["id"], b"x", headers={
        "Content-Type": "application/octet-stream", "X-Image-Meta-Store": "tape"})
    assert response.status_int == 404
    assert api.show(image["id"])["status"] == "queued"


def test_two_stores(make_api, tmp_path):
    api = make_api(enabled_backends="fast:filesystem, deep:filesystem",
                   glance_store={"default_backend": "fast"},
                   fast={"filesystem_store_datadir": tmp_path / "fast"},
                   deep={"filesystem_store_datadir": tmp_path / "deep"})
    image = api.create()
    assert api.upload(image["id"], DATA, headers={
        "Content-Type": "application/octet-stream", "X-Image-Meta-Store": "deep"}).status_int == 204
    assert (tmp_path / "deep" / image["id"]).exists()
    assert api.get(image["file"]).body == DATA
    assert (tmp_path / "fast" / api.active()["id"]).exists()


def test_read_only_store(make_api):
    """A web server takes no data, and says so in the list of stores."""
    api = make_api(enabled_backends="file:file,web:http", glance_store={"default_backend": "file"})
    assert {"id": "web", "read-only": "true"} in api.get("/v2/info/stores").json["stores"]
    image = api.create()
    response = api.upload(image["id"], b"data", headers={
        "Content-Type": "application/octet-stream", "X-Image-Meta-Store": "web"})
    assert response.status_int == 400 and "web" in response.text
    assert api.show(image["id"])["status"] == "queued"
