# SPDX-License-Identifier: Apache-2.0
"""What this host is and can do: processor, whom QEMU runs as, and whether KVM really works."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from nova.linux.files import write_json
from nova.virt.libvirt.files import Owner
from nova.virt.libvirt.xml import PARSER

LOG = logging.getLogger(__name__)

KVM_PROBE_TIMEOUT = 20     # seconds on the clock
# Seconds of processor.  Where KVM works a tenth of it is used; where every exit of the guest is
# emulated by yet another hypervisor the probe does end, after three, and no real guest ever boots.
KVM_PROBE_CPU = 1
# A boot sector: mov al, 0x10; out 0xf4, al; hlt.  QEMU's debug-exit device ends QEMU with
# status 2 * 0x10 + 1, so a status of 33 means a virtual processor has run.
_BOOT_SECTOR = b"\xb0\x10\xe6\xf4\xf4".ljust(510, b"\0") + b"\x55\xaa"
_PROBE_STATUS = 33


@dataclass(frozen=True)
class Capabilities:
    """What libvirt says of the host."""

    arch: str
    owner: Owner
    cpu_info: Mapping[str, Any] = field(default_factory=dict)


def parse_capabilities(text: str) -> Capabilities:
    """Read libvirt's capabilities XML."""
    host = etree.fromstring(text, PARSER).find("host")
    cpu = host.find("cpu")
    arch = cpu.findtext("arch") or os.uname().machine
    topology = cpu.find("topology")
    info = {
        "arch": arch, "model": cpu.findtext("model") or "", "vendor": cpu.findtext("vendor") or "",
        "topology": {name: int(topology.get(name, 1)) for name in ("sockets", "cores", "threads")}
        if topology is not None else {},
        "features": sorted(feature.get("name") for feature in cpu.findall("feature"))}
    return Capabilities(arch, _owner(host), info)


def _owner(host: etree._Element) -> Owner:
    """Find out as whom QEMU runs: the base label of the DAC security model."""
    for model in host.findall("secmodel"):
        if model.findtext("model") == "dac":
            label = model.findtext("baselabel[@type='qemu']") or model.findtext("baselabel") or ""
            uid, _, gid = label.replace("+", "").partition(":")
            if uid.isdigit() and gid.isdigit():
                return Owner(int(uid), int(gid))
    return Owner()


def choose_virt_type(wanted: str, state_file: Path) -> str:
    """Return ``kvm`` or ``qemu``: as wanted, or (``auto``) what really starts a guest here.

    The answer is remembered in ``state_file`` until the next boot of the host.
    """
    if wanted != "auto":
        return wanted
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        LOG.warning("No /dev/kvm: guests run in software (TCG), many times slower")
        return "qemu"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        known = json.loads(state_file.read_bytes())
        if known["boot_id"] == boot_id:
            return known["virt_type"]
    works = kvm_works()
    if not works:
        LOG.warning("/dev/kvm is there and starts no guest: guests run in software (TCG), many "
                    "times slower")
    virt_type = "kvm" if works else "qemu"
    write_json(state_file, {"boot_id": boot_id, "virt_type": virt_type})
    return virt_type


def kvm_works(timeout: float = KVM_PROBE_TIMEOUT) -> bool:
    """Start a machine of one boot sector under KVM; tell whether it ran within its limits."""
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        return False
    with tempfile.NamedTemporaryFile() as sector:
        sector.write(_BOOT_SECTOR)
        sector.flush()
        process = subprocess.Popen(
            ["prlimit", f"--cpu={KVM_PROBE_CPU}", "--", program, "-nodefaults",
             "-display", "none", "-machine", "pc,accel=kvm", "-m", "16",
             "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-no-reboot",
             "-drive", f"file={sector.name},format=raw,if=ide,readonly=off,snapshot=on"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return process.wait(timeout) == _PROBE_STATUS
        except subprocess.TimeoutExpired:
            process.kill()
            # One that hangs in the kernel may not even die; nobody waits for it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            return False
