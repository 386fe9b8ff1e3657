# SPDX-License-Identifier: Apache-2.0
"""The format gate: what is uploaded is what it is said to be, and harmless.

Real files are made with qemu-img; the dangerous ones by hand, byte by byte.
"""

import os
import struct
import subprocess

import pytest

from glance.image import states
from glance.image.formats import ACCEPTED

CANARY = "/etc/hostname"
REAL = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "luks", "qed", "gpt", "ploop")
_QEMU_NAMES = {"vhd": "vpc"}


def qemu_image(path, kind, *options):
    subprocess.run(["qemu-img", "create", "-q", "-f", _QEMU_NAMES.get(kind, kind), *options,
                    str(path), "1M"], check=True, timeout=30)
    return path.read_bytes()


def iso():
    data = bytearray(64 << 10)
    data[0x8000:0x8006] = b"\x01CD001"
    data[0x8006] = 1
    return bytes(data)


def gpt():
    data = bytearray(64 << 10)
    data[446:462] = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, 127)
    data[510:512] = b"\x55\xaa"
    data[512:520] = b"EFI PART"
    return bytes(data)


def luks():
    data = bytearray(64 << 10)
    data[:8] = b"LUKS\xba\xbe\x00\x01"
    return bytes(data)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bytes of a good file of each format."""
    folder = tmp_path_factory.mktemp("formats")
    made = {kind: qemu_image(folder / kind, kind) for kind in ("qcow2", "vdi", "vhd", "vhdx")}
    made["vmdk"] = qemu_image(folder / "vmdk", "vmdk", "-o", "subformat=monolithicSparse")
    made["ploop"] = b"WithouFreSpacExt" + bytes(1 << 16)
    made["qed"] = b"QED\0" + bytes(1 << 16)
    made.update(raw=os.urandom(1 << 16), iso=iso(), gpt=gpt(), luks=luks())
    return made


@pytest.mark.parametrize("declared", states.DISK_FORMATS)
@pytest.mark.parametrize("real", REAL)
def test_declared_and_real_format(api, files, image_files, declared, real):
    """F14: every mismatch is refused; raw is only what no inspector claims, or a disk or ISO."""
    container = declared if declared in ("aki", "ari", "ami") else "bare"
    image = api.create(disk_format=declared, container_format=container)
    response = api.upload(image["id"], files[real])
    shown = api.show(image["id"])
    if real in ACCEPTED[declared]:
        assert response.status_int == 204, response.text
        assert shown["status"] == "active"
    else:
        assert response.status_int == 415
        assert "disk_format" in response.json["error"]["message"]
        assert shown["status"] == "killed"
        assert image_files() == []


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vhdx"])
def test_virtual_size_is_that_of_the_disk(api, files, kind):
    """Q4: what the guest will see is known before anybody boots it."""
    assert api.active(files[kind], disk_format=kind)["virtual_size"] == 1 << 20


def qcow2_header(version=3, backing=b"", incompatible=0, autoclear=0, extensions=b""):
    header = bytearray(struct.pack(
        ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", version, 0, len(backing), 16, 1 << 20, 0, 1,
        0x30000, 0x10000, 1, 0, 0, incompatible, 0, autoclear, 4, 104))
    body = header + extensions + struct.pack(">II", 0, 0)
    if backing:
        struct.pack_into(">Q", body, 8, len(body))
        body += backing
    return bytes(body) + bytes(0x40000 - len(body))


def extension(kind, data):
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)


DANGEROUS_QCOW2 = {
    "backing file": qcow2_header(backing=CANARY.encode()),
    "backing file, version 2": qcow2_header(version=2, backing=CANARY.encode()),
    "backing json": qcow2_header(backing=b'json:{"file.filename":"/etc/hostname"}'),
    "data file bit": qcow2_header(incompatible=1 << 2),
    "data file bit and name": qcow2_header(
        incompatible=1 << 2, autoclear=1 << 1,
        extensions=extension(0x44415441, CANARY.encode())),
    "unknown feature": qcow2_header(incompatible=1 << 40),
}


@pytest.mark.parametrize("case", DANGEROUS_QCOW2)
@pytest.mark.parametrize("declared", ["qcow2", "raw"])
def test_qcow2_that_names_other_files(api, image_files, case, declared):
    """F2, F9, F13: backing file, external data file, features nobody knows."""
    image = api.create(disk_format=declared)
    response = api.upload(image["id"], DANGEROUS_QCOW2[case])
    assert response.status_int == 415, response.text
    assert CANARY not in response.text
    assert image_files() == []


def test_a_site_may_take_other_formats_but_nothing_dangerous(make_api, image_files):
    """F13, F14: what makes a hypervisor open other files is refused in any case."""
    api = make_api(image_format={"require_image_format_match": "false"})
    assert api.upload(api.create(disk_format="qcow2")["id"], b"no qcow2").status_int == 204
    for data in DANGEROUS_QCOW2.values():
        assert api.upload(api.create(disk_format="raw")["id"], data).status_int == 415
    assert len(image_files()) == 1


DANGEROUS = {**DANGEROUS_QCOW2, "vmdk descriptor": b"# Disk DescriptorFile\nversion=1\n"
             b'createType="monolithicFlat"\nRW 4 FLAT "/etc/hostname" 0\n'}


@pytest.mark.parametrize("case", DANGEROUS)
@pytest.mark.parametrize("declared", ["qcow2", "raw", "vmdk"])
def test_imports_look_as_closely_as_uploads(importing_api, web, image_files, case, declared):
    """F9, F12, F13, F14: staged, fetched, copied by version 1."""
    api, path = importing_api, "/v2/images/{}/{}"
    web.files["/evil"] = DANGEROUS[case]
    image = api.create(disk_format=declared)
    assert api.call("PUT", path.format(image["id"], "stage"), DANGEROUS[case], {
        "Content-Type": "application/octet-stream"}).status_int == 415
    api.call("POST", path.format(image["id"], "import"), {
        "method": {"name": "web-download", "uri": f"{web.url}/evil"}})
    [task] = api.get(path.format(image["id"], "tasks")).json["tasks"]
    assert task["status"] == "failure"
    assert CANARY not in task["message"]
    assert api.show(image["id"])["status"] == "queued"
    response = api.call("POST", "/v1/images", headers={
        "X-Image-Meta-Disk-Format": declared, "X-Image-Meta-Container-Format": "bare",
        "X-Glance-Api-Copy-From": f"{web.url}/evil"})
    assert response.json["image"]["status"] == "queued"
    assert image_files() == []


def test_real_qcow2_with_backing_file(api, tmp_path):
    """F2: as a user would make it."""
    base = tmp_path / "base"
    base.write_bytes(bytes(1 << 20))
    data = qemu_image(tmp_path / "top", "qcow2", "-b", str(base), "-F", "raw")
    response = api.upload(api.create(disk_format="qcow2")["id"], data)
    assert response.status_int == 415
    assert "backing_file" in response.json["error"]["message"]


def vmdk_descriptor(kind, *extents):
    lines = ["# Disk DescriptorFile", "version=1", "CID=1", "parentCID=ffffffff",
             f'createType="{kind}"', *extents, "ddb.adapterType = \"ide\""]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentFlat", "custom", "vmfs",
                                  "twoGbMaxExtentSparse", "fullDevice"])
@pytest.mark.parametrize("extents", [
    ('RW 100 FLAT "/etc/hostname" 0',), ('RW 100 ZERO',),
    ('RW 1 SPARSE "a.vmdk"', 'RW 100 FLAT "/etc/hostname" 0')])
@pytest.mark.parametrize("declared", ["vmdk", "raw"])
def test_vmdk_descriptors_that_name_other_files(api, image_files, kind, extents, declared):
    """F12: the bare descriptor at the start of the file."""
    image = api.create(disk_format=declared)
    data = vmdk_descriptor(kind, *extents)
    for padded in (data, data + bytes(64 << 10)):
        image = api.create(disk_format=declared)
        response = api.upload(image["id"], padded)
        assert response.status_int == 415, response.text
    assert image_files() == []


@pytest.mark.parametrize("kind, extents", [
    ("monolithicFlat", ['RW 100 FLAT "x" 0']), ("monolithicSparse", ['RW 1 FLAT "/etc/x" 0']),
    ("monolithicSparse", []), ("streamOptimized", ['RW 1 SPARSE "../../x"'])])
def test_vmdk_with_an_embedded_descriptor(api, files, kind, extents):
    """F12: the descriptor inside a sparse file."""
    data = bytearray(files["vmdk"])
    data[512:512 + 20 * 512] = vmdk_descriptor(kind, *extents).ljust(20 * 512, b"\0")
    response = api.upload(api.create(disk_format="vmdk")["id"], bytes(data))
    assert response.status_int == 415, response.text


def test_only_the_verdict_on_the_whole_file_counts(api, files):
    """F14: a format that shows only at the end is seen too."""
    padded = bytes(4 << 20) + files["vhd"][-512:]
    image = api.create(disk_format="raw")
    response = api.upload(image["id"], padded)
    assert response.status_int in (204, 415)
    whole = api.upload(api.create(disk_format="raw")["id"], files["vhd"])
    assert whole.status_int == 415


@pytest.mark.parametrize("cut", [0, 3, 100, 600, 70000])
@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso"])
def test_cut_files_never_break_the_gate(api, files, kind, cut):
    response = api.upload(api.create(disk_format=kind)["id"], files[kind][:cut])
    assert response.status_int in (204, 415)


def test_bootable_file_systems_and_kernels_pass(api):
    """A boot sector without a partition table is no reason to refuse."""
    data = bytearray(1 << 16)
    data[510:512] = b"\x55\xaa"
    data[0:4] = b"MZ\xea\x07"
    for declared in ("raw", "ami", "aki"):
        container = "bare" if declared == "raw" else declared
        image = api.active(bytes(data), disk_format=declared, container_format=container)
        assert image["status"] == "active"


def test_other_containers_are_opaque(api):
    """An OVF or OVA holds files; what is in them is looked at by whoever unpacks it."""
    for container in ("ovf", "ova"):
        image = api.active(b"<Envelope/>", disk_format="vmdk", container_format=container)
        assert image["virtual_size"] is None
