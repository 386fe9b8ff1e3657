# SPDX-License-Identifier: Apache-2.0
"""Instances as the shapes of EC2 have them."""

from collections.abc import Mapping, Sequence
from typing import Any

from nova.api.ec2 import listing
from nova.api.ec2.interfaces import attachment_of
from nova.compute.states import TaskState, VmState
from nova.db import (
    ec2_ids,
    instances,
    ports,
    security_groups,
    services,
    volume_attachments,
)
from nova.db.models import Instance
from nova.db.ports import PortView
from nova.volume.states import AttachStatus

PENDING, RUNNING, SHUTTING_DOWN = (0, "pending"), (16, "running"), (32, "shutting-down")
TERMINATED, STOPPING, STOPPED = (48, "terminated"), (64, "stopping"), (80, "stopped")
_BY_TASK = {TaskState.DELETING: SHUTTING_DOWN, TaskState.POWERING_OFF: STOPPING,
            TaskState.POWERING_ON: PENDING}
_BY_STATE = {VmState.BUILDING: PENDING, VmState.ACTIVE: RUNNING, VmState.STOPPED: STOPPED}


def state_of(row: Instance) -> tuple[int, str]:
    """Return code and name of an instance's state.

    A build that failed is on no host and will not run any more: terminated, as AWS has it.
    """
    if row.task_state in _BY_TASK:
        return _BY_TASK[TaskState(row.task_state)]
    if row.vm_state == VmState.ERROR:
        return STOPPED if row.host else TERMINATED
    return _BY_STATE[VmState(row.vm_state)]


def state(pair: tuple[int, str]) -> dict[str, Any]:
    """Return a state as the shape has it."""
    return {"Code": pair[0], "Name": pair[1]}


def tags_of(row: Instance) -> dict[str, str]:
    """Return an instance's tags: its metadata, and its name as Name."""
    return {"Name": row.display_name, **(row.metadata_ or {})}


class Views:
    """Views of some instances of one project, made in a fixed number of queries."""

    def __init__(self, project_id: str, rows: Sequence[Instance]) -> None:
        self._ports: dict[str, list[PortView]] = {}
        for view in ports.find(project_id, device_ids=[row.id for row in rows]):
            self._ports.setdefault(str(view.port.device_id), []).append(view)
        held = [view for views in self._ports.values() for view in views]
        self._attached = volume_attachments.get_of_instances([row.id for row in rows])
        self._groups = {view.group.id: view.group.name
                        for view in security_groups.find(project_id)}
        self._ids = {
            "i": ec2_ids.ids_of("i", [row.id for row in rows]),
            "ami": ec2_ids.ids_of("ami", [row.image_id for row in rows if row.image_id]),
            "aki": ec2_ids.ids_of("aki", [row.kernel_id for row in rows if row.kernel_id]),
            "ari": ec2_ids.ids_of("ari", [row.ramdisk_id for row in rows if row.ramdisk_id]),
            "sg": ec2_ids.ids_of("sg", list(self._groups)),
            "vol": ec2_ids.ids_of("vol", [one.volume_id for some in self._attached.values()
                                          for one in some]),
            "eni": ec2_ids.ids_of("eni", [view.port.id for view in held]),
            "vpc": ec2_ids.ids_of("vpc", [view.network.id for view in held]),
            "subnet": ec2_ids.ids_of("subnet", [view.network.subnet_id for view in held])}
        self._zones = services.zones_of({row.host for row in rows if row.host})
        failed = [row.id for row in rows if row.vm_state == VmState.ERROR]
        self._faults = instances.latest_faults(failed) if failed else {}

    def zone(self, row: Instance) -> str:
        """Return the zone an instance is in, or was asked for in."""
        return self._zones.get(row.host or "") or row.availability_zone or ""

    def id_of(self, row: Instance) -> str:
        """Return an instance's EC2 id."""
        return self._ids["i"][row.id]

    def groups(self, row: Instance) -> list[dict[str, Any]]:
        """Return an instance's groups; before it has ports, those it was asked to be in."""
        wanted = {group for view in self._ports.get(row.id, ()) for group in view.group_ids}
        if not self._ports.get(row.id):
            wanted = set((row.build_request or {}).get("security_groups") or
                         [security_groups.default_id(row.project_id)])
        return [{"GroupId": self._ids["sg"][group], "GroupName": self._groups[group]}
                for group in sorted(wanted & self._groups.keys(), key=self._groups.__getitem__)]

    def one(self, row: Instance) -> dict[str, Any]:
        """Return all of an instance."""
        views = self._ports.get(row.id, [])
        private = next((address.address for view in views for address in view.addresses
                        if ":" not in address.address), None)
        public = next((one.address for view in views for one in view.floating), None)
        groups = self.groups(row)
        found: dict[str, Any] = {
            "InstanceId": self.id_of(row), "State": state(state_of(row)),
            "ImageId": self._ids["ami"].get(row.image_id or ""),
            "KernelId": self._ids["aki"].get(row.kernel_id or ""),
            "RamdiskId": self._ids["ari"].get(row.ramdisk_id or ""),
            "PrivateDnsName": row.hostname, "PublicDnsName": public or "",
            "PrivateIpAddress": private, "PublicIpAddress": public,
            "StateTransitionReason": "", "KeyName": row.key_name,
            "AmiLaunchIndex": row.launch_index, "ProductCodes": [],
            "InstanceType": row.flavor_name, "LaunchTime": row.launched_at or row.created_at,
            "Placement": {"AvailabilityZone": self.zone(row), "Tenancy": "default"},
            "Monitoring": {"State": "disabled"},
            "RootDeviceType": "instance-store" if row.image_id else "ebs",
            "RootDeviceName": "/dev/vda", "BlockDeviceMappings": self._volumes(row),
            "VirtualizationType": "hvm",
            "Architecture": ((row.build_request or {}).get("image_properties") or {}).get(
                "architecture", "x86_64"),
            "SecurityGroups": groups, "Tags": listing.tag_list(tags_of(row)),
            "NetworkInterfaces": [self._interface(row, view, groups) for view in views]}
        if views:
            found["VpcId"] = self._ids["vpc"][views[0].network.id]
            found["SubnetId"] = self._ids["subnet"][views[0].network.subnet_id]
        if row.vm_state == VmState.ERROR:
            fault = self._faults.get(row.id)
            found["StateReason"] = {"Code": "Server.InternalError",
                                    "Message": fault.message if fault else ""}
        return found

    def _volumes(self, row: Instance) -> list[dict[str, Any]]:
        return [{"DeviceName": f"/dev/{one.device}", "Ebs": {
            "VolumeId": self._ids["vol"][one.volume_id],
            "Status": "attaching" if one.status == AttachStatus.RESERVED else one.status,
            "AttachTime": one.attached_at or one.created_at,
            "DeleteOnTermination": one.delete_on_termination}}
            for one in self._attached.get(row.id, ())]

    def _interface(self, row: Instance, view: PortView,
                   groups: list[dict[str, Any]]) -> dict[str, Any]:
        fixed = [one.address for one in view.addresses if ":" not in one.address]
        found: dict[str, Any] = {
            "NetworkInterfaceId": self._ids["eni"][view.port.id], "OwnerId": row.project_id,
            "SubnetId": self._ids["subnet"][view.network.subnet_id],
            "VpcId": self._ids["vpc"][view.network.id], "MacAddress": view.port.mac,
            "Description": view.port.name, "Status": "in-use", "SourceDestCheck": True,
            "Attachment": attachment_of(view), "InterfaceType": "interface",
            "PrivateIpAddress": fixed[0] if fixed else None,
            "PrivateIpAddresses": [{"PrivateIpAddress": one, "Primary": position == 0}
                                   for position, one in enumerate(fixed)],
            "Groups": [one for one in groups], "Ipv6Addresses": [
                {"Ipv6Address": one.address} for one in view.addresses if ":" in one.address]}
        if view.floating:
            found["Association"] = {"PublicIp": view.floating[0].address, "PublicDnsName": "",
                                    "IpOwnerId": row.project_id}
        return found


FILTERS: Mapping[str, Any] = {
    "instance-id": lambda one: one["InstanceId"],
    "instance-state-name": lambda one: one["State"]["Name"],
    "instance-state-code": lambda one: one["State"]["Code"],
    "image-id": lambda one: one["ImageId"], "kernel-id": lambda one: one["KernelId"],
    "ramdisk-id": lambda one: one["RamdiskId"], "key-name": lambda one: one["KeyName"],
    "instance-type": lambda one: one["InstanceType"],
    "launch-index": lambda one: one["AmiLaunchIndex"],
    "availability-zone": lambda one: one["Placement"]["AvailabilityZone"],
    "private-ip-address": lambda one: one["PrivateIpAddress"],
    "ip-address": lambda one: one["PublicIpAddress"],
    "private-dns-name": lambda one: one["PrivateDnsName"],
    "dns-name": lambda one: one["PublicDnsName"],
    "group-id": lambda one: [group["GroupId"] for group in one["SecurityGroups"]],
    "group-name": lambda one: [group["GroupName"] for group in one["SecurityGroups"]],
    "instance.group-id": lambda one: [group["GroupId"] for group in one["SecurityGroups"]],
    "instance.group-name": lambda one: [group["GroupName"] for group in one["SecurityGroups"]],
    "vpc-id": lambda one: one.get("VpcId"), "subnet-id": lambda one: one.get("SubnetId"),
    "architecture": lambda one: one["Architecture"],
    "root-device-type": lambda one: one["RootDeviceType"],
    "block-device-mapping.volume-id":
        lambda one: [held["Ebs"]["VolumeId"] for held in one["BlockDeviceMappings"]],
    "block-device-mapping.device-name":
        lambda one: [held["DeviceName"] for held in one["BlockDeviceMappings"]],
    "tags": lambda one: {tag["Key"]: tag["Value"] for tag in one["Tags"]},
}
"""The filters of DescribeInstances, by what they look at in a view."""
