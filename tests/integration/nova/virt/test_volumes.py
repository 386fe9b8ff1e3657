# SPDX-License-Identifier: Apache-2.0
"""Volumes in real guests: over iSCSI by QEMU's own initiator, and as files."""

import os
import uuid
from pathlib import Path

import pytest
from guest_shell import GuestShell
from tgt import Tgt
from virt_host import TRIO, Worker, guests, spec

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

GIB = 1024 ** 3
USER, SECRET = "chapuser", "geheimnis-0123456789"
BOOT_VOLUME = {"kernel": ["vmlinuz", "aki"], "ramdisk": ["initrd.gz", "ari"]}


@pytest.fixture
def world(pretend_host, guest_image, free_port):
    """A pretend host with the driver's process and an iSCSI target daemon."""
    made = World(pretend_host, guest_image, free_port)
    yield made
    made.close()


class World:
    def __init__(self, host, images, free_port):
        self.host, self.images = host, images
        self.tgt = Tgt(host, free_port())
        self.worker = Worker(host, images)
        self.exported = 0

    def close(self):
        self.worker.end()
        self.tgt.close()

    def volume(self, size_gb=1, content=b""):
        """Make and export a volume; return its connection."""
        one = str(uuid.uuid4())
        path = self.host.workdir / f"volume-{one}"
        with path.open("wb") as file:
            file.write(content)
            file.truncate(size_gb * GIB)
        self.exported += 1
        iqn = f"iqn.2010-10.org.openstack:volume-{one}"
        self.tgt.export(self.exported, iqn, path, f"{USER}{self.exported}", SECRET)
        return {"volume_id": one, "driver": "iscsi", "size_gb": size_gb,
                "portal": f"127.0.0.1:{self.tgt.port}", "target": iqn, "lun": 1,
                "auth_user": f"{USER}{self.exported}", "auth_secret": SECRET}

    def spawn(self, images=TRIO, **more):
        one = spec(**more)
        self.worker.do("spawn", spec=one, images=images)
        return one

    def console(self, one):
        return self.worker.do("console", id=one["id"], limit=200_000)

    def shell(self, one, since=0):
        """A shell in the guest; ``since`` is where its last boot begins in its console."""
        return GuestShell(self.host, one["id"], lambda: self.console(one)[since:])

    def attach(self, one, connection, device="vdb"):
        self.worker.do("attach", id=one["id"],
                       volume={"connection": connection, "device": device})

    def detach(self, one, connection, timeout=120):
        self.worker.do("detach_volume", args=[one["id"], connection["volume_id"], timeout])

    def secrets(self):
        return self.host.virsh("secret-list").stdout.split()

    def sessions(self):
        """Return how many initiators are logged in."""
        return self.tgt.tell("show", "target").count("I_T nexus:")


def test_a_volume_goes_from_guest_to_guest(world):
    """Hot attach, written to, killed driver, hot detach, attach to another guest, read there.

    L18: the password is in no command line and no XML.  V8: definition and machine agree.
    """
    connection = world.volume()
    first, second = world.spawn(), world.spawn()
    shell = world.shell(first)
    world.attach(first, connection)
    world.attach(first, connection)
    assert world.worker.do("volumes_in_use") == {first["id"]: {connection["volume_id"]: "vdb"}}
    _no_secret_to_be_seen(world, first)
    disk = shell.disk(connection["volume_id"])
    shell.run(f"printf precious > {disk} && sync")

    # The driver may die at any time: the guest keeps its disk, and whoever comes after sees it.
    world.worker.end()
    world.worker = Worker(world.host, world.images)
    assert world.worker.do("volumes_in_use") == {first["id"]: {connection["volume_id"]: "vdb"}}
    live, stored = (world.host.virsh("dumpxml", first["id"], *more).stdout
                    for more in ((), ("--inactive",)))
    for text in (live, stored):
        assert text.count(f"<serial>{connection['volume_id']}</serial>") == 1

    world.detach(first, connection)
    world.detach(first, connection)
    assert world.worker.do("volumes_in_use") == {}
    assert connection["volume_id"] not in world.host.virsh(
        "dumpxml", "--inactive", first["id"]).stdout
    assert world.sessions() == 0
    assert shell.run("ls /sys/block | grep -c vdb || true") == "0"

    world.attach(second, connection)
    other = world.shell(second)
    disk = other.disk(connection["volume_id"])
    assert other.run(f"head -c 8 {disk}") == "precious"
    # A guest that is removed lets go of everything.
    world.worker.do("destroy", args=[second["id"], []])
    assert world.sessions() == 0
    world.worker.do("destroy", args=[first["id"], []])
    assert guests(world.host) == {}


def _no_secret_to_be_seen(world, one):
    for pid in guests(world.host).values():
        assert SECRET not in Path(f"/proc/{pid}/cmdline").read_text()
    assert SECRET not in world.host.virsh("dumpxml", "--security-info", one["id"]).stdout
    assert world.secrets() == []
    log = world.host.work / f"var/log/libvirt/qemu/instance-{one['id']}.log"
    assert log.exists()
    assert SECRET not in log.read_text(errors="replace")


@pytest.mark.whole
def test_starts_with_its_volumes_and_boots_from_one(world):
    """Attached while off; the same disks, by serial number, after stop, start and reboot."""
    root = world.volume(content=(world.images / "root.ext4").read_bytes())
    data = world.volume(content=b"data" * 128)
    boot = {"connection": root, "device": "vda", "boot_index": 0}
    one = world.spawn(BOOT_VOLUME, volumes=[boot])
    shell = world.shell(one)
    assert shell.disk(root["volume_id"]) == "/dev/vda"
    shell.run("echo kept > /root/kept && sync")
    world.worker.do("power_off", args=[one["id"], 60])
    assert world.sessions() == 0

    # Off, it is given a volume, loses it, and is given it again.
    more = {"connection": data, "device": "vdb"}
    world.attach(one, data)
    world.detach(one, data)
    one = {**one, "volumes": [boot, more]}
    before = len(world.console(one))
    world.worker.do("power_on", spec=one)
    shell = world.shell(one, before)
    assert shell.run("cat /root/kept") == "kept"
    assert shell.disk(data["volume_id"]) == "/dev/vdb"
    assert shell.run("head -c 4 /dev/vdb") == "data"
    _no_secret_to_be_seen(world, one)
    world.worker.do("reboot", spec=one, kind="hard", timeout=0)
    assert set(world.worker.do("volumes_in_use")[one["id"]]) == {
        root["volume_id"], data["volume_id"]}

    # libvirtd dies and comes back: guest and volumes stay, and can be detached.
    for daemon in ("libvirtd", "virtlogd"):
        pid = int((world.host.work / f"run/libvirt/{daemon}.pid").read_text())
        os.kill(pid, 9)
    world.host.start_libvirt()
    world.worker.end()
    world.worker = Worker(world.host, world.images)
    # It may be booting still: the guest is asked until it hears.
    world.detach(one, data, 240)
    assert set(world.worker.do("volumes_in_use")[one["id"]]) == {root["volume_id"]}
    world.worker.do("destroy", args=[one["id"], []])


@pytest.mark.whole
def test_never_the_wrong_volume(world):
    """V9: another name, another size, a wrong password: the guest does not get it."""
    one = world.spawn()
    good = world.volume()
    wrong = {
        "name": {**good, "volume_id": str(uuid.uuid4())},
        "size": {**good, "size_gb": 2},
        "password": {**good, "auth_secret": "another"}}
    shell = world.shell(one)
    for what, connection in wrong.items():
        error, message = world.worker.fails(
            "attach", id=one["id"], volume={"connection": connection, "device": "vdb"})
        assert error == "HypervisorError", what
        assert SECRET not in message
        assert "another" not in message
    assert world.worker.do("volumes_in_use") == {}
    assert world.sessions() == 0
    assert world.secrets() == []
    assert "vdb" not in shell.run("ls /sys/block")
    # With a wrong one among its volumes a guest does not start either.
    world.worker.do("power_off", args=[one["id"], 0])
    bad = {**one, "volumes": [{"connection": wrong["size"], "device": "vdb"}]}
    assert world.worker.fails("power_on", spec=bad)[0] == "HypervisorError"
    assert guests(world.host) == {}
    world.worker.do("destroy", args=[one["id"], []])


@pytest.mark.whole
def test_files_as_volumes_and_what_a_guest_writes_into_them(world):
    """F5, F6: a guest writes the header of a qcow2 into a raw volume; it stays raw."""
    one, volume = world.spawn(), str(uuid.uuid4())
    path = world.host.workdir / f"volume-{volume}"
    with path.open("wb") as file:
        file.truncate(GIB)
    connection = {"volume_id": volume, "driver": "file", "size_gb": 1, "path": str(path),
                  "format": "raw"}
    world.attach(one, connection)
    shell = world.shell(one)
    disk = shell.disk(volume)
    # version 3, backing file at offset 512 named /etc/passwd
    shell.run(f"printf 'QFI\\373\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\2\\0\\0\\0\\0\\13' > /tmp/head && "
              f"dd if=/tmp/head of={disk} conv=notrunc 2>/dev/null && printf /etc/passwd > "
              f"/tmp/name && dd if=/tmp/name of={disk} seek=1 conv=notrunc 2>/dev/null && sync")
    world.detach(one, connection)
    with path.open("rb") as file:
        assert file.read(4) == b"QFI\xfb"
    assert path.stat().st_mode & 0o777 == 0o600
    two = world.spawn()
    world.attach(two, connection)
    other = world.shell(two)
    assert other.run(f"head -c 3 {other.disk(volume)}") == "QFI"
    assert other.run(f"blockdev --getsize64 {other.disk(volume)}") == str(GIB)
    for guest in (one, two):
        world.worker.do("destroy", args=[guest["id"], []])


@pytest.mark.whole
def test_a_guest_that_does_not_let_go_keeps_the_volume(world):
    """V9: detach fails by its named time, and what is said of the volume stays true."""
    connection = world.volume()
    one = world.spawn()
    world.attach(one, connection)
    # Its system is not up: nobody hears.
    error, message = world.worker.fails("detach_volume", args=[
        one["id"], connection["volume_id"], 0.5])
    assert error == "HypervisorError"
    assert "after 0.5 seconds" in message, message
    assert set(world.worker.do("volumes_in_use")[one["id"]]) == {connection["volume_id"]}
    assert connection["volume_id"] in world.host.virsh("dumpxml", "--inactive", one["id"]).stdout
    world.shell(one)
    world.detach(one, connection)
    assert world.worker.do("volumes_in_use") == {}
    world.worker.do("destroy", args=[one["id"], []])
