# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, by name. Each wait has a timeout class of its own."""
from __future__ import annotations

from typing import Any

from swift.common.concurrency import Timeout


class SwiftException(Exception):
    """The root of all errors of this package that are no timeouts."""


class ConfigError(SwiftException, ValueError):
    """A configuration file says something that cannot be; the message names file and option."""


class InvalidTimestamp(SwiftException, ValueError):
    """A header that should carry a time does not."""


class InsufficientStorage(SwiftException):
    """The device is not mounted or full; a server answers 507."""

    def __init__(self, drive: str) -> None:
        super().__init__(drive)
        self.drive = drive


class RingLoadError(SwiftException):
    """A ring file cannot be read."""


# -- files on disk -------------------------------------------------------

class DiskFileError(SwiftException):
    """An object's files cannot be used."""


class DiskFileNotExist(DiskFileError):
    """There is no such object."""


class DiskFileDeleted(DiskFileNotExist):
    """There was one; `timestamp` says when it was deleted, `metadata` is the tombstone's."""

    def __init__(self, metadata: dict[str, str] | None = None) -> None:
        super().__init__()
        self.metadata = metadata or {}
        self.timestamp = self.metadata.get("X-Timestamp", "0")


class DiskFileExpired(DiskFileDeleted):
    """Its X-Delete-At has passed."""


class DiskFileCollision(DiskFileError):
    """The metadata names another object than was asked for."""


class DiskFileQuarantined(DiskFileError):
    """Found broken and moved to quarantine."""


class QuarantineRequest(SwiftException):
    """An audit watcher wants an object to go to quarantine."""


class DiskFileNoSpace(DiskFileError):
    """The disk is full or keeps a reserve."""


class DiskFileMetadataTooLarge(DiskFileError):
    """The file system's extended attributes cannot hold so much."""


class DiskFileBadFragment(DiskFileError):
    """The metadata does not say which fragment of its object this is."""


class DiskFileNotRebuilt(DiskFileError):
    """There are too few fragments of an object to make another one."""


class DiskFileBadMetadata(DiskFileError):
    """The extended attributes are missing, cut or do not match their checksum."""


class PathNotDir(DiskFileError):
    """A file stands where a directory of objects should."""


# -- databases -----------------------------------------------------------

class DatabaseConnectionError(SwiftException):
    """A database cannot be opened."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class DatabaseAlreadyExists(SwiftException):
    """Another worker made it first."""


# -- waits ---------------------------------------------------------------

class MessageTimeout(Timeout):
    """A timeout that says what was waited for."""

    def __init__(self, seconds: float | None = None, message: str | None = None) -> None:
        Timeout.__init__(self, seconds)
        self.message = message

    def __str__(self) -> str:
        return f"{Timeout.__str__(self)}: {self.message}" if self.message else Timeout.__str__(self)


class LockTimeout(MessageTimeout):
    """A file lock was held by someone else for too long."""


class ConnectionTimeout(Timeout):
    """A server did not take the connection."""


class ResponseTimeout(Timeout):
    """A server did not answer."""


class ChunkReadTimeout(Timeout):
    """No data came."""


class ChunkWriteTimeout(Timeout):
    """Data was not taken."""


def expired(kind: type[Timeout], seconds: float) -> Timeout:
    """Return a timeout to raise for a wait that is over.

    Made with a number, a Timeout would start counting, and strike the thread a second time.
    """
    error = kind(None)
    error.seconds = seconds
    return error


class ChunkReadError(SwiftException, OSError):
    """The other side closed in the middle of a body, or framed it wrongly."""


class ChunkWriteError(SwiftException, OSError):
    """The other side closed while it was sent to."""


class ShortReadError(SwiftException):
    """Fewer bytes were stored than the metadata promises."""


class ReplicationException(SwiftException):
    """A pass of replication could not finish."""


class LockError(SwiftException):
    """A lock file could not be made."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
