# SPDX-License-Identifier: Apache-2.0
"""Guests of a stack, asked from libvirt itself: they outlive every daemon of ours."""
import json
import shlex
import subprocess
from pathlib import Path

from .layout import Cloud
from .probe import LIBVIRT_TIMEOUT

COMMAND_TIMEOUT = 20.0
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
    for name in domains(cloud):
        _virsh("destroy", name)
        _virsh("undefine", name, "--managed-save", "--snapshots-metadata", "--nvram")
    if cloud.compute != "libvirt" or "bridge" not in cloud.facts:
        return
    for pid_file in Path(cloud.data / "nova").rglob("*pid*"):
        pid = pid_file.read_text().strip() if pid_file.is_file() else ""
        command = Path(f"/proc/{pid}/cmdline")
        # a pid file may be older than the machine's last boot: only a dnsmasq of ours is ended
        if pid.isdigit() and command.exists() and str(cloud.data).encode() in command.read_bytes():
            _run("kill", pid)
    bridge = str(cloud.facts["bridge"])
    for row in json.loads(_run("ip", "-j", "link", "show", "master", bridge) or "[]"):
        if row["ifname"].startswith("tap"):
            _run("ip", "link", "delete", row["ifname"])
    _run("ip", "link", "delete", bridge)
    for table in ("filter", "nat", "mangle"):
        remove_chains(table, f"{cloud.facts['prefix']}-")


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT,
                          check=False).stdout


def remove_chains(table: str, prefix: str) -> None:
    """No chain of this prefix in an iptables table, and no rule that jumps to one."""
    rows = [shlex.split(row) for row in _run("iptables", "-w", "-t", table, "-S").splitlines()]
    for words in rows:
        if words[0] == "-A" and any(word.startswith(prefix) for word in words):
            _run("iptables", "-w", "-t", table, "-D", *words[1:])
    for words in rows:
        if words[0] == "-N" and words[1].startswith(prefix):
            _run("iptables", "-w", "-t", table, "-F", words[1])
            _run("iptables", "-w", "-t", table, "-X", words[1])
