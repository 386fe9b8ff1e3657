# SPDX-License-Identifier: Apache-2.0
"""boto3 against the EC2 API over the real workers: memory broker, fake hypervisor."""

import base64
import re

import pytest
from botocore.exceptions import ClientError
from compute_api import IMAGE_ID
from ec2_client import client
from ec2_cloud import FAST, image_id, one_of, refused, run, waiter

from nova import policy
from nova.api.ec2.actions import TABLE
from nova.db import ec2_ids, instances


def test_an_instance_lives_and_dies(cloud):
    ec2 = cloud.alpha
    key = ec2.create_key_pair(KeyName="mine")
    assert "PRIVATE KEY" in key["KeyMaterial"]
    one = run(ec2, KeyName="mine", UserData="#!/bin/sh", Placement={"AvailabilityZone": "nova"},
              TagSpecifications=[{"ResourceType": "instance", "Tags": [
                  {"Key": "Name", "Value": "web"}, {"Key": "tier", "Value": "<a&b>"}]}])
    assert re.fullmatch(r"i-[0-9a-f]{17}", one)
    found = one_of(ec2, one)
    assert found["State"] == {"Code": 16, "Name": "running"}
    assert found["PrivateIpAddress"].startswith("10.0.0.") and found["KeyName"] == "mine"
    assert found["SecurityGroups"][0]["GroupName"] == "default"
    assert {tag["Key"]: tag["Value"] for tag in found["Tags"]} == {"Name": "web", "tier": "<a&b>"}
    assert found["InstanceType"] == "m1.tiny" and found["SubnetId"].startswith("subnet-")
    attribute = ec2.describe_instance_attribute(InstanceId=one, Attribute="userData")
    assert base64.b64decode(attribute["UserData"]["Value"]) == b"#!/bin/sh"
    status = ec2.describe_instance_status(InstanceIds=[one])["InstanceStatuses"]
    assert status[0]["InstanceStatus"]["Status"] == "ok"
    assert "booted" in ec2.get_console_output(InstanceId=one)["Output"]

    change = ec2.stop_instances(InstanceIds=[one])["StoppingInstances"][0]
    assert change["PreviousState"]["Name"] == "running"
    waiter(ec2, "instance_stopped").wait(InstanceIds=[one], WaiterConfig=FAST)
    again = ec2.stop_instances(InstanceIds=[one])["StoppingInstances"][0]
    assert again["CurrentState"]["Name"] == "stopped"
    with refused("IncorrectInstanceState"):
        ec2.reboot_instances(InstanceIds=[one])
    ec2.start_instances(InstanceIds=[one])
    waiter(ec2, "instance_running").wait(InstanceIds=[one], WaiterConfig=FAST)
    ec2.reboot_instances(InstanceIds=[one])
    waiter(ec2, "instance_running").wait(InstanceIds=[one], WaiterConfig=FAST)

    change = ec2.terminate_instances(InstanceIds=[one])["TerminatingInstances"][0]
    assert change["CurrentState"]["Name"] in ("shutting-down", "terminated")
    waiter(ec2, "instance_terminated").wait(InstanceIds=[one], WaiterConfig=FAST)
    assert ec2.describe_instances()["Reservations"] == []
    again = ec2.terminate_instances(InstanceIds=[one])["TerminatingInstances"][0]
    assert again["PreviousState"]["Name"] == "terminated"


def test_pages_and_filters(cloud):
    ec2 = cloud.alpha
    made = ec2.run_instances(ImageId=image_id(ec2), MinCount=2, MaxCount=5,
                             InstanceType="m1.tiny")["Instances"]
    ids = [one["InstanceId"] for one in made]
    waiter(ec2, "instance_running").wait(InstanceIds=ids, WaiterConfig=FAST)
    ec2.create_tags(Resources=ids[:2], Tags=[{"Key": "tier", "Value": "db"}])
    pages = list(ec2.get_paginator("describe_instances").paginate(
        PaginationConfig={"PageSize": 2}))
    assert [sum(len(r["Instances"]) for r in page["Reservations"]) for page in pages] == [2, 2, 1]
    assert [one["InstanceId"] for page in pages for r in page["Reservations"]
            for one in r["Instances"]] == ids

    def matching(**filters):
        asked = [{"Name": name.replace("__", ":").replace("_", "-"), "Values": values}
                 for name, values in filters.items()]
        return [one["InstanceId"] for r in ec2.describe_instances(Filters=asked)["Reservations"]
                for one in r["Instances"]]
    assert matching(tag__tier=["d*"]) == ids[:2] and matching(tag_key=["tier"]) == ids[:2]
    assert matching(instance_state_name=["running"], launch_index=["0", "3"]) == [ids[0], ids[3]]
    assert matching(instance_state_name=["stopped"]) == []
    with refused("InvalidParameterValue"):
        matching(nonsense=["x"])
    with refused("InvalidParameterValue"):
        ec2.describe_instances(NextToken="!!")
    tags = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["tier"]}])["Tags"]
    assert {tag["ResourceId"] for tag in tags} == set(ids[:2])
    ec2.delete_tags(Resources=[ids[0]], Tags=[{"Key": "tier"}])
    assert matching(tag__tier=["db"]) == [ids[1]]


def test_a_client_token_makes_one_reservation(cloud):
    ec2 = cloud.alpha
    asked = {"ImageId": image_id(ec2), "MinCount": 1, "MaxCount": 1, "InstanceType": "m1.tiny",
             "ClientToken": "once"}
    first, second = ec2.run_instances(**asked), ec2.run_instances(**asked)
    assert first["ReservationId"] == second["ReservationId"]
    assert [one["InstanceId"] for one in first["Instances"]] == \
        [one["InstanceId"] for one in second["Instances"]]
    with refused("IdempotentParameterMismatch"):
        ec2.run_instances(**{**asked, "MaxCount": 2})
    assert len(instances.get_all()) == 1
    cloud.beta.run_instances(**asked)       # another project's token is another token
    assert len(instances.get_all()) == 2


def test_security_groups(cloud):
    ec2 = cloud.alpha
    group = ec2.create_security_group(GroupName="web", Description="w")["GroupId"]
    with refused("InvalidGroup.Duplicate"):
        ec2.create_security_group(GroupName="web", Description="w")
    permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 443, "IpRanges": [
        {"CidrIp": "0.0.0.0/0", "Description": "all"}, {"CidrIp": "10.1.0.0/16"}],
        "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    with refused("InvalidPermission.Duplicate"):
        ec2.authorize_security_group_ingress(GroupName="web", IpProtocol="tcp", FromPort=80,
                                             ToPort=443, CidrIp="0.0.0.0/0")
    ec2.authorize_security_group_ingress(GroupName="web", IpProtocol="icmp", FromPort=-1,
                                         ToPort=-1, CidrIp="0.0.0.0/0")
    [shown] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    web = next(p for p in shown["IpPermissions"] if p["IpProtocol"] == "tcp")
    assert {r["CidrIp"] for r in web["IpRanges"]} == {"0.0.0.0/0", "10.1.0.0/16"}
    assert [p["GroupId"] for p in web["UserIdGroupPairs"]] == [group]
    assert shown["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[everything])
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[everything])
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=shown["IpPermissions"])
    with refused("InvalidPermission.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[permission])
    [shown] = ec2.describe_security_groups(GroupNames=["web"])["SecurityGroups"]
    assert shown["IpPermissions"] == []
    one = run(ec2, SecurityGroupIds=[group])
    assert [g["GroupName"] for g in one_of(ec2, one)["SecurityGroups"]] == ["web"]
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=group)
    ec2.terminate_instances(InstanceIds=[one])
    waiter(ec2, "instance_terminated").wait(InstanceIds=[one], WaiterConfig=FAST)
    ec2.delete_security_group(GroupId=group)
    with refused("InvalidGroup.NotFound"):
        ec2.describe_security_groups(GroupIds=[group])
    with refused("InvalidParameterValue"):
        ec2.authorize_security_group_ingress(GroupName="default", IpProtocol="tcp", FromPort=9,
                                             ToPort=1, CidrIp="0.0.0.0/0")


def test_addresses(cloud):
    ec2 = cloud.alpha
    one = run(ec2)
    given = ec2.allocate_address(Domain="vpc")
    association = ec2.associate_address(InstanceId=one, AllocationId=given["AllocationId"])
    assert association["AssociationId"].startswith("eipassoc-")
    assert one_of(ec2, one)["PublicIpAddress"] == given["PublicIp"]
    [shown] = ec2.describe_addresses(Filters=[
        {"Name": "instance-id", "Values": [one]}])["Addresses"]
    assert shown["PublicIp"] == given["PublicIp"] and shown["InstanceId"] == one
    with refused("InvalidIPAddress.InUse"):
        ec2.release_address(AllocationId=given["AllocationId"])
    other = ec2.allocate_address()
    with refused("InsufficientAddressCapacity"):
        ec2.allocate_address()
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_address(InstanceId=one, PublicIp=other["PublicIp"])
    ec2.disassociate_address(AssociationId=association["AssociationId"])
    with refused("InvalidAssociationID.NotFound"):
        ec2.disassociate_address(AssociationId=association["AssociationId"])
    ec2.release_address(AllocationId=given["AllocationId"])
    with refused("InvalidAllocationID.NotFound"):
        ec2.release_address(AllocationId=given["AllocationId"])


def test_what_there_is(cloud):
    ec2 = cloud.alpha
    assert ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"] == "nova"
    assert ec2.describe_regions()["Regions"][0]["RegionName"] == "nova"
    assert ec2.describe_instance_types()["InstanceTypes"][0]["MemoryInfo"] == {"SizeInMiB": 64}
    [vpc] = ec2.describe_vpcs()["Vpcs"]
    [subnet] = ec2.describe_subnets()["Subnets"]
    assert subnet["VpcId"] == vpc["VpcId"] and subnet["CidrBlock"] == "10.0.0.0/24"
    names = {one["Name"] for one in ec2.describe_images()["Images"]}
    assert names == {"tiny", "mine"}
    assert {one["Name"] for one in cloud.beta.describe_images()["Images"]} == {"tiny"}
    with refused("InvalidInstanceType"):
        ec2.describe_instance_types(InstanceTypes=["huge"])


def test_key_pairs(cloud):
    ec2 = cloud.alpha
    ec2.create_key_pair(KeyName="made")
    public = ec2.describe_key_pairs(KeyNames=["made"],
                                    IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
    ec2.import_key_pair(KeyName="brought", PublicKeyMaterial=public.encode())
    with refused("InvalidKeyPair.Duplicate"):
        ec2.create_key_pair(KeyName="made")
    with refused("InvalidKey.Format"):
        ec2.import_key_pair(KeyName="bad", PublicKeyMaterial=b"nonsense \xff")
    assert len(ec2.describe_key_pairs()["KeyPairs"]) == 2
    ec2.delete_key_pair(KeyName="made")
    ec2.delete_key_pair(KeyName="made")
    with refused("InvalidKeyPair.NotFound"):
        ec2.describe_key_pairs(KeyNames=["made"])


def test_what_is_refused(cloud):
    ec2 = cloud.alpha
    asked = {"ImageId": image_id(ec2), "MinCount": 1, "MaxCount": 1, "InstanceType": "m1.tiny"}
    for more, code in (
            ({"InstanceType": "huge"}, "InvalidParameterValue"),
            ({"KeyName": "none"}, "InvalidKeyPair.NotFound"),
            ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
            ({"ImageId": "x"}, "InvalidAMIID.Malformed"),
            ({"MaxCount": 0}, "InvalidParameterValue"),
            ({"MinCount": 100, "MaxCount": 100}, "InstanceLimitExceeded"),
            ({"SecurityGroups": ["none"]}, "InvalidGroup.NotFound"),
            ({"Placement": {"AvailabilityZone": "mars"}}, "InvalidParameterValue"),
            ({"Placement": {"Tenancy": "dedicated"}}, "UnsupportedOperation"),
            ({"BlockDeviceMappings": [{"DeviceName": "/dev/vdb"}]}, "MissingParameter"),
            ({"EbsOptimized": True}, "UnsupportedOperation"),
            ({"DryRun": True}, "DryRunOperation")):
        with refused(code):
            ec2.run_instances(**{**asked, **more})
    with refused("UnsupportedOperation"):
        ec2.create_vpc(CidrBlock="10.9.0.0/16")
    with refused("UnsupportedOperation"):
        ec2.describe_spot_price_history()
    assert instances.get_all() == []


def test_older_versions_are_spoken(cloud):
    ec2 = client(cloud.app, "alice:alpha", version="2014-10-01")
    one = run(ec2)
    assert one_of(ec2, one)["State"]["Name"] == "running"
    ec2.meta.events.register("before-call.ec2", lambda params, **_: params["body"].update(
        Action="DescribeInstanceTypes"))
    with refused("UnsupportedOperation"):       # did not exist then
        ec2.describe_regions()


def test_security_projects_see_only_their_own(cloud):
    """T3, T7, T17, T18: what belongs to another project does not exist, by any id or filter."""
    ec2, other = cloud.alpha, cloud.beta
    one = run(ec2)
    group = ec2.create_security_group(GroupName="web", Description="w")["GroupId"]
    address = ec2.allocate_address()
    mine = next(i["ImageId"] for i in ec2.describe_images()["Images"] if i["Name"] == "mine")
    for foreign in (other, cloud.reader):
        for call, code in (
                (lambda e: e.describe_instances(InstanceIds=[one]), "InvalidInstanceID.NotFound"),
                (lambda e: e.terminate_instances(InstanceIds=[one]), "InvalidInstanceID.NotFound"),
                (lambda e: e.stop_instances(InstanceIds=[one]), "InvalidInstanceID.NotFound"),
                (lambda e: e.get_console_output(InstanceId=one), "InvalidInstanceID.NotFound"),
                (lambda e: e.create_tags(Resources=[one], Tags=[{"Key": "a", "Value": "b"}]),
                 "InvalidInstanceID.NotFound"),
                (lambda e: e.delete_security_group(GroupId=group), "InvalidGroup.NotFound"),
                (lambda e: e.describe_security_groups(GroupIds=[group]), "InvalidGroup.NotFound"),
                (lambda e: e.release_address(AllocationId=address["AllocationId"]),
                 "InvalidAllocationID.NotFound"),
                (lambda e: e.release_address(PublicIp=address["PublicIp"]),
                 "InvalidAddress.NotFound")):
            with refused(code):
                call(foreign)
        assert foreign.describe_instances(Filters=[
            {"Name": "owner-id", "Values": ["alpha"]}])["Reservations"] == []
        assert foreign.describe_addresses()["Addresses"] == []
    with pytest.raises(ClientError, match=f"The instance ID '{one}' does not exist"):
        other.reboot_instances(InstanceIds=[one])
    with refused("InvalidAMIID.NotFound"):
        other.run_instances(ImageId=mine, MinCount=1, MaxCount=1, InstanceType="m1.tiny")
    assert one_of(ec2, one)["State"]["Name"] == "running"
    assert ec2_ids.uuids_of("ami", [image_id(ec2)]).popitem()[1] == IMAGE_ID


def test_security_every_action_asks_a_rule_that_exists(cloud):
    """T8, T15: the EC2 door asks the rules of the OpenStack doors."""
    assert {action.policy for action in TABLE.values()} <= policy.rules().keys()
