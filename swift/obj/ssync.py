# SPDX-License-Identifier: Apache-2.0
"""What both ends of SSYNC say on the wire; the same as OpenStack Swift's.

    SSYNC /sda/12 HTTP/1.1                 one request; both bodies are chunked and flow at once
    > :MISSING_CHECK: START                the sender says what it has ...
    > <hash> <time of data> [m:<ticks from there to its metadata>,t:<to its content type>,
                             durable:False]                     for a fragment that is not
    > :MISSING_CHECK: END
    < :MISSING_CHECK: START                ... the receiver what of that it lacks (d, m or dm) ...
    < <hash> dm
    < :MISSING_CHECK: END
    > :UPDATES: START                      ... and gets it
    > PUT /a/c/o, headers, an empty line, Content-Length bytes; also POST and DELETE
    > :UPDATES: END
    < :UPDATES: START
    < :UPDATES: END                        everything is stored
    < :ERROR: 503 'why'                    instead of any of the receiver's lines
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from swift.common.conf import config_true
from swift.common.storage import is_hash
from swift.common.timestamp import Timestamp
from swift.obj.ondisk import Chosen

MAX_LINE = 65536
MAX_HEADERS = 500
_READ = 65536


class SsyncError(Exception):
    """The exchange cannot go on; `status` is what HTTP would call it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Stream:
    """Lines and counted bytes out of `read(most)`, which gives b"" at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = b""
        self._at = 0

    def line(self) -> bytes:
        """The next line without its end. SsyncError when the body ends, or the line does not."""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(self._buffer) - self._at > MAX_LINE:
                raise SsyncError(400, "a line is too long")
            data = self._read(_READ)
            if not data:
                raise SsyncError(400, "the other side stopped in the middle")
            self._buffer = self._buffer[self._at:] + data
            self._at = 0
        line = self._buffer[self._at:end]
        self._at = end + 1
        return line.strip(b"\r\n")

    def body(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes in pieces."""
        while size:
            if self._at < len(self._buffer):
                data = self._buffer[self._at:self._at + size]
                self._at += len(data)
            else:
                data = self._read(min(size, _READ))
                if not data:
                    raise SsyncError(400, "the other side stopped in the middle of a body")
            size -= len(data)
            yield data

    def expect(self, wanted: bytes) -> None:
        """Skip empty lines up to the line `wanted`; SsyncError for anything else."""
        while not (line := self.line()):
            pass
        if line.startswith(b":ERROR:"):
            raise SsyncError(*parse_error(line))
        if line != wanted:
            raise SsyncError(400, f"expected {wanted.decode()}, got {line[:80]!r}")


def parse_error(line: bytes) -> tuple[int, str]:
    """(status, text) of an `:ERROR:` line."""
    words = line.decode("utf-8", "replace").strip().split(" ", 2)
    status = words[1] if len(words) > 1 else ""
    return (int(status) if status.isdigit() else 500), unquote(" ".join(words[2:]))


def error_line(status: int, text: str) -> bytes:
    """The line that ends an exchange early."""
    return f":ERROR: {status} {quote(repr(text))}\r\n".encode()


@dataclass(slots=True)
class Version:
    """What one side has of an object: the times of its parts, `data` also that of a tombstone."""

    name_hash: str
    data: Timestamp
    meta: Timestamp
    ctype: Timestamp
    durable: bool = True


def version_of(name_hash: str, chosen: Chosen) -> Version | None:
    """The version that files make; None when they make none."""
    base = chosen.data or chosen.ts
    if base is None:
        return None
    data = base.timestamp
    if chosen.data is None:
        return Version(name_hash, data, data, data)
    meta = chosen.meta.timestamp if chosen.meta else data
    ctype = chosen.ctype.ctype_timestamp if chosen.ctype else None
    return Version(name_hash, data, meta, ctype or data, chosen.data.durable)


def encode_missing(version: Version) -> bytes:
    """The line by which a sender offers a version."""
    more = []
    for key, moment in (("m", version.meta), ("t", version.ctype)):
        if moment != version.data:
            offset = f"__{moment.offset:x}" if moment.offset else ""
            more.append(f"{key}:{moment.raw - version.data.raw:x}{offset}")
    if not version.durable:
        more.append("durable:False")
    line = f"{version.name_hash} {version.data.internal}"
    return (line + (" " + ",".join(more) if more else "")).encode()


def decode_missing(line: bytes) -> Version:
    """The inverse; SsyncError for what is no such line. Unknown additions are passed over."""
    try:
        words = unquote(line.decode("ascii")).split()
        name_hash, data = words[0], Timestamp(words[1])
        if not is_hash(name_hash):
            raise ValueError
        version = Version(name_hash, data, data, data)
        for item in ",".join(words[2:]).split(","):
            key, _, value = item.partition(":")
            if key == "durable":
                version.durable = config_true(value)
            if key not in ("m", "t"):
                continue
            delta, _, offset = value.partition("__")
            moment = Timestamp(data.normal, offset=int(offset or "0", 16), delta=int(delta, 16))
            if key == "m":
                version.meta = moment
            else:
                version.ctype = moment
        return version
    except (ValueError, IndexError):
        raise SsyncError(400, f"not an offer of an object: {line[:80]!r}") from None


def wanted_of(theirs: Version, ours: Version | None, deleted: bool) -> str:
    """What a receiver wants of an offer, "d", "m", "dm" or ""; `ours` may be a tombstone's."""
    if ours is None:
        zero = Timestamp(0)
        ours = Version(theirs.name_hash, zero, zero, zero)
    if deleted and theirs.data <= ours.data:
        return ""
    # What has the time of the data comes with the data.
    newer = any(mine < its != theirs.data for its, mine in (
        (theirs.meta, ours.meta), (theirs.ctype, ours.ctype)))
    return ("d" if theirs.data > ours.data else "") + ("m" if newer else "")


def decode_wanted(line: bytes) -> tuple[str, str]:
    """(hash, what of it) a receiver wants; nothing said is the data."""
    words = line.decode("ascii", "replace").split()
    name_hash = unquote(words[0]) if words else ""
    if not is_hash(name_hash):
        raise SsyncError(400, f"not a wish for an object: {line[:80]!r}")
    return name_hash, words[1] if len(words) > 1 else "d"
