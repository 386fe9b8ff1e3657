# SPDX-License-Identifier: Apache-2.0
"""The management socket of tgtd, the iSCSI target daemon of Debian's package ``tgt``.

tgtadm takes a CHAP secret as an argument, where everybody on the machine can read it; here it
goes straight into the daemon's socket, which is root's.  A request is a header of fixed size and
"key=value,key=value", the answer an error number and a text; each has a connection of its own.
Numbers and layout are those of tgt 1.0.85, in its order of bytes: this machine's.
"""

import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nova.exception import VolumeBackendError

TIMEOUT = 10.0          # seconds; tgtd answers from memory
_REQUEST = struct.Struct("=II64sIiQQIIIIII")
_ANSWER = struct.Struct("=II")
_NONE = 0xFFFFFFFFFFFFFFFF
MAX_ANSWER = 64 << 20

TARGET, UNIT, ACCOUNT = 1, 2, 7         # what a request is about
NEW, DELETE, SHOW, BIND, UNBIND, UPDATE = range(6)
_WORDS = {NEW: "make", DELETE: "remove", SHOW: "show", BIND: "bind", UNBIND: "unbind",
          UPDATE: "change", TARGET: "target", UNIT: "unit", ACCOUNT: "account"}
# A value with one of these would be two.
_FORBIDDEN = re.compile(r"[,=\0\n]")


@dataclass
class Target:
    """A target as tgtd shows it."""

    number: int
    name: str
    units: dict[int, str] = field(default_factory=dict)     # number -> path of the file behind
    accounts: set[str] = field(default_factory=set)
    allowed: set[str] = field(default_factory=set)          # addresses and initiators
    sessions: int = 0

    @property
    def complete(self) -> bool:
        """Whether somebody with an account can log in and find a unit."""
        return bool(self.units and self.accounts and self.allowed)


def fit(value: str) -> bool:
    """Tell whether tgtd can be told a value."""
    return not _FORBIDDEN.search(value)


class Tgt:
    """One tgtd."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, about: int, do: int, values: Mapping[str, str] | None = None, *,
            number: int = -1, unit: int = _NONE, force: bool = False) -> str:
        """Send one request and return the text of the answer; VolumeBackendError when it fails.

        Nothing that ``values`` hold is ever in the error.
        """
        for value in (values or {}).values():
            if not fit(value):
                raise ValueError("a value for tgtd has a comma, an equals sign or a line's end")
        action = f"{_WORDS[do]} tgtd's {_WORDS[about]}"
        text = ",".join(f"{name}={value}" for name, value in (values or {}).items()).encode()
        body = text + b"\0" if text else b""
        head = _REQUEST.pack(about, do, b"iscsi", _REQUEST.size + len(body), number, 0, unit,
                             0, 0, 0, 0, 0, int(force))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(TIMEOUT)
                sock.connect(str(self.path))
                sock.sendall(head + body)
                error, length = _ANSWER.unpack(_receive(sock, _ANSWER.size))
                rest = min(length - _ANSWER.size, MAX_ANSWER)
                answer = _receive(sock, rest) if rest > 0 else b""
        except OSError as failure:
            raise VolumeBackendError(
                action=action, reason=f"{self.path}: {failure.strerror or failure}") from failure
        if error:
            raise VolumeBackendError(action=action, reason=f"tgtd answers with error {error}")
        return answer.rstrip(b"\0").decode(errors="replace")

    # -- looking -----------------------------------------------------------------------------

    def targets(self) -> dict[int, Target]:
        """Return every target by its number."""
        return parse_targets(self.ask(TARGET, SHOW))

    def accounts(self) -> set[str]:
        """Return the names of every account."""
        return parse_accounts(self.ask(ACCOUNT, SHOW))

    # -- changing ----------------------------------------------------------------------------

    def new_target(self, number: int, name: str) -> None:
        """Make a target nobody may log in to yet."""
        self.ask(TARGET, NEW, {"targetname": name}, number=number)

    def new_unit(self, number: int, path: Path, serial: str) -> None:
        """Put a raw file behind unit 1 of a target; ``serial`` is what a guest reads off it.

        What the guest discards is given back to the file system and reads as zeros.
        """
        self.ask(UNIT, NEW, {"path": str(path), "bstype": "rdwr"}, number=number, unit=1)
        self.ask(UNIT, UPDATE, {
            "scsi_sn": serial, "vendor_id": "nova", "thin_provisioning": "1"},
            number=number, unit=1)

    def new_account(self, user: str, secret: str) -> None:
        """Make a CHAP account; it is good for nothing until it is bound."""
        self.ask(ACCOUNT, NEW, {"user": user, "password": secret})

    def bind_account(self, number: int, user: str) -> None:
        """Let nobody log in to a target without one of its accounts."""
        self.ask(ACCOUNT, BIND, {"user": user}, number=number)

    def allow(self, number: int, address: str) -> None:
        """Let logins come from an address; ``ALL`` is any."""
        self.ask(TARGET, BIND, {"initiator-address": address}, number=number)

    def allow_initiator(self, number: int, name: str) -> None:
        """Let an initiator of this name log in, and none of another."""
        self.ask(TARGET, BIND, {"initiator-name": name}, number=number)

    def remove_target(self, number: int) -> None:
        """Remove a target with all its sessions."""
        self.ask(TARGET, DELETE, number=number, force=True)

    def remove_account(self, user: str) -> None:
        """Remove an account."""
        self.ask(ACCOUNT, DELETE, {"user": user})


def _receive(sock: socket.socket, count: int) -> bytes:
    pieces = b""
    while len(pieces) < count:
        piece = sock.recv(min(count - len(pieces), 1 << 16))
        if not piece:
            raise ConnectionError("the answer is cut short")
        pieces += piece
    return pieces


_TARGET = re.compile(r"Target (\d+): (\S+)")
_UNIT = re.compile(r"LUN: (\d+)")
_SECTIONS = {"Account information:": "accounts", "ACL information:": "allowed",
             "LUN information:": "units", "I_T nexus information:": "sessions",
             "System information:": "system"}


def parse_targets(text: str) -> dict[int, Target]:
    """Read what tgtd shows of its targets."""
    found: dict[int, Target] = {}
    target, section, unit = None, "", -1
    for line in text.splitlines():
        word = line.strip()
        if (match := _TARGET.fullmatch(line)) is not None:
            target = found[int(match[1])] = Target(int(match[1]), match[2])
            section = ""
        elif target is None:
            continue
        elif word in _SECTIONS:
            section = _SECTIONS[word]
        elif section == "accounts" and word:
            target.accounts.add(word.split()[0])
        elif section == "allowed" and word:
            target.allowed.add(word)
        elif section == "sessions" and word.startswith("I_T nexus:"):
            target.sessions += 1
        elif section == "units":
            if (match := _UNIT.fullmatch(word)) is not None:
                unit = int(match[1])
            elif word.startswith("Backing store path:") and unit > 0:
                target.units[unit] = word.partition(": ")[2]
    return found


def parse_accounts(text: str) -> set[str]:
    """Read what tgtd shows of its accounts."""
    return {line.split()[0] for line in text.splitlines() if line.startswith(" ") and line.strip()}
