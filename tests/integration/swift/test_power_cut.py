# SPDX-License-Identifier: Apache-2.0
"""What an object server acknowledged is on the disk after the power went off.

The file system is told to stop in the middle of the work and to forget what it did not write yet
(EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN), and mounted again, as after a power cut. All that happens in
a mount namespace of the test: `ip netns exec` of whoever runs beside it copies the mounts there
are, and while a copy is left the next mount finds the file system as it was stopped.
"""
import fcntl
import os
import struct
import subprocess
import sys
import time

import pytest

SHUTDOWN = 0x8004587D            # _IOR('X', 125, __u32), the same on both
WITHOUT_WRITING_THE_LOG = struct.pack("I", 2)
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f", "-i", "size=1024"]}
MIB = 320                        # XFS is made no smaller than 300
TIMEOUT = 60
WORK_SECONDS = 1.5

COMMON = """
import logging, os, sys, time
from hashlib import md5
from swift.common.concurrency import GreenPool
from swift.common.exceptions import DiskFileDeleted, DiskFileNotExist, DiskFileQuarantined
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp
from swift.obj.backend import Manager

manager = Manager({"devices": sys.argv[1], "mount_check": "false"}, logging.getLogger())

def diskfile(name):
    return manager.diskfile("d", name.partition("-")[0], "a", "c", name, policies().default)
"""
# Green threads that write versions of a few objects, larger ones too, and delete some of them; each
# says on standard output what it was told is stored, as a server's answer would.
WRITER = "from swift.common import concurrency\nconcurrency.patch()\n" + COMMON + """
def write(one, stamp, size):
    body = os.urandom(size)
    etag = md5(body).hexdigest()
    with one.create(len(body)) as writer:
        writer.write(body)
        writer.finish()
        writer.put({"X-Timestamp": stamp, "Content-Type": "a/b", "ETag": etag,
                    "Content-Length": str(len(body))})
    return etag

START = int(time.time()) - 100000

def work(number):
    version = 0
    while True:
        version += 1
        name, stamp, etag = f"{number}-{version % 50}", f"{START + version}.00000", "-"
        if version % 7:
            etag = write(diskfile(name), stamp, 400000 if version % 40 == 0 else 3000)
        else:
            diskfile(name).delete(Timestamp(stamp))
        os.write(1, f"{name} {stamp} {etag}\\n".encode())

list(GreenPool(12).imap(work, range(12)))
"""
# The same lines of what is there.
READER = COMMON + """
for name in sys.stdin.read().split():
    one = diskfile(name)
    try:
        with one.open():
            etag = md5(b"".join(one.reader())).hexdigest()
            print(name, one.metadata["X-Timestamp"], etag)
    except DiskFileDeleted as exc:
        print(name, Timestamp(exc.timestamp).internal, "-")
    except (DiskFileNotExist, DiskFileQuarantined) as exc:
        print(name, 0, type(exc).__name__)
"""


class Disk:
    """A device with a file system, and the namespace in which it is mounted."""

    def __init__(self, image, at, holder):
        self.image, self.at = image, at
        self.inside = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]
        self.seen_from_outside = f"/proc/{holder.pid}/root{at}"

    def command(self, *args):
        subprocess.run([*self.inside, *args], check=True, timeout=TIMEOUT)

    def mount(self):
        self.command("mount", "-o", "loop", str(self.image), str(self.at))

    def unmount(self):
        self.command("umount", str(self.at))

    def cut_the_power(self):
        """Stop the file system, and have it forget what it has in memory."""
        fd = os.open(self.seen_from_outside, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, WITHOUT_WRITING_THE_LOG)
        finally:
            os.close(fd)

    def run(self, script, **more):
        """A process of one of the scripts, on the devices where it is mounted."""
        etc = self.at.parent / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
        return subprocess.Popen(
            [*self.inside, sys.executable, "-W", "ignore", "-c", script, str(self.at)],
            env=dict(os.environ, SWIFT_DIR=str(etc)), **more)


@pytest.fixture(params=sorted(MAKE))
def disk(request, tmp_path):
    """A file system of that kind."""
    image, at = tmp_path / "disk", tmp_path / "mnt"
    at.mkdir()
    image.touch()
    os.truncate(image, MIB << 20)
    subprocess.run([*MAKE[request.param], str(image)], check=True, timeout=TIMEOUT)
    # What the shell says, it says from inside; it ends, and the mount with it, when told no more.
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo; read end"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        made = Disk(image, at, holder)
        made.mount()
        yield made


def acknowledged(lines):
    """name -> (timestamp, etag) of the last that was said to be stored; "-" for deleted."""
    last = {}
    for line in lines:
        name, stamp, etag = line.split()
        last[name] = (stamp, etag)
    return last


def work_until_the_power_fails(disk, said):
    """What was acknowledged up to then, or a moment later: nobody sees that it is gone."""
    with open(said, "wb+") as output, disk.run(WRITER, stdout=output,
                                               stderr=subprocess.DEVNULL) as writer:
        try:
            deadline = time.monotonic() + TIMEOUT
            while not os.fstat(output.fileno()).st_size and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(WORK_SECONDS)
            disk.cut_the_power()
        finally:
            writer.kill()
    return acknowledged(said.read_text().splitlines())


def test_what_was_acknowledged_survives(disk, tmp_path):
    disk.command("mkdir", str(disk.at / "d"))
    disk.command("sync")
    told = work_until_the_power_fails(disk, tmp_path / "said")
    assert len(told) > 100
    disk.unmount()
    disk.mount()
    with disk.run(READER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        there = acknowledged(reader.communicate(" ".join(told), TIMEOUT)[0].splitlines())
    assert sorted(there) == sorted(told)
    assert {name: (told[name], there[name]) for name in told if there[name] < told[name]} == {}
