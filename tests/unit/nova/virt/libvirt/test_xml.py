# SPDX-License-Identifier: Apache-2.0
"""The domain: every value in its place, whatever it holds."""

import uuid
from pathlib import Path

import pytest
from lxml import etree

from nova.network.model import VIF
from nova.virt.driver import InstanceSpec
from nova.virt.libvirt import host, xml
from nova.virt.libvirt.disks import Disk, Record
from nova.virt.libvirt.files import Owner

NASTY = "</name><on_crash>x</on_crash>&lt;\x00\x08\x1b\ud800\ufffe\U0001f40d ]]>"


def build(kernel=True, vifs=(), properties=None, **changes):
    one = str(uuid.uuid4())
    values = {"id": one, "project_id": "p", "user_id": "u", "display_name": "n",
              "hostname": "n", "vcpus": 2, "memory_mb": 128, "root_gb": 1, "image_id": "image"}
    spec = InstanceSpec(**{**values, **changes}, vifs=tuple(vifs),
                        image_properties=properties or {})
    record = Record(one, "p", (Disk("disk", "qcow2", "vda"), Disk("disk.swap", "raw", "vdb"),
                               Disk("disk.config", "raw", "hdd", "cdrom")), "base")
    folder = Path("/instances") / one
    paths = xml.Paths(folder, Path("/instances/_base/base"), "raw",
                      Path("/k") if kernel else None, Path("/r") if kernel else None,
                      folder / "console.log")
    text = xml.domain(spec, record, paths, xml.Machine("qemu", owner=Owner(107, 108)))
    return spec, etree.fromstring(text)


def test_disks_have_formats_and_the_chain_is_complete():
    """F5, F8: no format is left for anybody to guess."""
    _spec, tree = build()
    assert [(disk.get("device"), disk.find("driver").get("type"), disk.find("target").get("dev"))
            for disk in tree.findall("devices/disk")] == [
        ("disk", "qcow2", "vda"), ("disk", "raw", "vdb"), ("cdrom", "raw", "hdd")]
    chain = tree.find("devices/disk/backingStore")
    assert chain.find("format").get("type") == "raw"
    assert chain.find("source").get("file") == "/instances/_base/base"
    assert len(chain.find("backingStore")) == 0


def test_identity_and_label():
    spec, tree = build()
    assert tree.findtext("uuid") == spec.id
    assert tree.findtext("name") == f"instance-{spec.id}"
    assert tree.find("seclabel").get("relabel") == "no"
    assert tree.findtext("seclabel/label") == "+107:+108"
    label = xml.label_of(etree.tostring(tree, encoding="unicode"))
    assert (label.id, label.project_id) == (spec.id, "p")


def test_smbios_shows_the_instance_and_not_the_host():
    """L20: no serial number of the host."""
    spec, tree = build()
    entries = {one.get("name"): one.text for one in tree.findall("sysinfo/system/entry")}
    assert entries["serial"] == entries["uuid"] == spec.id


def test_kernel_or_disk():
    _spec, tree = build(properties={"os_command_line": "quiet"})
    assert tree.findtext("os/kernel") == "/k"
    assert tree.findtext("os/cmdline") == "root=/dev/vda console=tty0 console=ttyS0 quiet"
    _spec, tree = build(kernel=False)
    assert tree.find("os/kernel") is None
    assert tree.find("os/boot").get("dev") == "hd"


@pytest.mark.parametrize("field", ["display_name", "project_id", "user_id", "flavor_name",
                                   "image_id"])
def test_names_cannot_become_markup(field):
    _spec, tree = build(**{field: NASTY})
    assert tree.findtext("on_crash") == "destroy"
    assert len(tree.findall("on_crash")) == 1


def test_command_line_of_an_image_is_text():
    _spec, tree = build(properties={"os_command_line": NASTY})
    assert len(tree.findall("on_crash")) == 1


def test_interfaces_are_the_taps_made_before():
    vif = VIF(port_id="p", mac="fa:16:3e:00:00:01", tap="tap1", bridge="br100", network_id="n",
              network_name="n", mtu=1450)
    _spec, tree = build(vifs=[vif])
    interface = tree.find("devices/interface")
    assert interface.get("type") == "ethernet"
    assert interface.find("target").attrib == {"dev": "tap1", "managed": "no"}
    assert interface.find("mtu").get("size") == "1450"
    assert xml.taps_of(etree.tostring(tree, encoding="unicode")) == ["tap1"]


def test_strangers_have_no_label():
    assert xml.label_of("<domain><name>x</name></domain>") is None
    assert xml.label_of("<domain><metadata><x/></metadata></domain>") is None


def test_entities_are_not_resolved(tmp_path):
    """X1: XML from outside our code is parsed without entities from files."""
    canary = tmp_path / "canary"
    canary.write_text("canary")
    text = (f'<!DOCTYPE d [<!ENTITY x SYSTEM "file://{canary}">]><domain><metadata>'
            f'<n:instance xmlns:n="{xml.NAMESPACE}" id="1"><n:project>&x;</n:project>'
            '</n:instance></metadata></domain>')
    assert "canary" not in str(xml.label_of(text).project_id)


CAPABILITIES = """<capabilities><host><uuid>x</uuid><cpu><arch>x86_64</arch><model>EPYC</model>
<vendor>AMD</vendor><topology sockets='1' dies='1' cores='2' threads='1'/><feature name='svm'/>
</cpu><secmodel><model>none</model></secmodel><secmodel><model>dac</model>
<baselabel type='kvm'>+107:+108</baselabel><baselabel type='qemu'>+64055:+114</baselabel>
</secmodel></host></capabilities>"""


def test_capabilities():
    found = host.parse_capabilities(CAPABILITIES)
    assert found.owner == Owner(64055, 114)
    assert found.cpu_info["topology"] == {"sockets": 1, "cores": 2, "threads": 1}
    assert (found.arch, found.cpu_info["features"]) == ("x86_64", ["svm"])


def test_kvm_is_probed_once_a_boot(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(host, "kvm_works", lambda: calls.append(1) or True)
    monkeypatch.setattr(host.os, "access", lambda *_args: True)
    state = tmp_path / "host.json"
    assert host.choose_virt_type("auto", state) == "kvm"
    assert host.choose_virt_type("auto", state) == "kvm"
    assert len(calls) == 1
    state.write_text('{"boot_id": "another", "virt_type": "kvm"}')
    monkeypatch.setattr(host, "kvm_works", lambda: False)
    assert host.choose_virt_type("auto", state) == "qemu"
    assert host.choose_virt_type("kvm", state) == "kvm"
