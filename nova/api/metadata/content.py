# SPDX-License-Identifier: Apache-2.0
"""What an instance is told about itself: EC2's tree and OpenStack's documents.

A tree is nested dicts; a leaf is text, bytes or a function that makes it when it is asked for, so
that a guest that wants its id costs no look at its network.
"""

import base64
import binascii
import functools
import json
import os
from collections.abc import Callable
from typing import Any

from nova.db import ec2_ids, security_groups
from nova.db.models import Instance
from nova.network import vifs
from nova.network.model import VIF

Leaf = str | bytes | Callable[[], str | bytes]
Tree = dict[str, Any]

EC2_VERSIONS = ("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15",
                "2008-02-01", "2008-09-01", "2009-04-04")
OPENSTACK_VERSIONS = ("2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30",
                      "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14")
SEED_BYTES = 512


class Content:
    """All that one instance may read."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    @functools.cached_property
    def vifs(self) -> list[VIF]:
        """The instance's interfaces, looked up when first asked for."""
        return vifs.of_instances([self.instance.id])[self.instance.id]

    def _fixed(self) -> str:
        return next((one.address for vif in self.vifs for one in vif.addresses
                     if one.version == 4), "")

    def _floating(self) -> str:
        return next((public for vif in self.vifs for one in vif.addresses
                     for public in one.floating), "")

    # -- EC2 -----------------------------------------------------------------------------------

    def ec2(self) -> Tree:
        """Return the tree below a version of EC2's."""
        tree: Tree = {"meta-data": self._meta_data()}
        data = user_data(self.instance)
        if data is not None:
            tree["user-data"] = data
        return tree

    def _meta_data(self) -> Tree:
        row = self.instance
        tree: Tree = {
            "ami-id": ec2_ids.id_of("ami", row.image_id) if row.image_id else "",
            "ami-launch-index": str(row.launch_index),
            "ami-manifest-path": "(unknown)",
            "block-device-mapping": {"ami": "vda", "root": "/dev/vda"},
            "hostname": row.hostname,
            "instance-action": "none",
            "instance-id": ec2_ids.id_of("i", row.id),
            "instance-type": row.flavor_name,
            "local-hostname": row.hostname,
            "local-ipv4": self._fixed,
            "mac": lambda: self.vifs[0].mac if self.vifs else "",
            "placement": {"availability-zone": row.availability_zone or "nova"},
            "public-hostname": row.hostname,
            "public-ipv4": self._floating,
            "reservation-id": row.reservation_id,
            "security-groups": self._groups,
        }
        if row.kernel_id:
            tree["kernel-id"] = ec2_ids.id_of("aki", row.kernel_id)
        if row.ramdisk_id:
            tree["ramdisk-id"] = ec2_ids.id_of("ari", row.ramdisk_id)
        if row.key_data:
            tree["public-keys"] = {f"0={row.key_name}": {"openssh-key": row.key_data}}
        return tree

    def _groups(self) -> str:
        return "\n".join(
            security_groups.names_of_devices([self.instance.id]).get(self.instance.id, ()))

    # -- OpenStack -----------------------------------------------------------------------------

    def openstack(self) -> Tree:
        """Return the documents below a version of OpenStack's."""
        tree: Tree = {
            "meta_data.json": self._meta_data_json, "network_data.json": self._network_data_json,
            "vendor_data.json": _json({}), "vendor_data2.json": _json({"static": {}})}
        data = user_data(self.instance)
        if data is not None:
            tree["user_data"] = data
        return tree

    def _meta_data_json(self) -> str:
        row = self.instance
        document: dict[str, Any] = {
            "uuid": row.id, "name": row.display_name, "hostname": row.hostname,
            "launch_index": row.launch_index, "project_id": row.project_id,
            "availability_zone": row.availability_zone or "nova", "devices": [],
            "random_seed": base64.b64encode(os.urandom(SEED_BYTES)).decode()}
        if row.metadata_:
            document["meta"] = dict(row.metadata_)
        if row.key_data:
            document["public_keys"] = {row.key_name: row.key_data}
            document["keys"] = [{"name": row.key_name, "type": "ssh", "data": row.key_data}]
        return _json(document)

    def _network_data_json(self) -> str:
        links: list[Tree] = []
        networks: list[Tree] = []
        services: list[Tree] = []
        for vif in self.vifs:
            links.append({"id": vif.tap, "vif_id": vif.port_id, "type": "bridge", "mtu": vif.mtu,
                          "ethernet_mac_address": vif.mac})
            for address in vif.addresses:
                networks.append({
                    "id": f"network{len(networks)}", "link": vif.tap,
                    "network_id": vif.network_id,
                    "type": "ipv4_dhcp" if address.version == 4 else "ipv6_slaac"})
            services += [{"type": "dns", "address": server} for server in vif.dns_servers]
        unique = list({one["address"]: one for one in services}.values())
        return _json({"links": links, "networks": networks, "services": unique})


def user_data(row: Instance) -> bytes | None:
    """Return the bytes the owner left for the instance; None for nothing at all."""
    if not row.user_data:
        return None
    try:
        return base64.b64decode(row.user_data, validate=True)
    except (binascii.Error, ValueError):
        return row.user_data.encode()


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document)
