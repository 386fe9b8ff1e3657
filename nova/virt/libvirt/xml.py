# SPDX-License-Identifier: Apache-2.0
"""The domain a guest is, as libvirt's XML.  Built as a tree: no value can become markup."""

import re
from dataclasses import dataclass
from pathlib import Path

from lxml import etree
from lxml.builder import E

from nova.virt.driver import InstanceSpec
from nova.virt.libvirt import volumes
from nova.virt.libvirt.disks import Record
from nova.virt.libvirt.files import Owner

NAMESPACE = "urn:snakestack:nova:instance:1"
_LABEL = f"{{{NAMESPACE}}}instance"
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KERNEL_COMMAND_LINE = "root=/dev/vda console=tty0 console=ttyS0"

PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


@dataclass(frozen=True)
class Machine:
    """How guests of this host are run, the same for all of them."""

    virt_type: str                 # "kvm" or "qemu"
    arch: str = "x86_64"
    machine_type: str = "pc"
    cpu_mode: str = "maximum"
    owner: Owner = Owner()
    initiator: str = ""            # iSCSI name of this host


@dataclass(frozen=True)
class Paths:
    """Where a guest's files are."""

    directory: Path
    base: Path | None
    base_format: str
    kernel: Path | None
    ramdisk: Path | None
    console_log: Path


def domain(spec: InstanceSpec, record: Record, paths: Paths, machine: Machine) -> str:
    """Return the XML of the domain of an instance."""
    root = E.domain(
        E.name(spec.name),
        E.uuid(spec.id),
        _metadata(spec),
        E.memory(str(spec.memory_mb), unit="MiB"),
        E.vcpu(str(spec.vcpus)),
        E.sysinfo(
            E.system(
                E.entry("snakestack", name="manufacturer"),
                E.entry("nova", name="product"),
                # Never the host's own serial number.
                E.entry(spec.id, name="serial"),
                E.entry(spec.id, name="uuid")),
            type="smbios"),
        _os(spec, paths, machine),
        E.features(E.acpi(), E.apic()),
        E.clock(E.timer(name="pit", tickpolicy="delay"), E.timer(name="rtc", tickpolicy="catchup"),
                offset="utc"),
        E.on_poweroff("destroy"), E.on_reboot("restart"), E.on_crash("destroy"),
        _devices(spec, record, paths, machine),
        type=machine.virt_type)
    if machine.arch in ("x86_64", "i686"):
        root.append(E.cpu(mode=machine.cpu_mode))
    if machine.owner.uid >= 0:
        # The files' owners are ours to set: libvirt changing those of a base image that several
        # guests share would take it away from the others when one of them ends.
        root.append(E.seclabel(E.label(f"+{machine.owner.uid}:+{machine.owner.gid}"),
                               type="static", model="dac", relabel="no"))
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def text(value: str) -> str:
    """Return text without the characters XML has no way to say."""
    return _NOT_IN_XML.sub("?", value)


def _metadata(spec: InstanceSpec) -> etree._Element:
    label = etree.Element(_LABEL, nsmap={"nova": NAMESPACE}, id=spec.id)
    for name, value in (("project", spec.project_id), ("user", spec.user_id),
                        ("name", spec.display_name), ("flavor", spec.flavor_name),
                        ("image", spec.image_id or "")):
        etree.SubElement(label, f"{{{NAMESPACE}}}{name}").text = text(value)
    metadata = E.metadata()
    metadata.append(label)
    return metadata


def _os(spec: InstanceSpec, paths: Paths, machine: Machine) -> etree._Element:
    element = E.os(E.type("hvm", arch=machine.arch, machine=machine.machine_type))
    if paths.kernel is not None:
        element.append(E.kernel(str(paths.kernel)))
        if paths.ramdisk is not None:
            element.append(E.initrd(str(paths.ramdisk)))
        extra = str(spec.image_properties.get("os_command_line") or "")
        element.append(E.cmdline(text(f"{KERNEL_COMMAND_LINE} {extra}".strip())))
    else:
        element.append(E.boot(dev="hd"))
    element.append(E.smbios(mode="sysinfo"))
    return element


def _devices(spec: InstanceSpec, record: Record, paths: Paths,
             machine: Machine) -> etree._Element:
    devices = E.devices()
    for volume in spec.volumes:
        devices.append(volumes.disk(volume, machine.initiator))
    for disk in record.disks:
        if disk.device == "cdrom":
            devices.append(E.disk(
                E.driver(name="qemu", type=disk.format),
                E.source(file=str(paths.directory / disk.file)),
                E.target(dev=disk.target, bus="ide"), E.readonly(),
                type="file", device="cdrom"))
            continue
        element = E.disk(
            E.driver(name="qemu", type=disk.format, cache="writeback", discard="unmap"),
            E.source(file=str(paths.directory / disk.file)),
            E.target(dev=disk.target, bus="virtio"), type="file", device="disk")
        if disk.format == "qcow2":
            # The whole chain is spelled out, so that nobody reads it off the images.
            element.insert(2, E.backingStore(
                E.format(type=paths.base_format), E.source(file=str(paths.base)),
                E.backingStore(), type="file"))
        devices.append(element)
    for vif in spec.vifs:
        devices.append(E.interface(
            E.mac(address=vif.mac), E.target(dev=vif.tap, managed="no"),
            E.model(type="virtio"), E.driver(name="qemu"), E.mtu(size=str(vif.mtu)),
            type="ethernet"))
    devices.extend([
        E.serial(E.log(file=str(paths.console_log), append="on"), E.target(port="0"), type="pty"),
        E.console(E.target(type="serial", port="0"), type="pty"),
        E.video(E.model(type="vga")),
        E.rng(E.backend("/dev/urandom", model="random"), model="virtio"),
        E.memballoon(model="none")])
    return devices


@dataclass(frozen=True)
class Label:
    """What a domain's metadata says about whose it is."""

    id: str
    project_id: str | None


def label_of(domain_xml: str) -> Label | None:
    """Return the label of a domain; None for one that is none of ours."""
    tree = etree.fromstring(domain_xml, PARSER)
    found = tree.find(f"metadata/{_LABEL}")
    if found is None or not found.get("id"):
        return None
    return Label(found.get("id"), found.findtext(f"{{{NAMESPACE}}}project"))


def taps_of(domain_xml: str) -> list[str]:
    """Return the names of the host's devices a domain is plugged into."""
    tree = etree.fromstring(domain_xml, PARSER)
    return [target.get("dev") for target in tree.findall("devices/interface/target")
            if target.get("dev")]
