# SPDX-License-Identifier: Apache-2.0
"""image_conversion: imports in the format a site wants, made by a qemu-img that is held short."""

import hashlib
import os
import subprocess
import uuid

import pytest

from glance import exceptions
from glance.image import conversion
from glance.image.audit import findings
from glance.image.reconciler import Reconciler
from glance.store.filesystem import FilesystemStore

OCTETS = {"Content-Type": "application/octet-stream"}
DISK = os.urandom(1 << 16) + bytes(1 << 20)


@pytest.fixture
def make(make_api, web):
    def api(output):
        api = make_api(
            enabled_backends="file:file,deep:file", deep={"filesystem_store_datadir": "x"},
            glance_store={"default_backend": "file"},
            image_import_opts={"image_import_plugins": "[image_conversion]"},
            image_conversion={"output_format": output}, import_filtering_opts={
                "allowed_networks": "127.0.0.0/8", "allowed_ports": web.server_port})
        api.service.importer.spawn = lambda function, *args: function(*args)
        return api

    return api


def qemu_img(*arguments):
    subprocess.run(["qemu-img", *arguments], check=True, timeout=60, capture_output=True)


def disk(tmp_path, kind):
    (tmp_path / "disk.raw").write_bytes(DISK)
    qemu_img("convert", "-f", "raw", "-O", kind, str(tmp_path / "disk.raw"),
             str(tmp_path / f"disk.{kind}"))
    return (tmp_path / f"disk.{kind}").read_bytes()


def imported(api, data, method="glance-direct", uri=None, stores=("file", "deep"), **fields):
    image = api.create(**fields)
    path = f"/v2/images/{image['id']}"
    if method == "glance-direct":
        assert api.call("PUT", f"{path}/stage", data, OCTETS).status_int == 204
    response = api.call("POST", f"{path}/import", {
        "method": {"name": method, **({"uri": uri} if uri else {})}, "stores": list(stores)})
    assert response.status_int == 202, response.text
    return api.show(image["id"])


@pytest.mark.parametrize("method", ["glance-direct", "web-download"])
def test_a_disk_is_converted_on_its_way_to_every_store(make, web, tmp_path, method):
    api = make("raw")
    web.files["/disk"] = data = disk(tmp_path, "qcow2")
    after = imported(api, data, method, f"{web.url}/disk", disk_format="qcow2")
    assert (after["status"], after["disk_format"], after["size"]) == ("active", "raw", len(DISK))
    assert after["os_hash_value"] == hashlib.sha256(DISK).hexdigest()
    assert api.get(after["file"]).body == DISK
    for place in ("images", "deep"):
        assert (tmp_path / place / after["id"]).read_bytes() == DISK
    assert list(api.service.importer.staging.list_ids()) == []
    assert list(findings(api.service)) == []


def test_virtual_size_is_that_of_what_is_stored(make, tmp_path):
    after = imported(make("qcow2"), DISK)
    assert (after["status"], after["disk_format"]) == ("active", "qcow2")
    assert after["virtual_size"] == len(DISK) > after["size"]


def test_what_is_left_as_it_is(make, tmp_path):
    """The wanted format, an iso, what is in a container, and an upload."""
    api, iso = make("raw"), bytes(0x8000) + b"\x01CD001\x01" + bytes(1 << 15)
    for data, fields in ((DISK, {}), (iso, {"disk_format": "iso"}),
                         (b"<x/>", {"disk_format": "vmdk", "container_format": "ovf"})):
        after = imported(api, data, **fields)
        assert (after["status"], after["disk_format"]) == (
            "active", fields.get("disk_format", "raw"))
        assert api.get(after["file"]).body == data
    data = disk(tmp_path, "qcow2")
    assert api.active(data, disk_format="qcow2")["size"] == len(data)


def test_no_program_sees_what_names_other_files(make, tmp_path, web, monkeypatch):
    """F9, F13: also where it was staged before its format was known."""
    started = []
    api = make("raw")
    qemu_img("create", "-f", "qcow2", "-b", str(tmp_path / "base"), "-F", "raw", "-u",
             str(tmp_path / "evil"), "1M")
    data = (tmp_path / "evil").read_bytes()
    monkeypatch.setattr(conversion.subprocess, "Popen", lambda *args, **_: started.append(args))
    image = api.call("POST", "/v2/images", {}).json
    path = f"/v2/images/{image['id']}"
    assert api.call("PUT", f"{path}/stage", data, OCTETS).status_int == 204
    api.patch(image["id"], ("replace", "/disk_format", "qcow2"),
              ("replace", "/container_format", "bare"))
    assert api.call("POST", f"{path}/import", {
        "method": {"name": "glance-direct"}}).status_int == 202
    assert (api.show(image["id"])["status"], started) == ("queued", [])
    web.files["/evil"] = data
    after = imported(api, data, "web-download", f"{web.url}/evil", disk_format="qcow2")
    assert (after["status"], started) == ("queued", [])
    assert list(findings(api.service)) == []


def test_a_program_that_fails_leaves_what_was_staged_out(make, tmp_path):
    """Q17: a header that promises what is not there."""
    api = make("raw")
    data = bytearray(disk(tmp_path, "qcow2"))
    data[20:24] = (30).to_bytes(4, "big")  # clusters of 1 GiB, which there are not
    after = imported(api, bytes(data), disk_format="qcow2")
    assert (after["status"], after["disk_format"]) == ("queued", "qcow2")
    [task] = api.get(f"/v2/images/{after['id']}/tasks").json["tasks"]
    assert "disk_format" in task["message"] and str(tmp_path) not in task["message"]
    assert list(api.service.importer.staging.list_ids()) == []
    assert list(findings(api.service)) == []


def test_what_a_process_that_died_had_converted_is_removed(make, tmp_path):
    """G4: what was staged stays as it was declared."""
    api = make("qcow2")
    image, converted = api.create(), tmp_path / "state/staging/converted"
    path = f"/v2/images/{image['id']}"
    assert api.call("PUT", f"{path}/stage", DISK, OCTETS).status_int == 204
    run, api.service.importer.spawn = api.service.importer.spawn, lambda *_args: None
    api.call("POST", f"{path}/import", {"method": {"name": "glance-direct"}})
    for leftover in (image["id"], f".partial/{image['id']}.x"):
        (converted / leftover).write_bytes(b"half of it")
    api.service.worker.uploads.clear()
    Reconciler(api.service).run_once()
    assert api.show(image["id"])["status"] == "uploading"
    assert not list(converted.rglob("*-*"))
    api.service.importer.spawn = run
    api.call("POST", f"{path}/import", {"method": {"name": "glance-direct"}})
    after = api.show(image["id"])
    assert (after["status"], after["virtual_size"]) == ("active", len(DISK))
    assert list(findings(api.service)) == []


def sleeper(folder, seconds):
    """A qemu-img that hangs."""
    program = folder / "qemu-img"
    program.write_text(f"#!/bin/sh\nexec sleep {seconds}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("ending", ["timeout", "deleted"])
def test_a_program_that_hangs_is_ended(tmp_path, monkeypatch, ending):
    """Q17: by its time, or as soon as the image is gone."""
    (tmp_path / "bin").mkdir()
    sleeper(tmp_path / "bin", 600)
    real = subprocess.Popen
    started = []

    def with_path(*args, env, **options):
        process = real(*args, env={**env, "PATH": f"{tmp_path}/bin:{env['PATH']}"}, **options)
        started.append(process)
        return process

    monkeypatch.setattr(conversion.subprocess, "Popen", with_path)
    monkeypatch.setattr(conversion, "BEAT_INTERVAL", 0.05)
    (tmp_path / "disk").write_bytes(DISK)
    store = FilesystemStore("converted", tmp_path / "converted")
    store.check()
    image = {"id": str(uuid.uuid4()), "disk_format": "raw", "container_format": "bare"}

    def beat(_written):
        if ending == "deleted":
            raise exceptions.Gone("deleted")

    converter = conversion.Converter("qcow2", timeout=1 if ending == "timeout" else 600)
    with pytest.raises(exceptions.GlanceError, match="too long|deleted"):
        converter.convert(image, tmp_path / "disk", store, beat)
    assert started[0].wait(30) != 0
    assert list(store.list_ids()) == []
