# SPDX-License-Identifier: Apache-2.0
"""Which process owns an upload, and whether it still lives.

A worker holds a lock on a file of its own for as long as it lives: the kernel lets go of it at any
kind of death, so a free lock is proof.  Workers of other machines cannot be asked this way; for
them only the age of their last heartbeat speaks.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import socket
import uuid
from collections.abc import Iterator


class Worker:
    """This process as an owner of uploads.

    :param directory: where the lock files lie; shared by the processes of one machine.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        place = f"{socket.gethostname()}:{self.directory.resolve()}"
        self._group = hashlib.sha256(place.encode()).hexdigest()[:16]
        self._name = ""
        self._descriptor = -1
        self._lock()
        #: tokens of the uploads this process is receiving right now
        self.uploads: set[str] = set()

    @property
    def id(self) -> str:
        """What goes into the row of an image this worker is saving."""
        return f"{socket.gethostname()[:100]}:{self._group}:{self._name}"

    def _lock(self) -> None:
        while True:
            self._name = uuid.uuid4().hex
            descriptor = os.open(self._path(self._name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._path(self._name).exists():  # else a sweep took it for a dead worker's
                self._descriptor = descriptor
                return
            os.close(descriptor)

    def _path(self, name: str) -> pathlib.Path:
        return self.directory / f"{name}.lock"

    def is_alive(self, worker_id: str | None, upload_token: str | None) -> bool | None:
        """Whether that upload still runs; None when it belongs to another machine."""
        if not worker_id:
            return False
        _host, _, rest = worker_id.partition(":")
        group, _, name = rest.partition(":")
        if group != self._group:
            return None
        if name == self._name:
            return upload_token in self.uploads
        return not self._is_free(name)

    def _is_free(self, name: str) -> bool:
        """Whether nobody holds that lock; a free lock file is removed."""
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def working(self, token: str) -> Iterator[str]:
        """This process is at work on the upload of that token."""
        self.uploads.add(token)
        try:
            yield token
        finally:
            self.uploads.discard(token)

    def sweep(self) -> None:
        """Remove the lock files of workers that are gone."""
        for path in self.directory.glob("*.lock"):
            if path.stem != self._name:
                self._is_free(path.stem)

    def close(self) -> None:
        """Let go of the lock: this worker's uploads are over."""
        if self._descriptor >= 0:
            self._path(self._name).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
