# SPDX-License-Identifier: Apache-2.0
"""Volumes as disks of a domain, in libvirt's XML, and the check that each is the one meant.

QEMU reaches an iSCSI target by itself: no device of this host stands between, so none can be
left behind and be another volume's tomorrow.  The password is never in the XML, which names a
secret of libvirt's; that is there only while a call needs it, and QEMU gets it enciphered.
"""

import re

from lxml import etree
from lxml.builder import E

from nova.exception import HypervisorError
from nova.virt.driver import AttachedVolume
from nova.volume.model import VolumeConnection

GIB = 1024 ** 3
FORMATS = ("raw", "qcow2")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


def initiator_name(host: str) -> str:
    """Return the iSCSI name of a host."""
    return "iqn.2010-10.org.openstack:" + re.sub(r"[^a-z0-9.:-]", "-", host.lower())


def disk(volume: AttachedVolume, initiator: str) -> etree._Element:
    """Return the ``<disk>`` of a volume; HypervisorError when it does not name that volume."""
    connection = volume.connection
    check_names(connection)
    driver = E.driver(name="qemu", type=_format(connection), discard="unmap",
                      cache="writeback" if connection.driver == "file" else "none")
    target = E.target(dev=volume.device, bus="virtio")
    # The chain ends here: nobody looks into the volume for more of it.
    tail = [E.backingStore(), target, E.serial(connection.volume_id)]
    if connection.driver == "file":
        return E.disk(driver, E.source(file=str(connection.path)), *tail,
                      type="file", device="disk")
    host, _, port = str(connection.portal).rpartition(":")
    source = E.source(E.host(name=host.strip("[]"), port=port), protocol="iscsi",
                      name=f"{connection.target}/{connection.lun}")
    if connection.auth_user:
        source.append(E.auth(E.secret(type="iscsi", uuid=connection.volume_id),
                             username=connection.auth_user))
    source.append(E.initiator(E.iqn(name=initiator)))
    return E.disk(driver, source, *tail, type="network", device="disk")


def _format(connection: VolumeConnection) -> str:
    if connection.driver == "iscsi":
        return "raw"        # blocks are blocks, whatever the guest wrote at their start
    if connection.format not in FORMATS:
        raise _refusal(f"its format {connection.format!r} is none of {', '.join(FORMATS)}")
    return connection.format


def check_names(connection: VolumeConnection) -> None:
    """Refuse a connection whose target or file is not named after the volume."""
    volume_id = connection.volume_id
    if not _UUID.fullmatch(volume_id):
        raise _refusal(f"{volume_id!r} is no id of a volume")
    if connection.driver == "iscsi":
        where = str(connection.target)
        named = where.endswith(f":volume-{volume_id}")
    elif connection.driver == "file":
        where = str(connection.path)
        named = where.startswith("/") and volume_id in where.rpartition("/")[2]
    else:
        raise _refusal(f"there is no way to volumes called {connection.driver!r} here")
    if not named:
        raise _refusal(f"{where} is not named after volume {volume_id}")


def check_size(connection: VolumeConnection, capacity: int) -> None:
    """Refuse what has another size than the volume is said to have."""
    if capacity != connection.size_gb * GIB:
        raise _refusal(f"volume {connection.volume_id} should have {connection.size_gb} GiB, and "
                       f"what was reached has {capacity} bytes")


def _refusal(reason: str) -> HypervisorError:
    return HypervisorError(action="attach a volume", reason=reason)


def secret(volume_id: str) -> str:
    """Return the XML of the secret of a volume: never written to disk, never read back."""
    return etree.tostring(E.secret(
        E.uuid(volume_id), E.description(f"CHAP of volume {volume_id}"),
        E.usage(E.target(volume_id), type="iscsi"), ephemeral="yes", private="yes"),
        encoding="unicode")


def of_domain(domain_xml: str) -> dict[str, etree._Element]:
    """Return the ``<disk>`` elements of the volumes a domain has, by the volume's id."""
    tree = etree.fromstring(domain_xml, _PARSER)
    found = {}
    for element in tree.findall("devices/disk"):
        serial = element.findtext("serial") or ""
        # The disks of the instance itself have no serial number.
        if _UUID.fullmatch(serial):
            found[serial] = element
    return found


def device_of(element: etree._Element) -> str:
    """Return the name of a disk."""
    return str(element.find("target").get("dev"))


def as_text(element: etree._Element) -> str:
    """Return an element as libvirt takes it."""
    return etree.tostring(element, encoding="unicode")
