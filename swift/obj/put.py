# SPDX-License-Identifier: Apache-2.0
"""One PUT of an object server: from the request's headers to the stored file and its row.

Metadata may also come after the body (footers), and the object may have to wait for a second word
before it counts (two phases); `swift.obj.mime` shows what such a body looks like. Called by
ObjectApp alone.
"""
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from swift.common.backend_server import Answer, Request, header_name, text_of
from swift.common.conditional import etag_list
from swift.common.conf import config_true
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
)
from swift.common.storage import is_hash
from swift.common.timestamp import Timestamp
from swift.obj import checksum
from swift.obj.backend import DiskFile, Writer
from swift.obj.container_update import container_update
from swift.obj.ec_backend import EcDiskFile
from swift.obj.mime import Documents

if TYPE_CHECKING:
    from swift.obj.server import ObjectApp

# environ prefixes of metadata that comes with a PUT; what footers may bring of it
PREFIXES = ("HTTP_X_OBJECT_META_", "HTTP_X_OBJECT_SYSMETA_", "HTTP_X_OBJECT_TRANSIENT_SYSMETA_")
_FOOTERS = ("X-Object-Meta-", "X-Object-Sysmeta-", "X-Object-Transient-Sysmeta-")
# What the container is told instead of what was stored; the later counts.
_OVERRIDES = ("X-Backend-Container-Update-Override-",
              "X-Object-Sysmeta-Container-Update-Override-")
_KEYS = tuple("HTTP_" + prefix.upper().replace("-", "_") for prefix in _OVERRIDES)


class Put:
    """The request and how far it has come."""

    def __init__(self, app: ObjectApp, request: Request) -> None:
        self.app, self.request, self.env = app, request, request.env
        self.documents: Documents | None = None
        self.two_phases = False
        self.has_footers = False
        self.is_hashed = False            # by the proxy, which sends md5 and CRC after the body

    def answer(self) -> Answer:
        """Store the new version; 201."""
        app, request, env = self.app, self.request, self.env
        timestamp = request.timestamp()
        content_type = env.get("CONTENT_TYPE")
        if not content_type:
            raise Answer(400, "No content type")
        delete_at = app.delete_at_of(request, timestamp)
        size = self._declared_size()
        diskfile, device, names = app.diskfile_of(request, open_expired=True)
        old_delete_at = self._check_newer(diskfile, timestamp)
        footers: dict[str, str] = {}
        try:
            self._look_at_framing(diskfile)
            with diskfile.create(size, hashed=not self.is_hashed) as writer:
                self._receive(self._source(size), writer, size)
                length, etag = writer.finish()
                if self.documents is not None:
                    footers = self._footers()
                if self.is_hashed:
                    etag = self._given_etag(footers, writer.crc)
                metadata = {"X-Timestamp": timestamp.internal,
                            "Content-Type": text_of(content_type), "ETag": etag,
                            "Content-Length": str(length)}
                metadata.update(app.metadata_of(request, PREFIXES))
                if footers:
                    metadata.update((name, value) for name, value in footers.items()
                                    if name.startswith(_FOOTERS))
                self._check_etag(footers, etag)
                writer.put(metadata)
                if self.documents is not None or isinstance(diskfile, EcDiskFile):
                    self._make_durable(diskfile, timestamp)
        except DiskFileMetadataTooLarge:
            raise app.too_much_metadata() from None
        except DiskFileBadFragment as exc:
            raise Answer(400, str(exc)) from None
        except DiskFileNoSpace as exc:
            app.logger.error("ERROR no space for %s: %s", env["PATH_INFO"], exc)
            raise InsufficientStorage(device) from exc
        app.update_expirer(request, delete_at, old_delete_at, device, names, diskfile.policy,
                           length)
        container_update(app, request, "PUT", device, names, diskfile.policy,
                         self._row_of(metadata, footers))
        return Answer(201, b"", {"ETag": f'"{etag}"'})

    # -- before the body -------------------------------------------------

    def _declared_size(self) -> int | None:
        env = self.env
        length = env.get("CONTENT_LENGTH")
        if length is None:
            if env.get("HTTP_TRANSFER_ENCODING", "").lower() != "chunked":
                raise Answer(411, "Missing Content-Length header.")
            length = env.get("HTTP_X_BACKEND_OBJ_CONTENT_LENGTH")
            if length is None:
                return None
            if not (length.isascii() and length.isdigit()):
                raise Answer(400, "X-Backend-Obj-Content-Length is no number")
        size = int(length)
        if size > self.app.max_file_size:
            raise Answer(413, "Your request is too large.")
        return size

    def _check_newer(self, diskfile: DiskFile, timestamp: Timestamp) -> int:
        """409 unless `timestamp` is newer than what is stored; 412 for If-None-Match of it.

        X-Delete-At of what is stored, 0 without.
        """
        none_match = self.env.get("HTTP_IF_NONE_MATCH")
        try:
            with diskfile.open():
                stored = diskfile.data_timestamp
                metadata = diskfile.metadata
        except DiskFileDeleted as exc:
            stored, metadata = Timestamp(exc.timestamp), {}
        except (DiskFileNotExist, DiskFileQuarantined):
            return 0
        except DiskFileCollision:
            raise Answer(403, "Another object of the same hash is stored") from None
        if metadata and none_match is not None:
            wanted = etag_list(none_match)
            if "*" in wanted or metadata.get("ETag") in wanted:
                raise Answer(412, "A precondition for this request was not met.",
                             {"X-Backend-Timestamp": stored.internal})
        if stored >= timestamp:
            raise Answer(409, "There was a conflict when trying to complete your request.",
                         {"X-Backend-Timestamp": stored.internal})
        return int(metadata.get("X-Delete-At") or 0)

    def _look_at_framing(self, diskfile: DiskFile) -> None:
        env = self.env
        self.has_footers = config_true(env.get("HTTP_X_BACKEND_OBJ_METADATA_FOOTER", ""))
        self.two_phases = config_true(env.get("HTTP_X_BACKEND_OBJ_MULTIPHASE_COMMIT", ""))
        self.is_hashed = self.has_footers and not isinstance(diskfile, EcDiskFile) and \
            env.get("HTTP_X_BACKEND_OBJ_BODY_CHECKSUM") == checksum.NAME

    def _source(self, size: int | None) -> Any:
        """What to read the object's bytes from; tells a proxy that asks what is understood."""
        env = self.env
        body = env["wsgi.input"]
        if not self.has_footers and not self.two_phases:
            return body
        boundary = env.get("HTTP_X_BACKEND_OBJ_MULTIPART_MIME_BOUNDARY")
        if not boundary:
            raise Answer(400, "X-Backend-Obj-Multipart-Mime-Boundary is missing")
        understood = [(name, "yes") for name, asked in (
            ("X-Obj-Metadata-Footer", self.has_footers),
            ("X-Obj-Multiphase-Commit", self.two_phases)) if asked]
        body.set_hundred_continue_response_headers(understood)
        self.documents = Documents(body.read1, boundary, size)
        try:
            self.documents.begin()
        except (ChunkReadError, ChunkReadTimeout) as exc:
            raise self._broken_off(exc) from None
        return self.documents

    # -- the body --------------------------------------------------------

    @staticmethod
    def _broken_off(exc: Exception | ChunkReadTimeout) -> Answer:
        if isinstance(exc, ChunkReadTimeout):
            return Answer(408, "The body did not come in time", {"Connection": "close"})
        return Answer(499, "The client went away", {"Connection": "close"})

    def _receive(self, source: Any, writer: Writer, size: int | None) -> None:
        """Feed the request's body to the writer."""
        app = self.app
        deadline = time.time() + app.max_upload_time
        read, chunk_size = source.read1, app.network_chunk_size
        received = 0
        try:
            while chunk := read(chunk_size):
                received = writer.write(chunk)
                if time.time() > deadline:
                    raise Answer(408, "The upload took longer than max_upload_time")
                if received > app.max_file_size:
                    raise Answer(413, "Your request is too large.")
        except (ChunkReadError, ChunkReadTimeout) as exc:
            raise self._broken_off(exc) from None
        if size is not None and received != size:
            raise Answer(499, "The body is shorter than its Content-Length",
                         {"Connection": "close"})

    def _footers(self) -> dict[str, str]:
        """The metadata that came after the body."""
        assert self.documents is not None
        if not self.has_footers:
            return {}
        try:
            return self.documents.footers()
        except (ChunkReadError, ChunkReadTimeout) as exc:
            raise self._broken_off(exc) from None

    @staticmethod
    def _given_etag(footers: dict[str, str], crc: int) -> str:
        """The md5 a proxy computed, once its CRC says that we got the bytes it hashed."""
        etag = footers.get("Etag", "")
        if not is_hash(etag) or footers.get("X-Backend-Body-Checksum") != f"{crc:016x}":
            raise Answer(422, "The body does not match its checksum")
        return etag

    def _check_etag(self, footers: dict[str, str], etag: str) -> None:
        given = footers.get("Etag", self.env.get("HTTP_ETAG", "")).strip('" ').lower()
        if given and given != etag:
            raise Answer(422, "The body does not match its ETag")

    # -- after the body --------------------------------------------------

    def _make_durable(self, diskfile: DiskFile, timestamp: Timestamp) -> None:
        """Wait for the second word, if there is one; then the object counts."""
        if self.two_phases:
            assert self.documents is not None
            try:
                self.documents.end_phase()
                self.env["wsgi.input"].send_hundred_continue_response()
                if not self.documents.is_commit():
                    raise Answer(500, "The commit document is none")
            except (ChunkReadError, ChunkReadTimeout) as exc:
                raise self._broken_off(exc) from None
        if isinstance(diskfile, EcDiskFile):
            assert diskfile.frag_index is not None
            diskfile.make_durable(timestamp, diskfile.frag_index)

    def _row_of(self, metadata: dict[str, str], footers: dict[str, str]) -> dict[str, str]:
        """What the container server gets to know of a stored object."""
        row = {"X-Size": metadata["Content-Length"], "X-Content-Type": metadata["Content-Type"],
               "X-Timestamp": metadata["X-Timestamp"], "X-Etag": metadata["ETag"]}
        env = self.env
        found = [name for name in env if name.startswith(_KEYS)]
        if not found and not footers:
            return row
        for key, prefix in zip(_KEYS, _OVERRIDES, strict=True):
            for name in found:
                if name.startswith(key):
                    row["X-" + header_name(name)[len(prefix):]] = text_of(env[name])
            for name, value in footers.items():
                if name.startswith(prefix):
                    row["X-" + name[len(prefix):]] = value
        return row
