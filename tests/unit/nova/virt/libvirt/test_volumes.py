# SPDX-License-Identifier: Apache-2.0
"""Volumes as disks of a domain: spelled out, named, and without their password."""

import dataclasses
import uuid
from pathlib import Path

import pytest
from lxml import etree

from nova.exception import HypervisorError
from nova.virt.driver import AttachedVolume, InstanceSpec
from nova.virt.libvirt import volumes, xml
from nova.virt.libvirt.disks import Disk, Record
from nova.virt.libvirt.files import Owner
from nova.volume.model import VolumeConnection

ONE = "0f5b9d1c-9a53-4d0c-8f5a-3c1f3e0a7a11"
HOST = "iqn.2010-10.org.openstack:host1"
ISCSI = VolumeConnection(
    volume_id=ONE, driver="iscsi", size_gb=1, portal="10.0.0.1:3260",
    target=f"iqn.2010-10.org.openstack:volume-{ONE}", lun=1, auth_user="user",
    auth_secret="geheim")
FILE = VolumeConnection(volume_id=ONE, driver="file", size_gb=1, format="raw",
                        path=f"/volumes/volume-{ONE}")


def disk(connection, **more):
    return volumes.disk(AttachedVolume(connection, "vdb", **more), HOST)


def test_iscsi_by_qemu_itself():
    """L18: the password is a reference to a secret that is never stored."""
    made = disk(ISCSI)
    source = made.find("source")
    assert (made.get("type"), source.get("protocol")) == ("network", "iscsi")
    assert source.get("name") == f"{ISCSI.target}/1"
    assert dict(source.find("host").attrib) == {"name": "10.0.0.1", "port": "3260"}
    assert source.find("auth").get("username") == "user"
    assert dict(source.find("auth/secret").attrib) == {"type": "iscsi", "uuid": ONE}
    assert source.find("initiator/iqn").get("name") == HOST
    assert dict(made.find("target").attrib) == {"dev": "vdb", "bus": "virtio"}
    assert made.findtext("serial") == ONE
    assert "geheim" not in volumes.as_text(made)
    secret = etree.fromstring(volumes.secret(ONE))
    assert (secret.get("ephemeral"), secret.get("private")) == ("yes", "yes")
    assert "geheim" not in repr(ISCSI)


@pytest.mark.parametrize("connection, wanted", [
    (ISCSI, "raw"), (dataclasses.replace(ISCSI, format="qcow2"), "raw"), (FILE, "raw"),
    (dataclasses.replace(FILE, format="qcow2"), "qcow2")])
def test_security_format_is_what_the_record_says(connection, wanted):
    """F5, F6: nobody looks at the bytes, and the chain ends with the volume."""
    made = disk(connection)
    assert made.find("driver").get("type") == wanted
    assert made.find("backingStore") is not None
    assert len(made.find("backingStore")) == 0


@pytest.mark.parametrize("wrong", [
    {"target": f"iqn.2010-10.org.openstack:volume-{uuid.uuid4()}"}, {"target": None},
    {"target": f"iqn.2010-10.org.openstack:volume-{ONE}-other"},
    {"volume_id": "../../etc/passwd"}, {"driver": "rbd"},
    {"driver": "file", "path": "/etc/passwd"}, {"driver": "file", "path": f"volume-{ONE}"},
    {"driver": "file", "path": f"/{ONE}/other"}, {"driver": "file", "path": None},
    {"driver": "file", "path": f"/volume-{ONE}", "format": "vmdk"}])
def test_security_what_is_not_named_after_the_volume_is_refused(wrong):
    """V9: the name is compared before a guest gets anything."""
    with pytest.raises(HypervisorError):
        disk(dataclasses.replace(ISCSI, **wrong))


def test_security_another_size_is_refused():
    """V9: a target that was reused has, most likely, another size."""
    volumes.check_size(ISCSI, 1 << 30)
    for size in (0, (1 << 30) - 512, 2 << 30):
        with pytest.raises(HypervisorError, match=str(size)):
            volumes.check_size(ISCSI, size)


def test_a_domain_with_volumes_and_what_is_read_back():
    instance, other = str(uuid.uuid4()), str(uuid.uuid4())
    second = dataclasses.replace(
        FILE, volume_id=other, path=f"/volumes/volume-{other}")
    spec = InstanceSpec(
        id=instance, project_id="p", user_id="u", display_name="n", hostname="n", vcpus=1,
        memory_mb=128, root_gb=0, volumes=(AttachedVolume(ISCSI, "vda", 0),
                                           AttachedVolume(second, "vdc")))
    record = Record(instance, "p", (Disk("disk.swap", "raw", "vdb"),), None)
    paths = xml.Paths(Path("/i"), None, "raw", Path("/k"), None, Path("/i/console.log"))
    text = xml.domain(spec, record, paths, xml.Machine("qemu", owner=Owner(1, 1), initiator=HOST))
    found = volumes.of_domain(text)
    assert {one: volumes.device_of(element) for one, element in found.items()} == {
        ONE: "vda", other: "vdc"}
    assert found[ONE].find("source/initiator/iqn").get("name") == HOST
    assert spec.boot_volume.volume_id == ONE
    assert record.bases == set()


def test_hosts_name():
    assert volumes.initiator_name("Host_1.example") == "iqn.2010-10.org.openstack:host-1.example"
