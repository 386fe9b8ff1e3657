# SPDX-License-Identifier: Apache-2.0
"""A stack whose volumes are reached over iSCSI: both ends of one die and the guest goes on."""
import json
import re
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.guest, pytest.mark.kill, pytest.mark.whole, pytest.mark.timeout(1200)]

PROGRAM = '''
import sys, boto3
ec2, step = boto3.client("ec2"), sys.argv[1]
fast = {"Delay": 1, "MaxAttempts": 120}
if step == "attach":
    server = ec2.describe_instances()["Reservations"][0]["Instances"][0]["InstanceId"]
    volume = ec2.create_volume(Size=1, AvailabilityZone="nova")["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=fast)
    ec2.attach_volume(InstanceId=server, VolumeId=volume, Device="/dev/vdb")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig=fast)
else:
    volume = ec2.describe_volumes()["Volumes"][0]["VolumeId"]
    ec2.detach_volume(VolumeId=volume)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=fast)
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=fast)
    ec2.delete_volume(VolumeId=volume)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=fast)
    ec2.delete_snapshot(SnapshotId=snapshot)
'''
WRITE = ("dd if=/dev/urandom of=/dev/vdb bs=64k count=16 seek=100 conv=fsync 2>/dev/null;"
         "dd if=/dev/vdb bs=64k skip=100 count=16 2>/dev/null | md5sum")
READ = ("echo 3 > /proc/sys/vm/drop_caches;"
        "dd if=/dev/vdb bs=64k skip=100 count=16 2>/dev/null | md5sum")


def aws(stack, step):
    lines = stack.command("env", "aws").stdout.splitlines()
    values = dict(line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
    stack.client("env", *(f"{name}={value.strip(chr(39))}" for name, value in values.items()),
                 sys.executable, "-c", PROGRAM, step)


def in_guest(stack, address, command):
    """Run a command in the first server, from the host it is on."""
    return stack.host.run(
        ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
         "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR",
         "-i", str(stack.data / "ssh/id_ed25519"), f"root@{address}", command],
        check=True, timeout=300).stdout


def test_a_guest_outlives_target_and_worker_of_its_volume(own_stack):
    """P4, V9, V12: kill -9 of tgtd and nova-all at once; the same bytes, the same QEMU."""
    stack, host = own_stack, own_stack.host
    said = stack.command("up", "--no-packages", "--volumes", "iscsi", "nova",
                         timeout=600).stdout
    address = re.search(r"root@(10\.\d+\.0\.\d+)", said)[1]
    aws(stack, "attach")
    assert in_guest(stack, address, "cat /sys/block/vdb/size").strip() == str(1 << 21)
    written = in_guest(stack, address, WRITE)
    guests = host.qemu_pids()
    daemons = stack.status()["daemons"]
    host.run(["kill", "-9", *(str(daemons[name]["pid"]) for name in ("tgtd", "nova-all"))],
             check=True)
    assert in_guest(stack, address, READ) == written
    assert host.qemu_pids() == guests
    aws(stack, "detach")
    manage = [sys.executable, "-m", "nova.cmd.manage.main", "--config-file",
              str(stack.data / "etc/nova/nova.conf")]
    found = host.run(["env", "-C", str(CHECKOUT), *manage, "audit", "--json"], check=True,
                     timeout=120).stdout
    assert json.loads(found) == []
    assert list((stack.data / "nova/volumes").iterdir()) == []
