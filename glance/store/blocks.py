# SPDX-License-Identifier: Apache-2.0
"""Files of many gigabytes, in and out, at little cost of CPU and memory.

The page cache copies every byte once more, and to find pages for an image nobody may read soon it
evicts those of others: on a virtual machine that alone costs as much CPU as a hash.  So what is
written goes past it, and so does what is read for the first time in a while.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import weakref
from collections.abc import Callable

from glance import concurrency, exceptions

#: bytes of one transfer past the page cache; a multiple of every disk's and file system's block
BLOCK = 4 << 20
#: bytes of a piece that is read
CHUNK = 1 << 20
#: offsets that a direct transfer can begin at
ALIGNMENT = 4096
#: errors that say that a transfer would have to wait for the disk, or could have to
NOT_NOW = (errno.EAGAIN, errno.EOPNOTSUPP)

Sink = Callable[[memoryview], None]


class Writer:
    """A new file; whole blocks of it are on their way to the disk while the next are filled.

    :param path: where nothing is yet.
    :param mode: its permission bits.
    """

    def __init__(self, path: str | os.PathLike[str], mode: int) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        set_direct(self.descriptor, True)
        self._disk = concurrency.Hand()
        self._buffer = _buffer()
        self._spare: mmap.mmap | None = None
        self._filled = 0
        self._ended: Callable[[], None] | None = None

    def reserve(self, size: int) -> None:
        """Claim the room now, so that a full disk shows before gigabytes have travelled."""
        if size >= BLOCK:
            _in_large_pages(self._buffer)
        try:
            concurrency.blocking(os.posix_fallocate, self.descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise

    def fill(self, readinto: Callable[[memoryview], int]) -> int:
        """Add what `readinto` puts into the memory it is given, until it puts nothing; how much.

        For what need not be copied from anywhere else.
        """
        written = 0
        while count := readinto(memoryview(self._buffer)[self._filled:]):
            written += count
            self._filled += count
            if self._filled == BLOCK:
                self._begin()
        return written

    def write(self, chunk: bytes) -> None:
        """Add to the end.  An error of the disk may come out of a later call, too."""
        view = memoryview(chunk)
        while view:
            taken = view[:BLOCK - self._filled]
            self._buffer[self._filled:self._filled + len(taken)] = taken  # type: ignore[assignment]
            self._filled += len(taken)
            view = view[len(taken):]
            if self._filled == BLOCK:
                self._begin()

    def _begin(self) -> None:
        self._await()
        self._ended = self._disk.start(write_all, self.descriptor, self._buffer)
        self._buffer, self._spare = self._spare or _in_large_pages(_buffer()), self._buffer
        self._filled = 0

    def _await(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def finish(self) -> None:
        """Return once all of it survives a crash of the machine."""
        self._await()
        concurrency.blocking(self._finish)

    def _finish(self) -> None:
        if self._filled:
            set_direct(self.descriptor, False)  # no whole block, so not for it
            write_all(self.descriptor, memoryview(self._buffer)[:self._filled])
        os.fsync(self.descriptor)

    def close(self) -> None:
        """Let go of the file, whatever became of it."""
        with contextlib.suppress(OSError):  # told, or of no interest any more
            self._await()
        os.close(self.descriptor)


class Reading:
    """The bytes of a part of a file, in pieces; closes the file in the end.

    Pieces that are iterated over are of up to `CHUNK`, and nobody else has to wait for the disk.

    :param keep: leave what comes from the disk in the page cache, for others who want it.
    """

    def __init__(self, descriptor: int, offset: int, length: int, *, keep: bool) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._length = length
        self._keep = keep
        self._buffer = _buffer(CHUNK)
        if not keep:  # reading ahead would be reading into the page cache
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        self._closing = weakref.finalize(self, os.close, descriptor)

    def __iter__(self) -> Reading:
        return self

    def __next__(self) -> bytes:
        if not self._length:
            self.close()
            raise StopIteration
        wanted = memoryview(self._buffer)[:min(CHUNK, self._length)]
        try:
            piece = self._cached(wanted) or concurrency.blocking(
                os.pread, self._descriptor, len(wanted), self._offset)
        except OSError as error:
            raise self._unreadable(error) from None
        self._passed(len(piece))
        return piece

    def _cached(self, buffer: memoryview) -> bytes:
        """What follows, as far as it is in the page cache."""
        try:
            return bytes(buffer[:os.preadv(self._descriptor, [buffer], self._offset,
                                           os.RWF_NOWAIT)])
        except OSError as error:
            if error.errno not in NOT_NOW:
                raise
            return b""

    def transfer(self, sink: Sink) -> None:
        """Give what is left to `sink`, in this thread and in pieces of up to `BLOCK`."""
        descriptor = os.dup(self._descriptor)  # whoever waits for this thread may give up first
        try:
            self._transfer(descriptor, sink)
        finally:
            os.close(descriptor)
        self.close()

    def _transfer(self, descriptor: int, sink: Sink) -> None:
        buffer = memoryview(_buffer())
        size, flags = CHUNK, 0 if self._keep else os.RWF_NOWAIT
        while self._length:
            try:
                count = os.preadv(descriptor, [buffer[:size]], self._offset, flags)
            except OSError as error:
                if not flags or error.errno not in NOT_NOW:
                    raise self._unreadable(error) from None
                flags = 0
                if self._offset % ALIGNMENT == 0 and set_direct(descriptor, True):
                    size = BLOCK
                continue
            piece = buffer[:min(count, self._length)]
            self._passed(len(piece))
            sink(piece)

    def _passed(self, count: int) -> None:
        if not count:
            raise exceptions.CorruptData(f"image data ends {self._length} bytes early")
        self._offset += count
        self._length -= count

    @staticmethod
    def _unreadable(error: OSError) -> exceptions.GlanceError:
        return exceptions.CorruptData(f"image data cannot be read: {error.strerror}")

    def close(self) -> None:
        """Let go of the file."""
        self._closing()


def write_all(descriptor: int, data: bytes | memoryview | mmap.mmap) -> None:
    """Write all of it, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def set_direct(descriptor: int, direct: bool) -> bool:
    """Transfer past the page cache from now on, or not; False where that cannot be had."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL,
                    flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _buffer(size: int = BLOCK) -> mmap.mmap:
    """Memory that begins at a page, as direct transfers need it."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _in_large_pages(buffer: mmap.mmap) -> mmap.mmap:
    """The same, in few pages if there are such: each costs time per transfer."""
    with contextlib.suppress(OSError):  # a kernel without them
        buffer.madvise(mmap.MADV_HUGEPAGE)
    return buffer
