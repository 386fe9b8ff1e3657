# SPDX-License-Identifier: Apache-2.0
"""Real guests in a pretend host: the driver is a process of its own and may be killed."""

import contextlib
import os
import signal
import time
import uuid
from pathlib import Path

import pytest
from virt_host import DISK, TRIO, Worker, devices, guests, spec, wait_for

pytestmark = [pytest.mark.guest, pytest.mark.timeout(400)]

@pytest.fixture
def start(pretend_host, guest_image):
    """A function that starts a worker (again)."""
    started = []

    def start_one():
        started.append(Worker(pretend_host, guest_image))
        return started[-1]
    yield start_one
    for worker in started:
        with contextlib.suppress(BrokenPipeError):
            worker.end()


def test_trio_boots_stops_starts_reboots_and_leaves_nothing(pretend_host, start):
    """V16: disks, swap, configuration drive, console, domain and tap go with the guest."""
    worker, one = start(), spec(config_drive={"openstack/latest/meta_data.json": "{}"},
                                swap_mb=16)
    assert worker.do("spawn", spec=one, images=TRIO) == ["root.ext4", "vmlinuz", "initrd.gz"]
    wait_for(worker, one["id"], "login:")
    guest = worker.do("list")[one["id"]]
    assert (guest["power_state"], guest["project_id"]) == (1, "p1")
    tap = one["vifs"][0]["tap"]
    assert {tap, "br100"} <= devices(pretend_host)
    assert worker.do("audit", ids=[one["id"]]) == []
    _check_files(pretend_host.workdir / "instances")

    # A second spawn, as a second message would have it, is no second guest.
    worker.do("spawn", spec=one, images=TRIO)
    assert worker.do("list")[one["id"]]["process_id"] == guest["process_id"]

    worker.do("power_off", args=[one["id"], 60])
    assert worker.do("list")[one["id"]]["power_state"] == 4
    assert "Requesting system poweroff" in worker.do("console", id=one["id"], limit=100_000)
    worker.do("power_on", spec=one)
    started = worker.do("list")[one["id"]]["process_id"]
    worker.do("reboot", spec=one, kind="hard", timeout=0)
    assert worker.do("list")[one["id"]]["process_id"] != started
    wait_for(worker, one["id"], "login:", 2)
    assert len(worker.do("console", id=one["id"], limit=1000)) <= 1000

    worker.do("destroy", args=[one["id"], []])
    worker.do("destroy", args=[one["id"], []])
    assert worker.do("list") == {}
    assert tap not in devices(pretend_host)
    assert pretend_host.virsh("list", "--all", "--name").stdout.strip() == ""
    assert guests(pretend_host) == {}
    assert not (pretend_host.workdir / "instances" / one["id"]).exists()
    rules = pretend_host.run(["iptables-save"]).stdout
    assert tap.removeprefix("tap") not in rules


def _check_files(instances: Path) -> None:
    """R2, R3: nobody but root and QEMU reads disks, base images or console."""
    for path in [instances, *instances.rglob("*")]:
        mode = path.lstat().st_mode & 0o777
        assert not mode & 0o007, f"{path}: {mode:o}"
        if path.parent.name == "_base":
            assert not mode & 0o222, f"{path}: {mode:o}"


def test_qcow2_boots_and_outlives_everything_of_ours(pretend_host, start):
    """P4: driver, then libvirtd, are killed; the guest's process stays, and is known again."""
    worker, one = start(), spec()
    worker.do("spawn", spec=one, images=DISK)
    wait_for(worker, one["id"], "login:")
    [before] = guests(pretend_host).values()
    worker.end()
    worker = start()
    assert worker.do("list")[one["id"]]["power_state"] == 1
    assert list(guests(pretend_host).values()) == [before]

    for daemon in ("libvirtd", "virtlogd"):
        pid = int((pretend_host.work / f"run/libvirt/{daemon}.pid").read_text())
        os.kill(pid, signal.SIGKILL)
    error, message = worker.fails("list")
    assert error == "HypervisorError", message
    pretend_host.start_libvirt()
    assert worker.do("list")[one["id"]]["power_state"] == 1
    assert list(guests(pretend_host).values()) == [before]
    worker.do("destroy", args=[one["id"], []])
    assert guests(pretend_host) == {}
    # The same image again comes from the cache.
    two = spec()
    assert worker.do("spawn", spec=two, images=DISK) == []
    assert worker.do("list")[two["id"]]["power_state"] == 1


@pytest.mark.parametrize("after", [0.1, 0.8, 1.6])
def test_killed_in_the_middle_of_a_spawn(pretend_host, start, after):
    """kill -9 at several moments; a new process spawns the same instance and removes it."""
    worker, one = start(), spec()
    worker.begin("spawn", spec=one, images=TRIO, slow=0.01)
    time.sleep(after)
    worker.end()
    worker = start()
    before = worker.do("list").get(one["id"], {})
    worker.do("spawn", spec=one, images=TRIO)
    guest = worker.do("list")[one["id"]]
    assert guest["power_state"] == 1
    if before.get("process_id"):
        assert guest["process_id"] == before["process_id"]
    assert len(guests(pretend_host)) == 1
    if after == 0.8:
        wait_for(worker, one["id"], "login:")
    worker.do("destroy", args=[one["id"], []])
    assert worker.do("audit", ids=[]) == []
    left = {path.name for path in (pretend_host.workdir / "instances").iterdir()}
    assert left == {"_base", "host.json"}
    assert not list((pretend_host.workdir / "instances/_base").glob(".*"))


def test_guest_without_our_label_is_never_touched(pretend_host, start):
    """A stranger's domain is not listed, not stopped, not removed, even by its UUID."""
    worker, stranger = start(), str(uuid.uuid4())
    xml = pretend_host.workdir / "stranger.xml"
    xml.write_text(f"<domain type='qemu'><name>stranger</name><uuid>{stranger}</uuid>"
                   "<memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>"
                   "</domain>")
    pretend_host.virsh("create", str(xml), check=True)
    assert worker.do("list") == {}
    worker.do("destroy", args=[stranger, []])
    assert worker.fails("power_off", args=[stranger, 0])[0] == "InstanceNotFound"
    assert "running" in pretend_host.virsh("domstate", "stranger").stdout


def test_security_label_and_xml_of_a_real_domain(pretend_host, start):
    """L20: the serial number is the instance's; formats spelled out; QEMU is not root."""
    worker, one = start(), spec(display_name="</name><devices>&lt;")
    worker.do("spawn", spec=one, images=TRIO)
    text = pretend_host.virsh("dumpxml", one["id"]).stdout
    assert f"<entry name='serial'>{one['id']}</entry>" in text
    assert "<graphics" not in text
    assert "relabel='no'" in text
    assert text.count("<driver name='qemu' type='qcow2'") == 1
    assert "<format type='raw'/>" in text
    status = Path(f"/proc/{next(iter(guests(pretend_host).values()))}/status").read_text()
    [uid] = [line.split()[1] for line in status.splitlines() if line.startswith("Uid:")]
    assert uid != "0"
    worker.do("destroy", args=[one["id"], []])
