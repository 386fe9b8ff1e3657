# SPDX-License-Identifier: Apache-2.0
"""The receiving end of SSYNC: says what it lacks of what a peer has, and stores it.

Updates go straight to the disk: no container is told (whoever took the object first has done that)
and no expirer. What the peer says is text, never a pickle, and names of files are made here.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from swift.common.backend_server import Answer, Request
from swift.common.concurrency import sleep
from swift.common.conf import config_true
from swift.common.durable import lock_one_of
from swift.common.exceptions import (
    ChunkReadError,
    ChunkReadTimeout,
    DiskFileBadFragment,
    DiskFileCollision,
    DiskFileDeleted,
    DiskFileMetadataTooLarge,
    DiskFileNoSpace,
    DiskFileNotExist,
    DiskFileQuarantined,
    InsufficientStorage,
    LockTimeout,
)
from swift.common.storage import storage_directory
from swift.common.storage_policy import StoragePolicy
from swift.common.timestamp import Timestamp
from swift.obj.backend import DiskFile
from swift.obj.ec_backend import EcDiskFile
from swift.obj.ec_ondisk import ChosenFragment
from swift.obj.ssync import (
    MAX_HEADERS,
    SsyncError,
    Stream,
    Version,
    decode_missing,
    error_line,
    version_of,
    wanted_of,
)

if TYPE_CHECKING:
    from swift.obj.server import ObjectApp

Headers = dict[str, str]
_YIELD_EVERY = 200            # objects looked at before others get their turn


def answer(app: ObjectApp, request: Request, policy: StoragePolicy) -> Answer:
    """The answer to an SSYNC request: begun at once, ended when the peer's updates are stored."""
    device, partition = request.split(2, 2)
    assert device and partition
    receiver = Receiver(app, request, device, partition, policy)
    # Without `Connection: close`: real Swift's sender would take a new one for what it sends.
    return Answer(200, iter(receiver), {"X-Backend-Accept-No-Commit": "True"},
                  content_type="text/plain")


class Receiver:
    """One exchange; iterate over it for the answer's body."""

    def __init__(self, app: ObjectApp, request: Request, device: str, partition: str,
                 policy: StoragePolicy) -> None:
        self.app, self.manager, self.logger = app, app.manager, app.logger
        self.device, self.partition, self.policy = device, partition, policy
        self.part_dir = f"{app.manager.device_path(device)}/{policy.datadir}/{partition}"
        self.stream = Stream(request.env["wsgi.input"].read1)
        self.frag_index = self._frag_index_of(request)
        self.peer = request.env.get("REMOTE_ADDR", "-")
        self.successes = self.failures = 0

    def _frag_index_of(self, request: Request) -> int | None:
        """Which fragment the sender wants to be here."""
        text = request.env.get("HTTP_X_BACKEND_SSYNC_FRAG_INDEX")
        if not text or self.policy.coding is None:
            return None
        if not (text.isascii() and text.isdigit()) or int(text) >= self.policy.coding.unique:
            raise Answer(400, "X-Backend-Ssync-Frag-Index is no fragment of this policy")
        return int(text)

    def __iter__(self) -> Iterator[bytes]:
        if not self.app.ssyncs.acquire(blocking=False):
            yield error_line(503, "as many exchanges run as replication_concurrency allows")
            return
        try:
            yield b"\r\n"                     # the sender waits for the head of the answer
            with self._turn():
                yield self._missing_check()
                yield self._updates()
        except SsyncError as exc:
            self._log(exc)
            yield error_line(exc.status, str(exc))
        except (ChunkReadError, ChunkReadTimeout) as exc:
            self._log(exc)                    # nobody is there to be told
        except InsufficientStorage as exc:
            yield error_line(507, f"{exc.drive} is not mounted")
        except (OSError, LockTimeout) as exc:
            self._log(exc)
            yield error_line(500, str(exc) or "the partition is locked")
        finally:
            self.app.ssyncs.release()

    def _turn(self) -> AbstractContextManager[object]:
        """What is held by one of as many exchanges as the device takes at a time; SsyncError when
        they leave none for too long."""
        count = self.app.ssyncs_per_device
        if not count:
            return nullcontext()
        timeout = self.app.ssync_lock_timeout
        try:
            return lock_one_of(count, self.part_dir.rsplit("/", 2)[0], timeout, "replication")
        except LockTimeout:
            raise SsyncError(503, f"{timeout:g} seconds passed, and as many exchanges still run as "
                             "replication_concurrency_per_device allows") from None

    def _log(self, exc: Exception) -> None:
        self.logger.error("ERROR SSYNC of %s from %s: %s", self.part_dir, self.peer,
                          exc or type(exc).__name__)

    # -- what is missing -------------------------------------------------

    def _missing_check(self) -> bytes:
        self.stream.expect(b":MISSING_CHECK: START")
        lines = [b":MISSING_CHECK: START"]
        count = 0
        while (line := self.stream.line()) != b":MISSING_CHECK: END":
            if not line:
                continue
            theirs = decode_missing(line)
            wanted = self._wanted(theirs)
            if wanted:
                lines.append(f"{theirs.name_hash} {wanted}".encode())
            count += 1
            if count % _YIELD_EVERY == 0:
                sleep()
        return b"\r\n".join([*lines, b":MISSING_CHECK: END", b""])

    def _wanted(self, theirs: Version) -> str:
        suffix_and_hash = storage_directory("", self.partition, theirs.name_hash).split("/", 2)[2]
        hash_dir = f"{self.part_dir}/{suffix_and_hash}"
        diskfile = self.manager.diskfile_from_hash_dir(
            hash_dir, self.part_dir.rsplit("/", 2)[0], self.policy)
        if isinstance(diskfile, EcDiskFile):
            return self._wanted_fragment(theirs, diskfile)
        try:
            chosen = diskfile.choose(os.listdir(hash_dir))
        except (FileNotFoundError, NotADirectoryError):
            return wanted_of(theirs, None, False)
        ours = version_of(theirs.name_hash, chosen)
        return wanted_of(theirs, ours, chosen.data is None)

    def _wanted_fragment(self, theirs: Version, diskfile: EcDiskFile) -> str:
        """As `_wanted`; a fragment that is here, and durable over there, is made durable."""
        chosen = self._fragment(diskfile)
        here = [info.frag_index for info in chosen.fragments.get(theirs.data, ())]
        index = self.frag_index
        newer = chosen.durable is None or chosen.durable < theirs.data
        if newer and index in here and index is not None and theirs.durable:
            try:
                diskfile.make_durable(theirs.data, index)
            except DiskFileNotExist:
                pass                              # it went this moment: have it sent
            chosen = self._fragment(diskfile)
        ours = version_of(theirs.name_hash, chosen)
        if newer and index in here and not theirs.durable:
            # Just what they offer; that there is something durable and older does not matter.
            ours = ours or Version(theirs.name_hash, theirs.data, theirs.meta, theirs.ctype)
            ours.data = theirs.data
        return wanted_of(theirs, ours, chosen.data is None and chosen.ts is not None)

    def _fragment(self, diskfile: EcDiskFile) -> ChosenFragment:
        """What is here of the fragment that should be."""
        diskfile.frag_index = self.frag_index
        try:
            return diskfile.choose(os.listdir(diskfile.datadir))
        except (FileNotFoundError, NotADirectoryError):
            return ChosenFragment()

    # -- updates ---------------------------------------------------------

    def _updates(self) -> bytes:
        self.stream.expect(b":UPDATES: START")
        while (line := self.stream.line()) != b":UPDATES: END":
            if line and not self._update(line) and \
                    self.failures >= self.app.failure_threshold and \
                    self.failures > self.app.failure_ratio * self.successes:
                break                             # the rest would fail as well
        if self.failures:
            raise SsyncError(500, f"{self.failures} updates failed, {self.successes} succeeded")
        return b":UPDATES: START\r\n:UPDATES: END\r\n"

    def _update(self, line: bytes) -> bool:
        """Store one update; whether that could be done."""
        method, _, path = line.partition(b" ")
        names = unquote_to_bytes(path).decode("utf-8", "surrogateescape").split("/", 3)
        if method not in (b"PUT", b"POST", b"DELETE") or len(names) != 4 or names[0] or \
                not all(names[1:]) or "\0" in "".join(names):
            raise SsyncError(400, f"not an update: {line[:80]!r}")
        headers = self._headers()
        diskfile = self.manager.diskfile(self.device, self.partition, names[1], names[2],
                                         names[3], self.policy, open_expired=True)
        try:
            timestamp = Timestamp(headers.get("X-Timestamp", ""))
        except ValueError:
            raise SsyncError(400, f"{method.decode()}: X-Timestamp is missing or none") from None
        try:
            if method == b"PUT":
                fine = self._put(diskfile, headers, timestamp)
            elif method == b"POST":
                fine = self._post(diskfile, headers, timestamp)
            else:
                fine = self._delete(diskfile, timestamp)
        except DiskFileNoSpace as exc:
            raise SsyncError(507, f"no space: {exc}") from exc
        except (DiskFileMetadataTooLarge, DiskFileCollision, DiskFileBadFragment) as exc:
            self._log(exc)
            fine = False
        self.successes += fine
        self.failures += not fine
        return fine

    def _headers(self) -> Headers:
        """Header lines as metadata: names in title case, real text."""
        headers: Headers = {}
        while line := self.stream.line():
            name, colon, value = line.partition(b":")
            if not colon or len(headers) >= MAX_HEADERS:
                raise SsyncError(400, f"not a header, or too many: {line[:80]!r}")
            headers[name.strip().title().decode("utf-8", "surrogateescape")] = \
                value.strip(b" \t").decode("utf-8", "surrogateescape")
        headers.pop("Name", None)
        return headers

    def _stored(self, diskfile: DiskFile, index: int | None = None) -> Timestamp:
        """The time of the data - of fragment `index`, if given - or tombstone that is here."""
        if isinstance(diskfile, EcDiskFile):
            diskfile.frag_index = index
        try:
            with diskfile.open():
                return diskfile.data_timestamp
        except DiskFileDeleted as exc:
            return Timestamp(exc.timestamp)
        except (DiskFileNotExist, DiskFileQuarantined):
            return Timestamp(0)

    def _put(self, diskfile: DiskFile, headers: Headers, timestamp: Timestamp) -> bool:
        length = headers.pop("Content-Length", "")
        if not length.isdigit() or int(length) > self.app.max_file_size:
            raise SsyncError(400, "PUT: Content-Length is missing, no number or too large")
        body = self.stream.body(int(length))
        durable = not config_true(headers.pop("X-Backend-No-Commit", ""))
        if "Content-Type" not in headers or \
                self._stored(diskfile, self.frag_index) >= timestamp:
            for _ in body:
                pass
            return "Content-Type" in headers      # what is here is as new: all is well
        with diskfile.create(int(length)) as writer:
            for chunk in body:
                writer.write(chunk)
            size, etag = writer.finish()
            if headers.get("Etag", etag).strip('" ').lower() != etag:
                self.logger.error("ERROR SSYNC of %s from %s: %s does not match its ETag",
                                  self.part_dir, self.peer, diskfile.name)
                return False
            headers.pop("Etag", None)
            writer.put({**headers, "X-Timestamp": timestamp.internal, "ETag": etag,
                        "Content-Length": str(size)})
        if durable and isinstance(diskfile, EcDiskFile) and diskfile.frag_index is not None:
            diskfile.make_durable(timestamp, diskfile.frag_index)
        return True

    def _post(self, diskfile: DiskFile, headers: Headers, timestamp: Timestamp) -> bool:
        ctype = headers.get("Content-Type-Timestamp")
        try:
            typed = Timestamp(ctype) if ctype else None
            with diskfile.open():
                pass
        except ValueError:
            raise SsyncError(400, "POST: Content-Type-Timestamp is none") from None
        except (DiskFileNotExist, DiskFileQuarantined):
            return True                           # it is gone: what is new of it has no use
        if timestamp > diskfile.timestamp or (
                typed is not None and typed > diskfile.content_type_timestamp):
            diskfile.write_metadata({**headers, "X-Timestamp": timestamp.internal})
        return True

    def _delete(self, diskfile: DiskFile, timestamp: Timestamp) -> bool:
        if self._stored(diskfile) < timestamp:
            diskfile.delete(timestamp)
        return True
