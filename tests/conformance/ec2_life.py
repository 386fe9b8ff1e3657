# SPDX-License-Identifier: Apache-2.0
"""One server's life by boto3: `begin` makes it and prints what was made, `end MADE` removes it."""
import json
import sys

import boto3

FAST = {"Delay": 1, "MaxAttempts": 120}
ec2 = boto3.client("ec2")


def wait(name, **what):
    """Wait by one of boto3's own waiters."""
    ec2.get_waiter(name).wait(WaiterConfig=FAST, **what)


def begin():
    image = ec2.describe_images(Filters=[
        {"Name": "name", "Values": ["snakestack-guest"]}])["Images"][0]["ImageId"]
    made = {"key": ec2.create_key_pair(KeyName="by-boto3")["KeyMaterial"]}
    made["group"] = ec2.create_security_group(GroupName="ssh", Description="ssh")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=made["group"], IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
         "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    made["server"] = ec2.run_instances(
        ImageId=image, InstanceType="m1.nano", MinCount=1, MaxCount=1, KeyName="by-boto3",
        SecurityGroupIds=[made["group"]], TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "by-boto3"}]}],
    )["Instances"][0]["InstanceId"]
    made["volume"] = ec2.create_volume(Size=1, AvailabilityZone=ec2.describe_availability_zones()[
        "AvailabilityZones"][0]["ZoneName"])["VolumeId"]
    address = ec2.allocate_address(Domain="vpc")
    made["allocation"], made["address"] = address["AllocationId"], address["PublicIp"]
    wait("instance_running", InstanceIds=[made["server"]])
    wait("volume_available", VolumeIds=[made["volume"]])
    ec2.associate_address(InstanceId=made["server"], AllocationId=made["allocation"])
    ec2.attach_volume(InstanceId=made["server"], VolumeId=made["volume"], Device="/dev/vdf")
    wait("volume_in_use", VolumeIds=[made["volume"]])
    return made


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
    ec2.terminate_instances(InstanceIds=[made["server"]])
    wait("instance_terminated", InstanceIds=[made["server"]])
    ec2.delete_security_group(GroupId=made["group"])
    ec2.delete_key_pair(KeyName="by-boto3")
    pages = ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    return [row["InstanceId"] for page in pages for one in page["Reservations"]
            for row in one["Instances"]]


print(json.dumps(begin() if sys.argv[1] == "begin" else end(json.loads(sys.argv[2]))))
