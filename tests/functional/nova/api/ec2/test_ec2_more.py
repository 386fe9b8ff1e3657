# SPDX-License-Identifier: Apache-2.0
"""Attributes, network interfaces, single rules and what clients ask before they begin."""

import pytest
from ec2_client import client
from ec2_cloud import FAST, image_id, one_of, refused, run, waiter
from ec2_shapes import check

ZONE = "nova"
ALL = "0.0.0.0/0"


def groups_of(ec2, one):
    return sorted(group["GroupName"] for group in one_of(ec2, one)["SecurityGroups"])


def test_attributes_of_an_instance(cloud):
    ec2 = cloud.alpha
    group = ec2.create_security_group(GroupName="web", Description="w")["GroupId"]
    one = run(ec2, BlockDeviceMappings=[{"DeviceName": "/dev/vdb", "Ebs": {"VolumeSize": 1}}])
    default = one_of(ec2, one)["SecurityGroups"][0]["GroupId"]

    def shown(name):
        return ec2.describe_instance_attribute(InstanceId=one, Attribute=name)
    assert shown("instanceType")["InstanceType"] == {"Value": "m1.tiny"}
    assert shown("sourceDestCheck")["SourceDestCheck"] == {"Value": True}
    assert shown("disableApiTermination")["DisableApiTermination"] == {"Value": False}
    [mapping] = shown("blockDeviceMapping")["BlockDeviceMappings"]
    assert mapping["DeviceName"] == "/dev/vdb" and mapping["Ebs"]["DeleteOnTermination"]
    ec2.modify_instance_attribute(InstanceId=one, BlockDeviceMappings=[
        {"DeviceName": "/dev/vdb", "Ebs": {"DeleteOnTermination": False}}])
    [mapping] = shown("blockDeviceMapping")["BlockDeviceMappings"]
    assert not mapping["Ebs"]["DeleteOnTermination"]
    ec2.modify_instance_attribute(InstanceId=one, Groups=[group, default])
    assert groups_of(ec2, one) == ["default", "web"]
    ec2.modify_instance_attribute(InstanceId=one, Groups=[group])
    assert [g["GroupName"] for g in shown("groupSet")["Groups"]] == ["web"]
    ec2.modify_instance_attribute(InstanceId=one, DisableApiTermination={"Value": False})
    for more, code in (({}, "MissingParameter"),
                       ({"DisableApiTermination": {"Value": True}}, "UnsupportedOperation"),
                       ({"SourceDestCheck": {"Value": False}}, "UnsupportedOperation"),
                       ({"InstanceType": {"Value": "m1.tiny"}}, "UnsupportedOperation"),
                       ({"Groups": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
                       ({"Groups": [group], "EbsOptimized": {"Value": False}},
                        "InvalidParameterCombination"),
                       ({"BlockDeviceMappings": [{"DeviceName": "/dev/vdq", "Ebs": {
                           "DeleteOnTermination": True}}]}, "InvalidInstanceAttributeValue")):
        with refused(code):
            ec2.modify_instance_attribute(InstanceId=one, **more)
    with refused("UnsupportedOperation"):
        shown("enclaveOptions")
    ec2.terminate_instances(InstanceIds=[one])
    waiter(ec2, "instance_terminated").wait(InstanceIds=[one], WaiterConfig=FAST)
    [kept] = ec2.describe_volumes()["Volumes"]
    assert kept["State"] == "available"


def test_security_t7_t16_attributes_are_changed_by_their_owner_alone(cloud):
    """T7, T16: another's server does not exist, nor does another's group for one's own."""
    one, theirs = run(cloud.alpha), run(cloud.beta)
    group = cloud.beta.create_security_group(GroupName="b", Description="b")["GroupId"]
    for foreign in (cloud.beta, cloud.reader):
        with refused("InvalidInstanceID.NotFound"):
            foreign.modify_instance_attribute(InstanceId=one, Groups=[group])
        with refused("InvalidInstanceID.NotFound"):
            foreign.describe_instance_attribute(InstanceId=one, Attribute="userData")
    with refused("InvalidGroup.NotFound"):
        cloud.alpha.modify_instance_attribute(InstanceId=one, Groups=[group])
    assert groups_of(cloud.alpha, one) == groups_of(cloud.beta, theirs) == ["default"]
    [card] = cloud.alpha.describe_network_interfaces()["NetworkInterfaces"]
    with refused("InvalidNetworkInterfaceID.NotFound"):
        cloud.beta.describe_network_interfaces(
            NetworkInterfaceIds=[card["NetworkInterfaceId"]])
    rules = cloud.beta.describe_security_group_rules(Filters=[
        {"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    with refused("InvalidSecurityGroupRuleId.NotFound"):
        cloud.alpha.describe_security_group_rules(
            SecurityGroupRuleIds=[rules[0]["SecurityGroupRuleId"]])


def test_network_interfaces(cloud):
    ec2 = cloud.alpha
    group = ec2.create_security_group(GroupName="web", Description="w")["GroupId"]
    [subnet] = ec2.describe_subnets()["Subnets"]
    one = run(ec2, NetworkInterfaces=[{
        "DeviceIndex": 0, "SubnetId": subnet["SubnetId"], "Groups": [group],
        "PrivateIpAddress": "10.0.0.77", "AssociatePublicIpAddress": False}])
    run(ec2)
    given = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(InstanceId=one, AllocationId=given["AllocationId"])
    [card] = ec2.describe_network_interfaces(Filters=[
        {"Name": "attachment.instance-id", "Values": [one]}])["NetworkInterfaces"]
    assert card["PrivateIpAddress"] == "10.0.0.77" and card["Status"] == "in-use"
    assert card["SubnetId"] == subnet["SubnetId"] and card["AvailabilityZone"] == ZONE
    assert [it["GroupName"] for it in card["Groups"]] == ["web"]
    assert card["Attachment"]["DeviceIndex"] == 0 and card["Attachment"]["InstanceId"] == one
    assert card["Association"]["PublicIp"] == given["PublicIp"]
    [inner] = one_of(ec2, one)["NetworkInterfaces"]
    assert inner["NetworkInterfaceId"] == card["NetworkInterfaceId"]
    assert inner["Attachment"]["DeleteOnTermination"]
    pages = ec2.get_paginator("describe_network_interfaces").paginate(
        PaginationConfig={"PageSize": 5})
    assert [len(page["NetworkInterfaces"]) for page in pages] == [2]
    asked = {"ImageId": image_id(ec2), "MinCount": 1, "MaxCount": 1, "InstanceType": "m1.tiny"}
    for cards, more, code in (
            ([{"DeviceIndex": 0}, {"DeviceIndex": 1}], {}, "UnsupportedOperation"),
            ([{"DeviceIndex": 0, "NetworkInterfaceId": card["NetworkInterfaceId"]}], {},
             "UnsupportedOperation"),
            ([{"DeviceIndex": 0, "AssociatePublicIpAddress": True}], {}, "UnsupportedOperation"),
            ([{"DeviceIndex": 0}], {"SecurityGroupIds": [group]}, "InvalidParameterCombination"),
            ([{"DeviceIndex": 0, "SubnetId": "subnet-00000000000000000"}], {},
             "InvalidSubnetID.NotFound")):
        with refused(code):
            ec2.run_instances(**asked, NetworkInterfaces=cards, **more)


def test_rules_by_their_ids(cloud):
    ec2 = cloud.alpha
    group = ec2.create_security_group(GroupName="web", Description="w")["GroupId"]
    other = ec2.create_security_group(GroupName="db", Description="d")["GroupId"]
    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{
        "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
        "IpRanges": [{"CidrIp": ALL, "Description": "all"}],
        "UserIdGroupPairs": [{"GroupId": other}]}])["SecurityGroupRules"]
    by_source = {one.get("CidrIpv4") or one["ReferencedGroupInfo"]["GroupId"]: one for one in made}
    assert set(by_source) == {ALL, other} and by_source[ALL]["Description"] == "all"

    def rules():
        return {one["SecurityGroupRuleId"]: one for one in ec2.describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]}
    there = rules()
    assert there.keys() > {one["SecurityGroupRuleId"] for one in made}
    assert sorted(one.get("CidrIpv4") or one.get("CidrIpv6") for one in there.values()
                  if one["IsEgress"]) == [ALL, "::/0"]
    wanted = by_source[other]["SecurityGroupRuleId"]
    with refused("InvalidSecurityGroupRuleId.NotFound"):
        ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=[wanted])
    with refused("InvalidSecurityGroupRuleId.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=other, SecurityGroupRuleIds=[wanted])
    with refused("InvalidSecurityGroupRuleId.Malformed"):
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=["x"])
    with refused("InvalidParameterCombination"):
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[wanted],
                                          CidrIp=ALL)
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[wanted])
    assert there.keys() - rules().keys() == {wanted}
    # The default group's rules have ids before the group is written down.
    first = ec2.describe_security_group_rules()["SecurityGroupRules"]
    assert [one for one in first if one["GroupId"] not in (group, other)]


def test_what_clients_ask_before_they_begin(cloud):
    ec2 = cloud.alpha
    found = {one["AttributeName"]: one["AttributeValues"][0]["AttributeValue"]
             for one in ec2.describe_account_attributes()["AccountAttributes"]}
    assert found["supported-platforms"] == "VPC" and found["max-instances"] == "10"
    [vpc] = ec2.describe_vpcs()["Vpcs"]
    assert found["default-vpc"] in ("none", vpc["VpcId"])
    with refused("InvalidParameterValue"):
        client(cloud.app, "alice:alpha", version="2014-10-01").describe_account_attributes(
            AttributeNames=["nonsense"])
    for kind, place in (("region", "nova"), ("availability-zone", ZONE)):
        [offer] = ec2.describe_instance_type_offerings(
            LocationType=kind)["InstanceTypeOfferings"]
        assert (offer["InstanceType"], offer["Location"]) == ("m1.tiny", place)
    with refused("UnsupportedOperation"):
        ec2.describe_instance_type_offerings(LocationType="outpost")
    volume = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    waiter(ec2, "volume_available").wait(VolumeIds=[volume], WaiterConfig=FAST)
    [status] = ec2.describe_volume_status(VolumeIds=[volume])["VolumeStatuses"]
    assert status["VolumeStatus"]["Status"] == "ok"
    with refused("InvalidVolume.NotFound"):
        cloud.beta.describe_volume_status(VolumeIds=[volume])


def tags(thing):
    return {tag["Key"]: tag["Value"] for tag in thing["Tags"]}


def spec(kind, **values):
    return [{"ResourceType": kind, "Tags": [
        {"Key": key, "Value": value} for key, value in values.items()]}]


def test_tags_of_groups_addresses_and_key_pairs(cloud):
    ec2 = cloud.alpha
    group = ec2.create_security_group(GroupName="web", Description="w", TagSpecifications=spec(
        "security-group", Name="front", tier="1"))
    assert tags(group) == {"Name": "front", "tier": "1"}
    key = ec2.create_key_pair(KeyName="mine", TagSpecifications=spec("key-pair", tier="1"))
    address = ec2.allocate_address(TagSpecifications=spec("elastic-ip", tier="1"))
    things = {group["GroupId"]: ("security-group", "describe_security_groups", "SecurityGroups"),
              key["KeyPairId"]: ("key-pair", "describe_key_pairs", "KeyPairs"),
              address["AllocationId"]: ("elastic-ip", "describe_addresses", "Addresses")}

    def shown(name, value):
        return {one_id: found for one_id, (_, method, what) in things.items()
                if (found := getattr(ec2, method)(Filters=[
                    {"Name": name, "Values": [value]}])[what])}
    assert shown("tag:tier", "1").keys() == things.keys()
    ec2.create_tags(Resources=list(things), Tags=[{"Key": "Name", "Value": "all"},
                                                  {"Key": "owner", "Value": "me"}])
    for one_id, found in shown("tag:Name", "all").items():
        assert tags(found[0]) == {"Name": "all", "owner": "me", "tier": "1"}, one_id
    listed = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["owner"]}])["Tags"]
    assert {(one["ResourceId"], one["ResourceType"]) for one in listed} == {
        (one_id, kind) for one_id, (kind, _, _) in things.items()}
    ec2.delete_tags(Resources=list(things), Tags=[{"Key": "Name"}, {"Key": "owner",
                                                                   "Value": "another's"}])
    for found in shown("tag:tier", "1").values():
        assert tags(found[0]) == {"owner": "me", "tier": "1"}
    ec2.delete_tags(Resources=list(things))
    assert shown("tag-key", "*") == {}
    # The default group, which may not be written down yet, has tags too.
    [default] = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    ec2.create_tags(Resources=[default["GroupId"]], Tags=[{"Key": "a", "Value": ""}])
    [default] = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    assert tags(default) == {"a": ""}


def test_security_t7_t16_tags_are_their_owners_and_go_with_the_thing(cloud):
    """T7, T16: another's group, address or key cannot be tagged; an address forgets its tags."""
    ec2, both = cloud.alpha, [cloud.alpha.allocate_address() for _ in range(2)]
    group = ec2.create_security_group(GroupName="web", Description="w")["GroupId"]
    key = ec2.create_key_pair(KeyName="mine")["KeyPairId"]
    secret = [{"Key": "secret", "Value": "alpha's"}]
    for one, code in ((group, "InvalidGroup.NotFound"), (key, "InvalidKeyPair.NotFound"),
                      (both[0]["AllocationId"], "InvalidAllocationID.NotFound")):
        ec2.create_tags(Resources=[one], Tags=secret)
        for foreign in (cloud.beta.create_tags, cloud.beta.delete_tags):
            with refused(code):
                foreign(Resources=[one], Tags=secret)
    assert cloud.beta.describe_tags()["Tags"] == []
    with refused("TagLimitExceeded"):
        ec2.create_tags(Resources=[group], Tags=[
            {"Key": f"k{number}", "Value": ""} for number in range(129)])
    for one in both:
        ec2.release_address(AllocationId=one["AllocationId"])
    again = cloud.beta.allocate_address()
    [found] = cloud.beta.describe_addresses(PublicIps=[again["PublicIp"]])["Addresses"]
    assert again["PublicIp"] in {one["PublicIp"] for one in both} and found["Tags"] == []
    assert [one["Key"] for one in ec2.describe_tags(Filters=[
        {"Name": "resource-type", "Values": ["elastic-ip"]}])["Tags"]] == []
    with refused("UnsupportedOperation"):
        ec2.create_security_group(GroupName="x", Description="x", TagSpecifications=spec(
            "instance", a="b"))
    with refused("UnsupportedOperation"):
        ec2.create_tags(Resources=["vpc-00000000000000000"], Tags=secret)


def test_the_judge_of_shapes_can_find_fault(cloud):
    """What is watched in every other test of this folder would be noticed."""
    seen = []
    ec2 = client(cloud.app, "alice:alpha")
    ec2.meta.events.register("response-received.ec2", lambda response_dict, **_: seen.append(
        response_dict["body"]))
    ec2.describe_availability_zones()
    good = seen[0].decode()
    check(ec2.meta.service_model, good)
    for bad in (good.replace("regionName", "regionNames"),
                good.replace("<item>", "<item><other/>"),
                good.replace(">available<", ">perhaps<"),
                good.replace("requestId", "request")):
        with pytest.raises(AssertionError):
            check(ec2.meta.service_model, bad)
