# SPDX-License-Identifier: Apache-2.0
"""One server's life by boto3: `begin` makes it and prints what was made, `end MADE` removes it.

Every answer is held against botocore's own shapes.
"""
import base64
import contextlib
import json
import sys
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from ec2_shapes import watch

FAST = {"Delay": 1, "MaxAttempts": 120}
ec2 = watch(boto3.client("ec2"))


def wait(name, **what):
    """Wait by one of boto3's own waiters."""
    ec2.get_waiter(name).wait(WaiterConfig=FAST, **what)


@contextlib.contextmanager
def refused(code):
    """Expect a refusal with this code of AWS's."""
    try:
        yield
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was expected")


def pages(name, what, **asked):
    """All things of a listing, by boto3's own paginator in pages of five."""
    return [one for page in ec2.get_paginator(name).paginate(
        PaginationConfig={"PageSize": 5}, **asked) for one in page[what]]


def begin():
    image = ec2.describe_images(Filters=[
        {"Name": "name", "Values": ["snakestack-guest"]}])["Images"][0]["ImageId"]
    made = {"key": ec2.create_key_pair(KeyName="by-boto3")["KeyMaterial"]}
    made["group"] = ec2.create_security_group(GroupName="ssh", Description="ssh")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=made["group"], IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
         "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    wait("key_pair_exists", KeyNames=["by-boto3"])
    wait("security_group_exists", GroupIds=[made["group"]])
    asked = {"ImageId": image, "InstanceType": "m1.nano", "MinCount": 1, "MaxCount": 1,
             "KeyName": "by-boto3", "SecurityGroupIds": [made["group"]],
             "ClientToken": "once and for all", "UserData": "#!/bin/true", "TagSpecifications": [
                 {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "by-boto3"}]}]}
    with refused("DryRunOperation"):
        ec2.run_instances(**asked, DryRun=True)
    made["server"], again = [ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
                             for _ in range(2)]
    assert made["server"] == again, "a ClientToken makes one reservation"
    with refused("IdempotentParameterMismatch"):
        ec2.run_instances(**{**asked, "UserData": "#!/bin/false"})
    wait("instance_exists", InstanceIds=[made["server"]])
    made["volume"] = ec2.create_volume(Size=1, AvailabilityZone=ec2.describe_availability_zones()[
        "AvailabilityZones"][0]["ZoneName"])["VolumeId"]
    address = ec2.allocate_address(Domain="vpc")
    made["allocation"], made["address"] = address["AllocationId"], address["PublicIp"]
    wait("instance_running", InstanceIds=[made["server"]])
    wait("instance_status_ok", InstanceIds=[made["server"]])
    wait("system_status_ok", InstanceIds=[made["server"]])
    wait("volume_available", VolumeIds=[made["volume"]])
    ec2.associate_address(InstanceId=made["server"], AllocationId=made["allocation"])
    ec2.attach_volume(InstanceId=made["server"], VolumeId=made["volume"], Device="/dev/vdf")
    wait("volume_in_use", VolumeIds=[made["volume"]])
    look(made)
    return made


def look(made):
    """Each thing by each way of looking at it."""
    mine = {"Name": "tag:Name", "Values": ["by-b*3"]}
    [server] = pages("describe_instances", "Reservations", Filters=[
        mine, {"Name": "instance-state-name", "Values": ["running"]}])[0]["Instances"]
    assert server["InstanceId"] == made["server"] and server["PublicIpAddress"] == made["address"]
    assert server["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] == made["volume"]
    attribute = ec2.describe_instance_attribute(InstanceId=made["server"], Attribute="userData")
    assert base64.b64decode(attribute["UserData"]["Value"]) == b"#!/bin/true"
    [card] = pages("describe_network_interfaces", "NetworkInterfaces", Filters=[
        {"Name": "attachment.instance-id", "Values": [made["server"]]}])
    assert card["Association"]["AllocationId"] == made["allocation"]
    assert card["PrivateIpAddress"] == server["PrivateIpAddress"]
    ec2.create_tags(Resources=[made["volume"]], Tags=[{"Key": "Name", "Value": "by-boto3"}])
    assert [one["VolumeId"] for one in pages("describe_volumes", "Volumes", Filters=[mine])] \
        == [made["volume"]]
    assert {one["ResourceId"] for one in pages("describe_tags", "Tags", Filters=[
        {"Name": "value", "Values": ["by-boto3"]}])} == {made["server"], made["volume"]}
    assert len(pages("describe_security_group_rules", "SecurityGroupRules", Filters=[
        {"Name": "group-id", "Values": [made["group"]]}])) == 3
    groups = pages("describe_security_groups", "SecurityGroups")
    assert {"default", "ssh"} <= {one["GroupName"] for one in groups}
    # Both at once, and then the one it began with: rules of a running guest.
    default = next(one["GroupId"] for one in groups if one["GroupName"] == "default")
    for wanted in ([made["group"], default], [made["group"]]):
        ec2.modify_instance_attribute(InstanceId=made["server"], Groups=wanted)
        [server] = ec2.describe_instances(
            InstanceIds=[made["server"]])["Reservations"][0]["Instances"]
        assert sorted(one["GroupId"] for one in server["SecurityGroups"]) == sorted(wanted)
    [address] = ec2.describe_addresses(AllocationIds=[made["allocation"]])["Addresses"]
    assert address["InstanceId"] == made["server"]
    with refused("InvalidIPAddress.InUse"):
        ec2.release_address(AllocationId=made["allocation"])
    with refused("VolumeInUse"):
        ec2.delete_volume(VolumeId=made["volume"])
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=made["group"])
    assert {one["AttributeName"] for one in ec2.describe_account_attributes()[
        "AccountAttributes"]} >= {"max-instances", "supported-platforms"}
    for what in ("images", "instance_types", "vpcs", "subnets", "volume_status"):
        assert ec2.get_paginator(f"describe_{what}").paginate().build_full_result()


def end(made):
    ec2.detach_volume(VolumeId=made["volume"], InstanceId=made["server"])
    wait("volume_available", VolumeIds=[made["volume"]])
    snapshot = ec2.create_snapshot(VolumeId=made["volume"])["SnapshotId"]
    wait("snapshot_completed", SnapshotIds=[snapshot])
    ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.delete_volume(VolumeId=made["volume"])
    wait("volume_deleted", VolumeIds=[made["volume"]])
    assert ec2.describe_volumes()["Volumes"] == []
    ec2.disassociate_address(PublicIp=made["address"])
    ec2.release_address(AllocationId=made["allocation"])
    ec2.stop_instances(InstanceIds=[made["server"]])
    wait("instance_stopped", InstanceIds=[made["server"]])
    with refused("IncorrectInstanceState"):
        ec2.reboot_instances(InstanceIds=[made["server"]])
    ec2.terminate_instances(InstanceIds=[made["server"]])
    wait("instance_terminated", InstanceIds=[made["server"]])
    ec2.delete_security_group(GroupId=made["group"])
    ec2.delete_key_pair(KeyName="by-boto3")
    with refused("InvalidKeyPair.NotFound"):
        ec2.describe_key_pairs(KeyNames=["by-boto3"])
    return [row["InstanceId"] for one in pages("describe_instances", "Reservations")
            for row in one["Instances"]]


print(json.dumps(begin() if sys.argv[1] == "begin" else end(json.loads(sys.argv[2]))))
