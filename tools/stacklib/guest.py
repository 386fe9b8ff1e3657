# SPDX-License-Identifier: Apache-2.0
"""Guests of a stack, asked from libvirt itself: they outlive every daemon of ours."""
import subprocess

from . import manage
from .layout import Cloud
from .probe import LIBVIRT_TIMEOUT

VIRSH = ["virsh", "-q", "-c", "qemu:///system"]


def _virsh(*arguments: str) -> str:
    """Output of virsh, nothing when libvirtd does not answer."""
    try:
        return subprocess.run([*VIRSH, *arguments], capture_output=True, text=True,
                              timeout=LIBVIRT_TIMEOUT, check=False).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""


def domains(cloud: Cloud, running_only: bool = False) -> list[str]:
    """Names of the libvirt domains whose disks lie in this stack's data directory."""
    if cloud.compute != "libvirt" or not cloud.has("nova"):
        return []
    names = _virsh("list", "--name", *([] if running_only else ["--all"])).split()
    return [name for name in names if f"{cloud.data}/" in _virsh("domblklist", name)]


def running(cloud: Cloud) -> list[str]:
    """Names of the guests that run now."""
    return domains(cloud, running_only=True)


def remove_all(cloud: Cloud) -> None:
    """No guest of this stack runs or is defined; its taps, bridge, rules and dnsmasq are gone."""
    if cloud.compute != "libvirt" or "prefix" not in cloud.facts:
        return
    for name in domains(cloud):
        _virsh("destroy", name)
        _virsh("undefine", name, "--managed-save", "--snapshots-metadata", "--nvram")
    manage.run("nova.linux.cleanup", "--prefix", str(cloud.facts["prefix"]),
               "--directory", str(cloud.data / "nova/networks"))
