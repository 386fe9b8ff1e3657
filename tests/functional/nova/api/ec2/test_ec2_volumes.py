# SPDX-License-Identifier: Apache-2.0
"""boto3 against volumes and snapshots of the EC2 API: real files, pretended guests."""

import re
import time
import uuid

import pytest
from ec2_cloud import FAST, one_of, refused, run, waiter

ZONE = "nova"


def volume(ec2, size=1, **more):
    """Make one volume, wait for it and return its id."""
    made = ec2.create_volume(Size=size, AvailabilityZone=ZONE, **more)["VolumeId"]
    waiter(ec2, "volume_available").wait(VolumeIds=[made], WaiterConfig=FAST)
    return made


def shown(ec2, volume_id):
    return ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]


def tags(thing):
    return {tag["Key"]: tag["Value"] for tag in thing["Tags"]}


def test_a_volume_lives_and_dies(cloud):
    ec2 = cloud.alpha
    one = volume(ec2, TagSpecifications=[{"ResourceType": "volume", "Tags": [
        {"Key": "Name", "Value": "data"}, {"Key": "tier", "Value": "<gold>"}]}])
    assert re.fullmatch(r"vol-[0-9a-f]{17}", one)
    found = shown(ec2, one)
    assert (found["Size"], found["State"], found["Attachments"]) == (1, "available", [])
    assert (found["AvailabilityZone"], found["VolumeType"]) == (ZONE, "standard")
    assert tags(found) == {"Name": "data", "tier": "<gold>"}
    ec2.delete_volume(VolumeId=one)
    waiter(ec2, "volume_deleted").wait(VolumeIds=[one], WaiterConfig=FAST)
    with refused("InvalidVolume.NotFound"):
        shown(ec2, one)


def test_attached_written_down_and_detached(cloud):
    ec2 = cloud.alpha
    server, one = run(ec2), volume(ec2)
    told = ec2.attach_volume(VolumeId=one, InstanceId=server, Device="/dev/sdf")
    assert (told["VolumeId"], told["InstanceId"]) == (one, server)
    assert told["State"] in ("attaching", "attached") and told["Device"] == "/dev/vdf"
    waiter(ec2, "volume_in_use").wait(VolumeIds=[one], WaiterConfig=FAST, Filters=[
        {"Name": "attachment.status", "Values": ["attached"]}])
    [mapped] = one_of(ec2, server)["BlockDeviceMappings"]
    assert (mapped["DeviceName"], mapped["Ebs"]["VolumeId"]) == ("/dev/vdf", one)
    with refused("VolumeInUse"):
        ec2.delete_volume(VolumeId=one)
    with refused("VolumeInUse"):
        ec2.attach_volume(VolumeId=one, InstanceId=server, Device="/dev/sdg")
    other = volume(ec2)
    with refused("InvalidParameterValue"):
        ec2.attach_volume(VolumeId=other, InstanceId=server, Device="/dev/sdf")
    with refused("IncorrectState"):
        ec2.detach_volume(VolumeId=other)
    with refused("UnsupportedOperation"):
        ec2.detach_volume(VolumeId=one, Force=True)
    assert ec2.detach_volume(VolumeId=one, InstanceId=server)["State"] == "detaching"
    waiter(ec2, "volume_available").wait(VolumeIds=[one], WaiterConfig=FAST)
    assert one_of(ec2, server)["BlockDeviceMappings"] == []


def test_volumes_that_come_and_go_with_their_instance(cloud):
    ec2 = cloud.alpha
    server = run(ec2, BlockDeviceMappings=[
        {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}},
        {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 2, "DeleteOnTermination": False}}],
        TagSpecifications=[{"ResourceType": kind, "Tags": [
            {"Key": "Name", "Value": f"a {kind}"}, {"Key": "tier", "Value": "1"}]}
            for kind in ("instance", "volume")])
    assert tags(one_of(ec2, server)) == {"Name": "a instance", "tier": "1"}
    held = {one["DeviceName"]: one["Ebs"] for one in one_of(ec2, server)["BlockDeviceMappings"]}
    assert {name: ebs["DeleteOnTermination"] for name, ebs in held.items()} == {
        "/dev/vdb": True, "/dev/vdc": False}
    for ebs in held.values():
        assert tags(shown(ec2, ebs["VolumeId"])) == {"Name": "a volume", "tier": "1"}
    goes, stays = held["/dev/vdb"]["VolumeId"], held["/dev/vdc"]["VolumeId"]
    ec2.terminate_instances(InstanceIds=[server])
    waiter(ec2, "instance_terminated").wait(InstanceIds=[server], WaiterConfig=FAST)
    waiter(ec2, "volume_deleted").wait(VolumeIds=[goes], WaiterConfig=FAST)
    waiter(ec2, "volume_available").wait(VolumeIds=[stays], WaiterConfig=FAST)
    assert shown(ec2, stays)["Size"] == 2


def test_root_device_on_a_volume(cloud):
    ec2 = cloud.alpha
    server = run(ec2, BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 1}}])
    found = one_of(ec2, server)
    assert found["RootDeviceType"] == "ebs"
    [mapped] = found["BlockDeviceMappings"]
    assert mapped["DeviceName"] == "/dev/vda"


@pytest.mark.parametrize("mapping, code", [
    ({"DeviceName": "/dev/sdb"}, "MissingParameter"),
    ({"DeviceName": "/dev/sdb", "Ebs": {}}, "MissingParameter"),
    ({"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 0}}, "InvalidParameterValue"),
    ({"DeviceName": "floppy", "Ebs": {"VolumeSize": 1}}, "InvalidBlockDeviceMapping"),
    ({"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1, "Iops": 9}}, "UnsupportedOperation"),
    ({"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0", "Ebs": {"VolumeSize": 1}},
     "UnsupportedOperation"),
    ({"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}},
     "InvalidSnapshot.NotFound")])
def test_wrong_mappings_make_no_instance(cloud, mapping, code):
    with refused(code):
        run(cloud.alpha, BlockDeviceMappings=[mapping])
    assert cloud.alpha.describe_instances()["Reservations"] == []
    assert cloud.alpha.describe_volumes()["Volumes"] == []


def test_a_volume_is_made_larger(cloud):
    ec2, one = cloud.alpha, volume(cloud.alpha)
    with refused("InvalidVolumeModification.NotFound"):
        ec2.describe_volumes_modifications(VolumeIds=[one])
    change = ec2.modify_volume(VolumeId=one, Size=3)["VolumeModification"]
    assert (change["OriginalSize"], change["TargetSize"]) == (1, 3)
    assert change["ModificationState"] in ("modifying", "completed")
    until = time.monotonic() + 60
    while True:
        [change] = ec2.describe_volumes_modifications(VolumeIds=[one])["VolumesModifications"]
        if change["ModificationState"] == "completed":
            break
        assert time.monotonic() < until, change
        time.sleep(0.02)
    assert change["Progress"] == 100 and shown(ec2, one)["Size"] == 3
    for more, code in (({"Size": 2}, "InvalidParameterValue"), ({}, "MissingParameter"),
                       ({"Size": 4, "VolumeType": "gp3"}, "UnsupportedOperation"),
                       ({"Size": 4, "Iops": 100}, "UnsupportedOperation"),
                       ({"Size": 2_000_000}, "InvalidParameterValue")):
        with refused(code):
            ec2.modify_volume(VolumeId=one, **more)
    with refused("VolumeLimitExceeded"):
        ec2.modify_volume(VolumeId=one, Size=5000)
    # What was refused is no modification, and hides none.
    assert ec2.describe_volumes_modifications(Filters=[
        {"Name": "modification-state", "Values": ["modifying", "failed"]}])[
            "VolumesModifications"] == []
    [change] = ec2.describe_volumes_modifications()["VolumesModifications"]
    assert change["TargetSize"] == 3
    with refused("InvalidVolume.NotFound"):
        cloud.beta.modify_volume(VolumeId=one, Size=9)
    with refused("InvalidVolume.NotFound"):
        cloud.beta.describe_volumes_modifications(VolumeIds=[one])


def test_a_snapshot_and_a_volume_of_it(cloud):
    ec2 = cloud.alpha
    one = volume(ec2)
    snap = ec2.create_snapshot(VolumeId=one, Description="before", TagSpecifications=[
        {"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": "monday"}]}])
    assert snap["State"] in ("pending", "completed") and snap["VolumeId"] == one
    snap_id = snap["SnapshotId"]
    waiter(ec2, "snapshot_completed").wait(SnapshotIds=[snap_id], WaiterConfig=FAST)
    [found] = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (found["Description"], found["VolumeSize"], tags(found)) == (
        "before", 1, {"Name": "monday"})
    assert ec2.describe_snapshots(OwnerIds=["amazon"])["Snapshots"] == []
    copy = ec2.create_volume(SnapshotId=snap_id, AvailabilityZone=ZONE)["VolumeId"]
    waiter(ec2, "volume_available").wait(VolumeIds=[copy], WaiterConfig=FAST)
    assert shown(ec2, copy)["SnapshotId"] == snap_id
    ec2.delete_snapshot(SnapshotId=snap_id)


def test_the_same_token_is_the_same_volume(cloud):
    ec2, token = cloud.alpha, uuid.uuid4().hex
    one = volume(ec2, ClientToken=token)
    assert volume(ec2, ClientToken=token) == one
    with refused("IdempotentParameterMismatch"):
        ec2.create_volume(Size=2, AvailabilityZone=ZONE, ClientToken=token)
    assert volume(cloud.beta, ClientToken=token) != one


def test_tags_of_volumes_and_snapshots(cloud):
    ec2 = cloud.alpha
    one = volume(ec2)
    ec2.create_tags(Resources=[one], Tags=[{"Key": "Name", "Value": "db"},
                                           {"Key": "a", "Value": "1"}])
    assert tags(shown(ec2, one)) == {"Name": "db", "a": "1"}
    found = ec2.describe_tags(Filters=[{"Name": "resource-type", "Values": ["volume"]}])["Tags"]
    assert {(tag["ResourceId"], tag["Key"]) for tag in found} == {(one, "Name"), (one, "a")}
    assert [row["VolumeId"] for row in ec2.describe_volumes(
        Filters=[{"Name": "tag:a", "Values": ["1"]}])["Volumes"]] == [one]
    ec2.delete_tags(Resources=[one], Tags=[{"Key": "a"}])
    assert tags(shown(ec2, one)) == {"Name": "db"}


def test_pages_and_filters(cloud):
    ec2 = cloud.alpha
    made = {volume(ec2) for _ in range(3)}
    pages = list(ec2.get_paginator("describe_volumes").paginate(
        PaginationConfig={"PageSize": 2}))
    assert [len(page["Volumes"]) for page in pages] == [2, 1]
    assert {row["VolumeId"] for page in pages for row in page["Volumes"]} == made
    for name, value, number in (("size", "1", 3), ("status", "available", 3), ("size", "2", 0),
                                ("attachment.status", "attached", 0)):
        assert len(ec2.describe_volumes(
            Filters=[{"Name": name, "Values": [value]}])["Volumes"]) == number


@pytest.mark.parametrize("call, code, params", [
    ("create_volume", "MissingParameter", {"AvailabilityZone": ZONE}),
    ("create_volume", "InvalidParameterValue", {"AvailabilityZone": ZONE, "Size": 0}),
    ("create_volume", "InvalidParameterValue", {"AvailabilityZone": "mars", "Size": 1}),
    ("create_volume", "InvalidParameterValue",
     {"AvailabilityZone": ZONE, "Size": 1, "VolumeType": "gp3"}),
    ("create_volume", "UnsupportedOperation",
     {"AvailabilityZone": ZONE, "Size": 1, "Encrypted": True}),
    ("create_volume", "UnsupportedOperation",
     {"AvailabilityZone": ZONE, "Size": 1, "Iops": 100}),
    ("create_volume", "InvalidSnapshot.NotFound",
     {"AvailabilityZone": ZONE, "SnapshotId": "snap-0123456789abcdef0"}),
    ("delete_volume", "InvalidVolume.Malformed", {"VolumeId": "i-1"}),
    ("delete_volume", "InvalidVolume.NotFound", {"VolumeId": "vol-0123456789abcdef0"}),
    ("create_snapshot", "InvalidVolume.NotFound", {"VolumeId": "vol-0123456789abcdef0"}),
    ("delete_snapshot", "InvalidSnapshot.NotFound", {"SnapshotId": "snap-0123456789abcdef0"})])
def test_what_is_wrong_is_named(cloud, call, code, params):
    with refused(code):
        getattr(cloud.alpha, call)(**params)


@pytest.mark.parametrize("device", ["/dev/vda", "/dev/vdb"])
def test_security_v7_v13_v15_encryption_is_refused_never_left_out(cloud, device):
    """V7, V13, V15: no encrypted volume is made, so none is ever attached or copied in plain."""
    ec2 = cloud.alpha
    plain = volume(ec2)
    snap = ec2.create_snapshot(VolumeId=plain)["SnapshotId"]
    waiter(ec2, "snapshot_completed").wait(SnapshotIds=[snap], WaiterConfig=FAST)
    for asked in ({"Size": 1}, {"SnapshotId": snap}):
        for secret in ({"Encrypted": True}, {"KmsKeyId": "alias/mine"}):
            with refused("UnsupportedOperation"):
                ec2.create_volume(AvailabilityZone=ZONE, **asked, **secret)
    with refused("UnsupportedOperation"):
        run(ec2, BlockDeviceMappings=[
            {"DeviceName": device, "Ebs": {"VolumeSize": 1, "Encrypted": True}}])
    assert [one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]] == [plain]
    assert ec2.describe_instances()["Reservations"] == []


def test_security_t16_ids_of_another_project_are_of_nothing(cloud):
    """T16, V17: another's volume, snapshot and server do not exist, each in each place."""
    mine, beta = volume(cloud.alpha), cloud.beta
    server, theirs = run(beta), volume(beta)
    snap = cloud.alpha.create_snapshot(VolumeId=mine)["SnapshotId"]
    waiter(cloud.alpha, "snapshot_completed").wait(SnapshotIds=[snap], WaiterConfig=FAST)
    for call, code, params in (
            ("describe_volumes", "InvalidVolume.NotFound", {"VolumeIds": [mine]}),
            ("delete_volume", "InvalidVolume.NotFound", {"VolumeId": mine}),
            ("create_snapshot", "InvalidVolume.NotFound", {"VolumeId": mine}),
            ("attach_volume", "InvalidVolume.NotFound",
             {"VolumeId": mine, "InstanceId": server, "Device": "/dev/vdb"}),
            ("detach_volume", "InvalidVolume.NotFound", {"VolumeId": mine}),
            ("create_tags", "InvalidVolume.NotFound",
             {"Resources": [mine], "Tags": [{"Key": "a", "Value": "b"}]}),
            ("delete_snapshot", "InvalidSnapshot.NotFound", {"SnapshotId": snap}),
            ("create_volume", "InvalidSnapshot.NotFound",
             {"SnapshotId": snap, "AvailabilityZone": ZONE})):
        with refused(code):
            getattr(beta, call)(**params)
    with refused("InvalidInstanceID.NotFound"):
        cloud.alpha.attach_volume(VolumeId=mine, InstanceId=server, Device="/dev/vdb")
    assert [row["VolumeId"] for row in beta.describe_volumes()["Volumes"]] == [theirs]
    assert beta.describe_snapshots()["Snapshots"] == []
