# SPDX-License-Identifier: Apache-2.0
"""Objects on a device: read them, write them so that what is acknowledged stays.

    manager = Manager(conf, logger)
    diskfile = manager.diskfile("sda", "12", "AUTH_a", "c", "o", policy)
    with diskfile.create() as writer:
        writer.write(b"hello")
        writer.put({"X-Timestamp": ..., "Content-Type": ..., ...})
    with diskfile.open():
        body = b"".join(diskfile.reader())

A small object is written in place, into the page cache, and the kernel is asked to say when it is
on the disk; a large one in batches in a native thread, so that hashing and writing release the
interpreter. A small one is read in place, from the page cache more often than not, because a
thread costs more than the read.
"""
from __future__ import annotations

import errno
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from hashlib import md5
from typing import Any

from swift.common import durable, safe_pickle
from swift.common.concurrency import run_in_thread
from swift.common.conf import config_fallocate, config_float, config_int, config_true
from swift.common.disk_sync import fsync
from swift.common.exceptions import (
    DiskFileBadMetadata,
    DiskFileCollision,
    DiskFileDeleted,
    DiskFileError,
    DiskFileExpired,
    DiskFileNoSpace,
    DiskFileNotExist,
    DiskFileQuarantined,
    InsufficientStorage,
)
from swift.common.group_commit import sync_names
from swift.common.statsd import Statsd
from swift.common.storage import hash_path, storage_directory
from swift.common.storage_policy import StoragePolicy
from swift.common.timestamp import Timestamp
from swift.obj import checksum, hashes, partition_power
from swift.obj.ondisk import (
    Chosen,
    FileInfo,
    choose,
    make_name,
    merge_metadata,
    read_metadata,
    write_metadata,
)

SMALL = 262144                # a body up to this is kept in memory until it is complete
# Of a larger one, hashed and written in a thread at a time: what comes at once, while it is in the
# caches. Twice as much cost a tenth more.
BATCH = 1 << 19
_NEVER = Timestamp(0)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Manager:
    """The devices of a node and how files on them are treated.

    Options: devices, mount_check, disable_fallocate, fallocate_reserve, mb_per_sync,
    disk_chunk_size, keep_cache_size, reclaim_age, commit_window.
    """

    def __init__(self, conf: dict[str, str], logger: logging.Logger) -> None:
        self.logger = logger
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.use_fallocate = not config_true(conf.get("disable_fallocate", "no"))
        self.reserve = config_fallocate(conf.get("fallocate_reserve", "1%"))
        self.bytes_per_sync = config_int(conf, "mb_per_sync", 512) << 20
        self.disk_chunk_size = config_int(conf, "disk_chunk_size", 65536, 1)
        self.keep_cache_size = config_int(conf, "keep_cache_size", 5 << 20)
        self.reclaim_age = config_float(conf, "reclaim_age", 604800)
        self.commit_window = config_float(conf, "commit_window", 60)
        self.statsd: Statsd | None = None       # a server's, which gets told of what is broken

    @staticmethod
    def diskfile_class(policy: StoragePolicy) -> type[DiskFile]:
        """How objects of a policy lie on a disk."""
        if policy.coding is None:
            return DiskFile
        from swift.obj.ec_backend import EcDiskFile  # it builds on this module
        return EcDiskFile

    def device_path(self, device: str) -> str:
        """The directory of a device; InsufficientStorage when it is not there or not mounted."""
        if not device or "/" in device or device in (".", ".."):
            raise InsufficientStorage(device)
        path = f"{self.devices}/{device}"
        if not (os.path.ismount(path) if self.mount_check else os.path.isdir(path)):
            raise InsufficientStorage(device)
        return path

    def diskfile(self, device: str, partition: str, account: str, container: str, obj: str,
                 policy: StoragePolicy, open_expired: bool = False) -> DiskFile:
        """The object of that name, there or not."""
        return self.diskfile_class(policy)(
            self, self.device_path(device), partition, f"/{account}/{container}/{obj}",
            hash_path(account, container, obj), policy, open_expired)

    def diskfile_from_hash_dir(self, hash_dir: str, device_path: str,
                               policy: StoragePolicy) -> DiskFile:
        """The object in a directory whose name is not known yet; `open` reads it."""
        partition = os.path.basename(os.path.dirname(os.path.dirname(hash_dir)))
        return self.diskfile_class(policy)(self, device_path, partition, None,
                                           os.path.basename(hash_dir), policy, open_expired=True)

    def get_hashes(self, device: str, partition: str, suffixes: list[str], policy: StoragePolicy,
                   do_listdir: bool = False) -> tuple[int, dict[str, Any]]:
        """(computed, suffix -> hash) of a partition, made if it is missing. Blocks: see hashes."""
        path = f"{self.device_path(device)}/{policy.datadir}/{partition}"
        if not os.path.isdir(path):
            durable.make_dirs(path)
        return run_in_thread(hashes.get_hashes, path, suffixes, do_listdir, self.reclaim_age,
                             self.diskfile_class(policy).hasher(self, policy))

    def pickle_async_update(self, device: str, account: str, container: str, obj: str,
                            data: dict[str, Any], timestamp: Timestamp,
                            policy: StoragePolicy) -> str:
        """Note an update that a container server still has to get; where it is noted."""
        device_path = self.device_path(device)
        name_hash = hash_path(account, container, obj)
        path = (f"{device_path}/{policy.asyncdir}/{name_hash[-3:]}/"
                f"{name_hash}-{timestamp.internal}")
        run_in_thread(durable.write_file, path, safe_pickle.dumps(data),
                      f"{device_path}/{policy.tmpdir}")
        return path


class DiskFile:
    """One object. `open()` fills metadata, timestamps and content_length."""

    __slots__ = ("manager", "device_path", "partition", "name", "datadir", "policy",
                 "open_expired", "fd", "metadata", "data_timestamp", "timestamp",
                 "content_type_timestamp", "content_length", "data_file", "next_part_power",
                 "names", "is_missing")

    def __init__(self, manager: Manager, device_path: str, partition: str, name: str | None,
                 name_hash: str, policy: StoragePolicy, open_expired: bool = False) -> None:
        self.manager = manager
        self.device_path = device_path
        self.partition = partition
        self.name = name
        self.policy = policy
        self.datadir = f"{device_path}/{storage_directory(policy.datadir, partition, name_hash)}"
        self.open_expired = open_expired
        self.fd = -1
        self.next_part_power = 0          # that of a ring about to have or having got another
        self.metadata: dict[str, str] = {}
        self.timestamp = self.data_timestamp = self.content_type_timestamp = _NEVER
        self.content_length = 0
        self.data_file = ""
        self.names: list[str] | None = None       # what was there when it was opened
        self.is_missing = False                   # there was not even a directory then

    # -- what a policy does its own way ----------------------------------

    def choose(self, names: list[str]) -> Chosen:
        """Which files of the directory count."""
        return choose(names)

    @staticmethod
    def hasher(manager: Manager, policy: StoragePolicy) -> Callable[[str], Any] | None:
        """What computes the hash of a suffix directory; None: what `hashes` does."""
        return None

    def clean_up(self, directory: str, names: list[str] | None = None) -> None:
        """Let go of what was replaced in the object's directory, or the one it gets: of all that
        is there, or of `names` only."""
        hashes.clean_up(directory, self.manager.reclaim_age, names)

    def data_name(self, metadata: dict[str, str]) -> str:
        """The name of the file of a new version."""
        return make_name(Timestamp(metadata["X-Timestamp"]), ".data")

    def state_headers(self) -> dict[str, str]:
        """What a server tells others of the open object's files."""
        moment = self.data_timestamp.internal
        return {"X-Backend-Data-Timestamp": moment, "X-Backend-Durable-Timestamp": moment}

    # -- reading ---------------------------------------------------------

    def open(self, now: float | None = None) -> DiskFile:
        """Find the newest files and read the metadata; keep the data file open.

        Raises DiskFileDeleted, DiskFileExpired or their base DiskFileNotExist; DiskFileCollision;
        DiskFileQuarantined when what is there was broken, and has been moved away.
        """
        try:
            self.names = names = os.listdir(self.datadir)
        except FileNotFoundError:
            self.is_missing = True
            raise DiskFileNotExist() from None
        except NotADirectoryError:
            raise self.found_broken("a file is where its directory should be") from None
        chosen = self.choose(names)
        if chosen.data is None:
            if chosen.ts is not None:
                raise DiskFileDeleted({"X-Timestamp": chosen.ts.timestamp.internal,
                                       "name": self.name or ""})
            raise DiskFileNotExist()
        try:
            self._open_data(chosen.data, chosen.meta, chosen.ctype)
            self._check(now)
        except BaseException:
            self.close()
            raise
        return self

    def _open_data(self, data: FileInfo, meta: FileInfo | None, ctype: FileInfo | None) -> None:
        self.data_file = f"{self.datadir}/{data.name}"
        try:
            self.fd = os.open(self.data_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise DiskFileNotExist() from None      # a newer write replaced it this moment
        try:
            metadata = read_metadata(self.fd)
            self.data_timestamp = self.timestamp = self.content_type_timestamp = data.timestamp
            if meta is not None:
                meta_values = read_metadata(f"{self.datadir}/{meta.name}")
                ctype_values = None
                if ctype is not None:
                    ctype_values = meta_values if ctype is meta else \
                        read_metadata(f"{self.datadir}/{ctype.name}")
                    self.content_type_timestamp = ctype.ctype_timestamp or data.timestamp
                metadata = merge_metadata(metadata, meta_values, ctype_values)
                self.timestamp = meta.timestamp
        except DiskFileBadMetadata as exc:
            raise self.found_broken(f"bad metadata: {exc}") from exc
        self.metadata = metadata

    def _check(self, now: float | None) -> None:
        metadata = self.metadata
        name = metadata.get("name")
        if name is None:
            raise self.found_broken("metadata without a name")
        if self.name is None:
            self.name = name
            if hash_path(*name[1:].split("/", 2)) != os.path.basename(self.datadir):
                raise self.found_broken(f"metadata says it is {name!r}, which lives elsewhere")
        elif name != self.name:
            raise DiskFileCollision(f"{self.datadir} holds {name!r}, not {self.name!r}")
        size = os.fstat(self.fd).st_size
        if metadata.get("Content-Length") != str(size):
            raise self.found_broken(
                f"metadata says {metadata.get('Content-Length')!r} bytes, there are {size}")
        self.content_length = size
        delete_at = metadata.get("X-Delete-At")
        if delete_at is not None and not self.open_expired:
            try:
                expired = int(delete_at) <= (time.time() if now is None else now)
            except ValueError:
                raise self.found_broken(f"bad X-Delete-At {delete_at!r}") from None
            if expired:
                raise DiskFileExpired(metadata)

    def found_broken(self, reason: str) -> DiskFileQuarantined:
        """Move the whole directory to quarantine; the exception to raise."""
        target = self.quarantine()
        if self.manager.statsd is not None:
            self.manager.statsd.count("quarantines", 1)
        self.manager.logger.error("ERROR quarantined %s to %s: %s", self.datadir, target, reason)
        return DiskFileQuarantined(reason)

    def quarantine(self) -> str:
        """Move the object's directory to quarantine; where it is now."""
        base = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(self.datadir))))
        return hashes.quarantine(self.datadir, f"{base}/quarantined/{self.policy.datadir}")

    def close(self) -> None:
        """Close the data file, if it is open."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> DiskFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def read_whole(self, check: bool = True) -> bytes | Reader:
        """The whole body: as bytes if it fits in one chunk, checked against its ETag, or a Reader,
        checked by the cheapest checksum there is. Without `check` only its length is.

        Raises DiskFileQuarantined, before a byte of it went out, when bytes do not match.
        """
        size = self.content_length
        if size > self.manager.disk_chunk_size:
            reader = self.reader()
            if check:
                reader.check_quickly()
            else:
                reader.check_nothing()
            return reader
        data = os.read(self.fd, size + 1) if size else b""
        if len(data) != size or check and \
                md5(data, usedforsecurity=False).hexdigest() != self.metadata.get("ETag"):
            raise self.found_broken("the body does not match its ETag or length")
        return data

    def reader(self, start: int = 0, stop: int | None = None) -> Reader:
        """The bytes from `start` to `stop`; takes over the open file and closes it."""
        size = self.content_length
        return Reader(self, [(start, size if stop is None else min(stop, size))])

    # -- writing ---------------------------------------------------------

    def create(self, size: int | None = None, hashed: bool = True) -> Writer:
        """A writer for a new version of `size` bytes (None: not known), which computes its md5
        unless `hashed` is false.

        DiskFileNoSpace when there is no room for it.
        """
        return Writer(self, size, hashed)

    def write_metadata(self, metadata: dict[str, str]) -> None:
        """Write a `.meta` file of time X-Timestamp, and Content-Type-Timestamp if given."""
        ctype = metadata.get("Content-Type-Timestamp")
        name = make_name(Timestamp(metadata["X-Timestamp"]), ".meta",
                         Timestamp(ctype) if ctype is not None else None)
        self.write_small(b"", {**metadata, "name": self.name or ""}, name)

    def delete(self, timestamp: Timestamp) -> None:
        """Write a tombstone; older files go."""
        self.write_small(b"", {"X-Timestamp": timestamp.internal, "name": self.name or ""},
                         make_name(timestamp, ".ts"))

    def write_small(self, data: bytes, metadata: dict[str, str], name: str,
                    crc: int | None = None) -> None:
        """Make one file of the object, whole and durable when this returns.

        All but the fsyncs happens in the page cache, here; in a thread it would spend its time
        handing the interpreter's lock to and fro.
        """
        fd, temp, changed = self.open_new()
        try:
            if data:
                durable.check_reserve(fd, len(data), self.manager.reserve)
                durable.write_all(fd, data)
            self.commit(fd, metadata, name, changed, crc, empty=not data)
        except OSError as exc:
            if exc.errno in NO_SPACE:
                raise DiskFileNoSpace(str(exc)) from exc
            raise
        finally:
            os.close(fd)
            if temp:
                durable.unlink_quietly(temp)

    def open_new(self) -> tuple[int, str, list[str]]:
        """What `open_temp` gives, and the directories that got an entry because some were missing.
        """
        if not self.is_missing:
            try:
                return *self.open_temp(), []
            except FileNotFoundError:
                pass
        changed = durable.make_dirs(self.datadir)
        return *self.open_temp(), changed

    def open_temp(self) -> tuple[int, str]:
        """A nameless file beside what it will become: nobody sees it and it cannot be left over.

        Where the file system knows none (overlays, network), it has a name that is no object's,
        returned to be removed; "" otherwise.
        """
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            return os.open(self.datadir, os.O_TMPFILE | flags, 0o644), ""
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
                raise
        path = f"{self.datadir}/.{secrets.token_hex(8)}"
        return os.open(path, os.O_CREAT | os.O_EXCL | flags, 0o644), path

    def commit(self, fd: int, metadata: dict[str, str], name: str, changed: list[str],
               crc: int | None = None, empty: bool = False) -> None:
        """Give the open file metadata and its name; then let go of what it replaces."""
        write_metadata(fd, metadata)
        if crc is not None:
            checksum.store(fd, crc)
        self._make_durable(fd, f"{self.datadir}/{name}", changed, empty)
        hashes.invalidate(self.datadir[:self.datadir.rindex("/")])
        if not changed:
            self._clean_up_after(name)
        if self.next_part_power:
            partition_power.follow(self.datadir, name, self.next_part_power, self.clean_up,
                                   self.manager.logger)

    def _clean_up_after(self, name: str) -> None:
        """Let go of what the new file `name` replaces.

        What was listed when the object was opened will do: another listing would find more only
        when two write one object at a time, and what then stays goes when its suffix is hashed.
        """
        names = self.names
        self.clean_up(self.datadir, None if names is None else [*names, name])

    def _make_durable(self, fd: int, target: str, changed: list[str], empty: bool) -> None:
        """Give the file its name; both survive a crash of the machine when this returns.

        Where names are logged in order, two of three waits for the disk can be spared. What has no
        bytes but attributes is in the log before its name is. And where nothing older can be lost,
        because the directory is new, the name may come before the bytes: the file's own fsync is
        of both, and of what a crash leaves behind in between, which is found broken by its length,
        nobody was told that it is stored.
        """
        device = os.fstat(fd).st_dev
        in_order = durable.device_journals_in_order(device)
        if in_order and not empty and changed and not self._is_occupied():
            self._link(fd, target, changed, _leave_to_the_file)
            fsync(fd)
            return
        if not (in_order and empty):
            fsync(fd)
        self._link(fd, target, changed,
                   lambda directory, parents: sync_names(directory, parents, device))

    def _is_occupied(self) -> bool:
        try:
            return bool(os.listdir(self.datadir))
        except FileNotFoundError:             # as in `_link`
            return False

    def _link(self, fd: int, target: str, changed: list[str],
              sync: Callable[[str, list[str]], None]) -> None:
        try:
            durable.link_open_file(fd, target, changed, sync)
        except FileNotFoundError:
            # The directory was empty when a replicator cleaned up, and is gone.
            durable.link_open_file(fd, target, durable.make_dirs(self.datadir), sync)


def _leave_to_the_file(directory: str, parents: list[str]) -> None:
    """Instead of `sync_names`, for a file that is going to be synced itself."""


class Reader:
    """Iterates over pieces of an open object: byte ranges, and literal bytes between them.

    Takes the file over and closes it at the end or by `close`. A complete read is checked against
    the ETag, or after `check_quickly` the CRC, if there is one, and quarantines what does not
    match; by then the bytes are out, so the next reader is who gains.
    """

    def __init__(self, diskfile: DiskFile, pieces: list[tuple[int, int] | bytes]) -> None:
        self.diskfile = diskfile
        self.pieces = pieces
        self.fd, diskfile.fd = diskfile.fd, -1
        whole = pieces == [(0, diskfile.content_length)]
        self._digest = md5(usedforsecurity=False) if whole else None
        self._crc: int | None = None
        self._wanted_crc: int | None = None
        self.broken = False

    def check_quickly(self) -> None:
        """Check a complete read by the file's CRC instead of the ETag, if it has one."""
        if self._digest is not None:
            self._wanted_crc = checksum.load(self.fd)
            if self._wanted_crc is not None:
                self._crc, self._digest = 0, None

    def check_nothing(self) -> None:
        """Give the bytes as they are."""
        self._digest = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self.pieces:
                if isinstance(piece, bytes):
                    yield piece
                else:
                    yield from self._range(*piece)
        finally:
            self.close()

    def _range(self, start: int, stop: int) -> Iterator[bytes]:
        diskfile, fd = self.diskfile, self.fd
        manager = diskfile.manager
        chunk = manager.disk_chunk_size
        threaded = stop - start > 4 * chunk
        drop = diskfile.content_length > manager.keep_cache_size
        offset = start
        while offset < stop:
            want = min(BATCH if threaded else chunk, stop - offset)
            data = run_in_thread(self._read, fd, want, offset) if threaded else \
                self._read(fd, want, offset)
            if not data:
                break
            if drop:
                durable.drop_cache(fd, offset, len(data))
            offset += len(data)
            yield data
        checked = self._digest is not None or self._crc is not None
        if checked and not self._is_whole(offset):
            self.broken = True
            diskfile.found_broken("the body does not match its checksum or length")

    def _is_whole(self, offset: int) -> bool:
        """Whether what was read up to `offset` is what was stored."""
        if offset != self.diskfile.content_length:
            return False
        if self._digest is None:
            return self._crc == self._wanted_crc
        return self._digest.hexdigest() == self.diskfile.metadata.get("ETag")

    def _read(self, fd: int, want: int, offset: int) -> bytes:
        data = os.pread(fd, want, offset)
        if self._digest is not None:
            self._digest.update(data)
        elif self._crc is not None:
            self._crc = checksum.crc64nvme(data, self._crc)
        return data

    def close(self) -> None:
        """Close the file; more than once is fine."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    __del__ = close


class Writer:
    """Takes the body of a new version; nothing of it is visible before `put`.

    `crc`, after `finish`, is the CRC-64/NVME of a body of more than `checksum.FROM` bytes, or of
    any if it is not `hashed`.
    """

    def __init__(self, diskfile: DiskFile, size: int | None, hashed: bool = True) -> None:
        self.diskfile = diskfile
        self.expected = size
        self.size = 0
        self.crc = 0
        self._fd = -1
        self._temp = ""
        self._digest = md5(usedforsecurity=False) if hashed else None
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._synced = 0
        self._changed: list[str] = []

    def __enter__(self) -> Writer:
        if self.expected is not None and self.expected > SMALL:
            self._start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self._temp:
                durable.unlink_quietly(self._temp)

    def _start(self) -> None:
        manager = self.diskfile.manager
        try:
            self._fd, self._temp, self._changed = self.diskfile.open_new()
            size = self.expected or 0
            durable.check_reserve(self._fd, size, manager.reserve)
            if manager.use_fallocate:
                durable.allocate(self._fd, size)
        except OSError as exc:
            raise self._failed(exc) from exc

    @staticmethod
    def _failed(exc: OSError) -> DiskFileError | OSError:
        return DiskFileNoSpace(str(exc)) if exc.errno in NO_SPACE else exc

    def write(self, chunk: bytes) -> int:
        """Take the next bytes; how many there are so far."""
        self.size += len(chunk)
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        if self._buffered >= BATCH or (self._fd < 0 and self._buffered > SMALL):
            if self._fd < 0:
                self._start()
            self._flush()
        return self.size

    def _flush(self) -> None:
        chunks, self._buffer, self._buffered = self._buffer, [], 0
        try:
            run_in_thread(self._write_batch, chunks)
        except OSError as exc:
            raise self._failed(exc) from exc

    def _write_batch(self, chunks: list[bytes]) -> None:
        """Hash and write, and from time to time push to disk. Runs in a thread."""
        self._synced += durable.write_chunks(self._fd, chunks)
        self._hash(chunks)
        manager = self.diskfile.manager
        if manager.bytes_per_sync and self._synced >= manager.bytes_per_sync:
            os.fdatasync(self._fd)
            durable.drop_cache(self._fd, 0, 0)
            self._synced = 0

    def finish(self) -> tuple[int, str]:
        """(size, md5) of all that was written; no md5 if that was not wanted."""
        if self._fd >= 0:
            if self._buffer:
                self._flush()
        else:
            self._hash(self._buffer)
        return self.size, self._digest.hexdigest() if self._digest is not None else ""

    def _hash(self, chunks: list[bytes]) -> None:
        digest = self._digest
        if digest is not None:
            for chunk in chunks:
                digest.update(chunk)
        if digest is None or self.size > checksum.FROM:
            for chunk in chunks:
                self.crc = checksum.crc64nvme(chunk, self.crc)

    def put(self, metadata: dict[str, str]) -> None:
        """Make it the object's newest version, of time X-Timestamp; durable when it returns.

        Call after `finish`.
        """
        diskfile = self.diskfile
        metadata = {**metadata, "name": diskfile.name or ""}
        name = diskfile.data_name(metadata)
        try:
            if self._fd < 0:
                diskfile.write_small(b"".join(self._buffer), metadata, name,
                                     self.crc if self.size > checksum.FROM else None)
            else:
                self._commit_large(metadata, name)
        except OSError as exc:
            raise self._failed(exc) from exc

    def _commit_large(self, metadata: dict[str, str], name: str) -> None:
        self.diskfile.commit(self._fd, metadata, name, self._changed, self.crc)
        if self.size > self.diskfile.manager.keep_cache_size:
            durable.drop_cache(self._fd, 0, 0)
