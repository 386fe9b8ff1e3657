# SPDX-License-Identifier: Apache-2.0
"""Files that survive: temp, fsync, rename, fsync directory; and the locks around them.

Everything here blocks on a disk and uses nothing green, so it may run in a native thread
(`concurrency.run_in_thread`); only waiting for a lock pauses in whatever way fits the caller.
"""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable

from swift.common.concurrency import pause
from swift.common.exceptions import LockTimeout

_libc = ctypes.CDLL(None, use_errno=True)
_FALLOC_FL_KEEP_SIZE = 1


def fsync_dir(path: str, sync: Callable[[int], None] = os.fsync) -> None:
    """Make the names in directory `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(fd)
    finally:
        os.close(fd)


def fsync_dirs(directory: str, parents: list[str],
               sync: Callable[[int], None] = os.fsync) -> None:
    """Make a directory's names durable, and itself in those `parents` that got a new entry."""
    fsync_dir(directory, sync)
    if parents and not journals_in_order(directory):
        for parent in parents:
            fsync_dir(parent, sync)


def make_dirs(path: str) -> list[str]:
    """Make `path` and its missing parents; the parents that got a new entry, innermost first.

    Those are what has to be fsynced before the path can be relied on.
    """
    try:
        os.mkdir(path, 0o755)
        return [os.path.dirname(path)]
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return []
    except FileNotFoundError:
        changed = make_dirs(os.path.dirname(path))
        return make_dirs(path) + changed


def rename(source: str, target: str) -> None:
    """Move a file over `target`, making its directory; durable when it returns."""
    try:
        os.rename(source, target)
        changed: list[str] = []
    except FileNotFoundError:
        changed = make_dirs(os.path.dirname(target))
        os.rename(source, target)
    fsync_dirs(os.path.dirname(target), changed)


_journaled: dict[int, bool] = {}


def journals_in_order(path: str) -> bool:
    """Whether the file system of `path` makes earlier changes of names durable with later ones.

    ext4 and XFS write one log in order: once the name of a file in a new directory is durable, so
    is the directory. Elsewhere each parent wants an fsync of its own (a flush of the disk each).
    """
    return device_journals_in_order(os.stat(path).st_dev)


def device_journals_in_order(device: int) -> bool:
    """The same of the file system with that st_dev."""
    known = _journaled.get(device)
    if known is None:
        known = _journaled[device] = _file_system(device) in ("ext4", "xfs")
    return known


def _file_system(device: int) -> str:
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            fields = line.split(" ")
            if fields[2] == number:
                return fields[fields.index("-") + 1]
    return ""


def link_open_file(fd: int, target: str, changed: list[str],
                   sync_names: Callable[[str, list[str]], None] = fsync_dirs) -> None:
    """Give an O_TMPFILE its name; durable, with `changed` directories, when it returns.

    A file that already has the name is replaced, at no moment is there none.
    """
    source = f"/proc/self/fd/{fd}"
    directory = os.path.dirname(target)
    try:
        # src_dir_fd makes Python call linkat with AT_SYMLINK_FOLLOW; the path is absolute.
        os.link(source, target, src_dir_fd=fd)
    except FileExistsError:
        spare = f"{directory}/.{os.path.basename(target)}.{secrets.token_hex(4)}"
        os.link(source, spare, src_dir_fd=fd)
        os.rename(spare, target)
    sync_names(directory, changed)


def write_file(path: str, data: bytes, temp_dir: str | None = None, lasting: bool = True
               ) -> None:
    """Put `data` into `path`, whole or not at all, durable when it returns.

    `temp_dir` must be on the same file system; made if missing. By default the target's own.
    Not `lasting`, a crash of the machine may bring back what was there, or leave an empty file.
    """
    directory = temp_dir or os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    temp = f"{directory}/.{os.path.basename(path)}.{secrets.token_hex(6)}"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        try:
            write_all(fd, data)
            if lasting:
                os.fsync(fd)
        finally:
            os.close(fd)
        if lasting:
            rename(temp, path)
        else:
            os.rename(temp, path)
    except BaseException:
        unlink_quietly(temp)
        raise


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def write_chunks(fd: int, chunks: list[bytes]) -> int:
    """Write all of `chunks`, as one call if the system takes them; how many bytes."""
    size = sum(map(len, chunks))
    if len(chunks) > 256:                  # the least that IOV_MAX may be is 16, on Linux 1024
        write_all(fd, b"".join(chunks))
        return size
    written = os.writev(fd, chunks)
    if written < size:
        write_all(fd, b"".join(chunks)[written:])
    return size


def unlink_quietly(path: str) -> bool:
    """Remove a file that may be gone already; whether it was there."""
    try:
        os.unlink(path)
        return True
    except FileNotFoundError:
        return False


def rmdir_quietly(path: str) -> bool:
    """Remove a directory if it is empty; whether it was removed."""
    try:
        os.rmdir(path)
        return True
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
        return False


def allocate(fd: int, size: int) -> None:
    """Reserve `size` bytes for the file. OSError ENOSPC when there is no room.

    File systems without fallocate take the write as it comes.
    """
    if size <= 0:
        return
    result = _libc.fallocate(fd, _FALLOC_FL_KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(size))
    if result:
        code = ctypes.get_errno()
        if code not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise OSError(code, os.strerror(code))


def check_reserve(place: int | str, size: int, reserve: tuple[float, bool]) -> None:
    """OSError ENOSPC if writing `size` bytes would leave less free than `reserve`.

    `place` is a path of the file system, or a file there that is open.
    """
    amount, percent = reserve
    if amount <= 0:
        return
    stat = os.statvfs(place)
    free = stat.f_frsize * stat.f_bavail - size
    limit = stat.f_frsize * stat.f_blocks * amount / 100 if percent else amount
    if free <= limit:
        raise OSError(errno.ENOSPC, f"FALLOCATE_RESERVE fail {free} <= {limit:.0f}")


def drop_cache(fd: int, offset: int, length: int) -> None:
    """Tell the kernel these pages will not be read again soon."""
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


class Lock:
    """A lock that is held until the end of the `with` block, which gets its descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int, path: str, timeout: float) -> None:
        self._fd = fd
        try:
            _lock(fd, path, timeout)
        except BaseException:
            os.close(fd)
            raise

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)


def lock_file(path: str, timeout: float = 10) -> Lock:
    """An exclusive lock on `path` (made if missing, never removed).

    Between threads and processes; LockTimeout when someone else holds it for `timeout` seconds.
    """
    return Lock(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), path, timeout)


def lock_path(directory: str, timeout: float = 10, name: str = "") -> Lock:
    """The lock of a directory: its file `.lock`, or `.lock-<name>`. Makes the directory."""
    path = f"{directory}/.lock-{name}" if name else f"{directory}/.lock"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    except FileNotFoundError:
        make_dirs(directory)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    return Lock(fd, path, timeout)


def lock_one_of(count: int, directory: str, timeout: float, name: str) -> Lock:
    """Whichever is free first of `count` locks of a directory that is there.

    LockTimeout when all are held by others, of any process, for `timeout` seconds.
    """
    paths = [f"{directory}/.lock-{name}-{number}" for number in range(count)]
    deadline = time.monotonic() + timeout
    delay = 0.001
    while True:
        for path in paths:
            try:
                return lock_file(path, 0)
            except LockTimeout:
                if path is paths[-1] and time.monotonic() >= deadline:
                    raise
        pause(delay)
        delay = min(delay * 2, 0.05)


def _lock(fd: int, path: str, timeout: float) -> None:
    deadline = 0.0
    delay = 0.001
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now = time.monotonic()
            deadline = deadline or now + timeout
            if now >= deadline:
                raise LockTimeout(None, path) from None
        pause(delay)
        delay = min(delay * 2, 0.05)
