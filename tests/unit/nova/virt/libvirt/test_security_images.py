# SPDX-License-Identifier: Apache-2.0
"""Images that lie: whatever their bytes say, no host file is read, and no program believes them.

Rows F2, F8, F12 - F16, F18, Q4, Q5, Q17 of the table of what hurt before.
"""

import ast
import hashlib
import struct
import subprocess
import uuid
from pathlib import Path

import pytest

import nova
from nova.exception import HypervisorError, ImageUnacceptable
from nova.image.inspection import Verdict, inspect
from nova.image.model import Image
from nova.linux import qemu_img
from nova.virt.driver import InstanceSpec
from nova.virt.libvirt.disks import GIB, InstanceDirectory
from nova.virt.libvirt.files import Owner
from nova.virt.libvirt.imagecache import ImageCache

MIB = 1 << 20


def qcow2(*, version=3, size=MIB, backing=0, crypt=0, incompatible=0, autoclear=0,
          extensions=(), cluster_bits=16):
    """A qcow2 header as QEMU's documentation of the format lays it out."""
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, backing, 8 if backing else 0,
                       cluster_bits, size, crypt, 1, 3 << 16, 1 << 16, 1, 0, 0)
    if version >= 3:
        head += struct.pack(">QQQII", incompatible, 0, autoclear, 4, 104)
    for kind, data in extensions:
        head += struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8)
    return head.ljust(1 << 16, b"\0") + b"\0" * (1 << 16)


def vmdk(create_type, extent):
    text = (f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n'
            f'createType="{create_type}"\n\n{extent}\n\nddb.virtualHWVersion = "4"\n').encode()
    return text.ljust(MIB, b"\0")


def sparse_vmdk(create_type, extent):
    descriptor = vmdk(create_type, extent)[:512 * 20]
    head = struct.pack("<4sIIQQQQIQQQB", b"KDMV", 1, 3, 2048, 128, 1, 20, 512, 21, 26, 128, 0)
    return (head.ljust(512, b"\0") + descriptor).ljust(MIB, b"\0")


def vhd():
    return b"conectix".ljust(MIB, b"\0")


def iso():
    return (b"\0" * 32768 + b"\x01CD001\x01").ljust(MIB, b"\0")


def gpt():
    table = bytearray(MIB)
    # One entry that protects a whole GPT disk.
    table[446:462] = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 2047)
    table[510:512] = b"\x55\xaa"
    return bytes(table)


SAMPLES = {
    "raw": b"not any format".ljust(MIB, b"\0"),
    "qcow2": qcow2(),
    "vmdk": sparse_vmdk("monolithicSparse", 'RW 2048 SPARSE "x.vmdk"'),
    "vdi": (b"<<< Oracle VM VirtualBox Disk Image >>>".ljust(64, b"\0")
            + b"\x7f\x10\xda\xbe").ljust(MIB, b"\0"),
    "vhd": vhd(),
    "vhdx": b"vhdxfile".ljust(MIB, b"\0"),
    "iso": iso(),
    "luks": (b"LUKS\xba\xbe\x00\x01").ljust(MIB, b"\0"),
    "qed": b"QED\0".ljust(MIB, b"\0"),
    "gpt": gpt(),
}
# declared -> what may be under it
ACCEPTED = {"raw": {"raw", "gpt"}, "ami": {"raw", "gpt"}, "aki": {"raw", "gpt"},
            "ari": {"raw", "gpt"}, "qcow2": {"qcow2"}, "iso": {"iso"}}


@pytest.fixture
def no_programs(monkeypatch):
    """Any program started in the test is a failure."""
    def refuse(*args, **kwargs):
        raise AssertionError(f"started {args}")
    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def written(tmp_path, data):
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("real", SAMPLES)
@pytest.mark.parametrize("declared", [*ACCEPTED, "vmdk", "vhd", "vdi", "vhdx", "ploop", None])
def test_declared_format_has_to_be_the_real_one(tmp_path, no_programs, declared, real):
    """F14: every mismatch is refused, and raw is only what nothing else claims."""
    path = written(tmp_path, SAMPLES[real])
    if real in ACCEPTED.get(declared, ()):
        verdict = inspect(path, declared, "image")
        assert verdict.format == ("qcow2" if declared == "qcow2" else "raw")
    else:
        with pytest.raises(ImageUnacceptable):
            inspect(path, declared, "image")


@pytest.mark.parametrize("data, reason", [
    (qcow2(backing=1024), "backing file"),
    (qcow2(version=2, backing=1024), "backing file"),
    (qcow2(incompatible=1 << 2), "data"),
    (qcow2(extensions=[(0x44415441, b"/etc/shadow")]), "data file"),
    (qcow2(extensions=[(0x6803f857, b"x" * 48), (0x44415441, b"nbd:evil")]), "data file"),
    (qcow2(autoclear=1 << 1), "data file"),
    (qcow2(incompatible=1 << 40), "features"),
    (qcow2(crypt=1), "encrypted"),
    (qcow2(crypt=2), "encrypted"),
    (qcow2(cluster_bits=60), "cluster"),
    (qcow2(version=1), "version"),
    (qcow2(version=9), "version"),
    (qcow2()[:80], "qcow2|recognised|raw|cut short"),
    (qcow2(extensions=[(0x1234, b"")] * 200), "no end"),
])
def test_qcow2_that_points_elsewhere(tmp_path, no_programs, data, reason):
    """F2, F13: backing files, data files by bit or by name, and what nobody knows."""
    with pytest.raises(ImageUnacceptable, match=f"(?i){reason}"):
        inspect(written(tmp_path, data), "qcow2", "image")


@pytest.mark.parametrize("data", [
    vmdk("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0'),
    vmdk("twoGbMaxExtentFlat", 'RW 2048 FLAT "/etc/shadow" 0'),
    vmdk("custom", 'RW 2048 FLAT "/etc/shadow" 0'),
    sparse_vmdk("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0'),
    sparse_vmdk("monolithicSparse", 'RW 1 SPARSE "a"\nRW 2048 FLAT "/etc/shadow" 0')])
def test_vmdk_descriptor_names_no_host_path(tmp_path, no_programs, data):
    """F12: refused under its own name; under raw it is at most plain bytes."""
    with pytest.raises(ImageUnacceptable):
        inspect(written(tmp_path, data), "vmdk", "image")
    if data.startswith(b"KDMV"):
        with pytest.raises(ImageUnacceptable):
            inspect(written(tmp_path, data), "raw", "image")


def test_header_fuzz_ends_in_a_verdict_or_a_refusal(tmp_path, no_programs):
    """Any byte of a header, changed to anything, is no other error."""
    good = qcow2(extensions=[(0x6803f857, b"x" * 48)])[:4096]
    for position in range(0, 200):
        for value in (0, 1, 0x7f, 0xff):
            data = bytearray(good)
            data[position] = value
            try:
                inspect(written(tmp_path, bytes(data)), "qcow2", "image")
            except ImageUnacceptable:
                pass


class Source:
    """One image's bytes."""

    def __init__(self, data):
        self.data = data

    def download(self, image_id):
        for start in range(0, len(self.data), 1 << 16):
            yield self.data[start:start + (1 << 16)]


def image_of(data, disk_format="qcow2", **changes):
    values = {"id": str(uuid.uuid4()), "size": len(data), "disk_format": disk_format,
              "hash_algorithm": "sha512", "hash_value": hashlib.sha512(data).hexdigest()}
    return Image(**{**values, **changes})


@pytest.mark.parametrize("data", [qcow2(backing=1024), qcow2(incompatible=4), SAMPLES["vmdk"]])
def test_refused_image_leaves_nothing_and_starts_nothing(tmp_path, no_programs, data):
    """F13, F15: inspected before anything else sees it; nothing of it stays."""
    cache = ImageCache(tmp_path / "_base", Owner(), GIB)
    cache.prepare()
    with pytest.raises(ImageUnacceptable):
        cache.fetch(image_of(data), Source(data))
    assert list((tmp_path / "_base").iterdir()) == []


def spec(**changes):
    values = {"id": str(uuid.uuid4()), "project_id": "p", "user_id": "u", "display_name": "n",
              "hostname": "n", "vcpus": 1, "memory_mb": 1, "root_gb": 1, "image_id": "image"}
    return InstanceSpec(**{**values, **changes})


@pytest.mark.parametrize("root_gb", [1, 0])
def test_virtual_size_beyond_the_flavor(tmp_path, no_programs, root_gb):
    """Q4, Q5: 64 KiB of image, 1 TiB of disk: refused before any disk is made."""
    verdict = inspect(written(tmp_path, qcow2(size=1 << 40)), "qcow2", "image")
    assert verdict.virtual_size == 1 << 40
    files = InstanceDirectory(tmp_path, str(uuid.uuid4()), Owner())
    with pytest.raises(ImageUnacceptable, match="flavor allows"):
        files.create(spec(id=files.id, root_gb=root_gb), verdict, {"base": "b"}, 100 * GIB)
    assert not files.path.exists()


def test_larger_than_recorded_or_allowed_is_cut_off(tmp_path):
    """Q5: a download ends at the size on record and at the operator's limit."""
    cache = ImageCache(tmp_path / "_base", Owner(), 1000)
    cache.prepare()
    data = b"x" * 70_000
    with pytest.raises(ImageUnacceptable, match="larger than 1000"):
        cache.fetch(image_of(data, "raw"), Source(data))
    cache = ImageCache(tmp_path / "_base", Owner(), GIB)
    with pytest.raises(ImageUnacceptable, match="larger than 10 "):
        cache.fetch(image_of(data, "raw", size=10), Source(data))
    assert list((tmp_path / "_base").iterdir()) == []


def test_every_qemu_img_call_names_formats_and_absolute_paths(tmp_path, monkeypatch):
    """F8, F16, F18, Q17: explicit formats, absolute paths, limits on memory and processor."""
    seen = []

    def spy(command, **_kwargs):
        seen.append(command)
        return subprocess.CompletedProcess(command, 0, b"", b"")
    monkeypatch.setattr(subprocess, "run", spy)
    qemu_img.create_overlay(Verdict(tmp_path / "nbd:base", "raw", 10), tmp_path / "-disk", 10)
    qemu_img.create_empty(tmp_path / "json:{}", 10)
    qemu_img.create_empty(tmp_path / "volume", 10, "raw")
    qemu_img.copy(Verdict(tmp_path / "rbd:volume", "raw", 10), tmp_path / "copy", "qcow2")
    qemu_img.resize(tmp_path / "ssh:volume", "raw", 20)
    formats = [[command[at + 1] for at, word in enumerate(command) if word in ("-f", "-O", "-F")]
               for command in seen]
    assert formats == [["qcow2", "raw"], ["qcow2"], ["raw"], ["raw", "qcow2"], ["raw"]]
    for command in seen:
        assert command[:4] == ["prlimit", "--as=1073741824", "--cpu=30", "--"]
        assert command[4:9] == ["setpriv", "--pdeathsig", "KILL", "--", "qemu-img"]
        paths = [word for word in command if str(tmp_path) in word]
        assert all(word.startswith("/") for word in paths)
    overlay = seen[0]
    assert overlay[overlay.index("-F") + 1] == "raw"
    for name in ("nbd:base", "json:{}", "-f", "rbd:pool/x", "relative"):
        with pytest.raises(ValueError):
            qemu_img.create_overlay(Verdict(Path(name), "raw", 10), tmp_path / "disk", 10)
        with pytest.raises(ValueError):
            qemu_img.create_empty(Path(name), 10)
    for name in ("auto", "", "vmdk"):
        with pytest.raises(ValueError):
            qemu_img.resize(tmp_path / "volume", name, 10)


def test_qemu_img_failure_is_ours(tmp_path):
    base = Verdict(tmp_path / "missing", "raw", 1)
    with pytest.raises(HypervisorError, match="qemu-img create"):
        qemu_img.create_overlay(base, tmp_path / "disk", 1 << 20)


def test_one_call_site_of_qemu_img_and_no_mount_no_shell():
    """F4, F8, F15, R6: one module starts qemu-img; nobody mounts a guest's disk or uses a shell."""
    sites = set()
    for path in Path(nova.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if node.value in ("qemu-img", "qemu-nbd", "mount", "guestmount"):
                    sites.add((path.name, node.value))
            if isinstance(node, ast.keyword) and node.arg == "shell":
                assert not getattr(node.value, "value", True), path
            if isinstance(node, ast.Attribute) and node.attr in ("system", "popen"):
                assert not (isinstance(node.value, ast.Name) and node.value.id == "os"), path
    assert sites == {("qemu_img.py", "qemu-img")}


def test_no_containers():
    """F19: only virtual machines; a container would see the host's devices and uid 0."""
    from oslo_config import cfg

    from nova.virt.libvirt import driver
    for name in ("lxc", "xen", "uml"):
        with pytest.raises(ValueError):
            cfg.CONF.set_override("virt_type", name, "libvirt")
    assert driver.OPTIONS
