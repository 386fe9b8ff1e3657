# SPDX-License-Identifier: Apache-2.0
"""Metadata that is known only when the last byte of a body is.

A filter leaves a function in the environ; it is called with a dictionary once the body was read,
and puts header names and values into it (or raises Abort). They go to the object servers with the
headers of a small body, which was read whole before, or after a long one, in a second MIME document
(see swift.obj.mime).
"""

import hashlib
import json
import secrets

from awscrt.checksums import crc64nvme

from swift.common.concurrency import run_in_thread
from swift.common.conf import config_true
from swift.common.request import Abort, answer
from swift.proxy.put import LAST_CHUNK, Upload, chunk, long_chunk

HASH_BATCH = 1 << 19       # bytes hashed in a thread at a time, as many as a client sends at once,
HASH_PIECES = 1024         # or pieces, if a client sends crumbs
CALLBACK = 'swift.callback.update_footers'


def footers_of(environ):
    """What the filters have to say, now that the body was read."""
    footers: dict[str, str] = {}
    callback = environ.get(CALLBACK)
    if callback is not None:
        callback(footers)
    return {name.title(): value for name, value in footers.items() if value is not None}


class MimeUpload(Upload):
    """An upload whose body is followed by footers."""

    two_phases = False

    def __init__(self, *args):
        self.boundary = secrets.token_hex(32).encode()
        super().__init__(*args)

    def stored_length(self):
        """Bytes of the object as a node stores it; None when not known."""
        return self.length

    def framing(self):
        length = self.stored_length()
        known = '' if length is None else f'X-Backend-Obj-Content-Length: {length}\r\n'
        phases = 'X-Backend-Obj-Multiphase-Commit: yes\r\n' if self.two_phases else ''
        return (f'Transfer-Encoding: chunked\r\n{known}{phases}'
                'X-Backend-Obj-Metadata-Footer: yes\r\n'
                f'X-Backend-Obj-Multipart-Mime-Boundary: {self.boundary.decode()}\r\n')

    def accepts(self, reply):
        headers = reply.headers
        return config_true(headers.get('x-obj-metadata-footer', '')) and (
            not self.two_phases or config_true(headers.get('x-obj-multiphase-commit', '')))

    def begin(self, replicas):
        self.queue_all(chunk(b'--%b\r\nX-Document: object body\r\n\r\n' % self.boundary), replicas)

    def pass_on(self, data, replicas):
        self.queue_all(long_chunk(data), replicas)

    def finish(self, replicas):
        footers = footers_of(self.controller.req.environ)
        self.queue_all(self.tail(footers), replicas)

    def tail(self, footers):
        """What comes after the object's bytes."""
        body = json.dumps(footers).encode()
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest().encode()
        end = b'' if self.two_phases else b'--'
        return chunk(b'\r\n--%b\r\nX-Document: object metadata\r\nContent-MD5: %b\r\n\r\n%b\r\n'
                     b'--%b%b\r\n' % (self.boundary, digest, body, self.boundary, end)) + LAST_CHUNK


class HashedUpload(MimeUpload):
    """An upload that is hashed here, once, instead of by each node: md5 is most of what storing a
    byte costs.

    The nodes get the md5 after the body, with a CRC-64/NVME by which ours know that they have the
    bytes it is of. OpenStack Swift's nodes compute the md5 nevertheless, and compare.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.digest, self.crc = hashlib.md5(usedforsecurity=False), 0
        self.batch, self.batched = [], 0

    def framing(self):
        return f'{super().framing()}X-Backend-Obj-Body-Checksum: crc64nvme\r\n'

    def pass_on(self, data, replicas):
        super().pass_on(data, replicas)
        self.batch.append(data)
        self.batched += len(data)
        if self.batched >= HASH_BATCH or len(self.batch) >= HASH_PIECES:
            self._hash()

    def _hash(self):
        pieces, self.batch, self.batched = self.batch, [], 0
        run_in_thread(self._hash_all, pieces)

    def _hash_all(self, pieces):
        """Runs in a thread."""
        for data in pieces:
            self.digest.update(data)
            self.crc = crc64nvme(data, self.crc)

    def finish(self, replicas):
        self._hash()
        etag = self.digest.hexdigest()
        wanted = self.controller.req.environ.get('HTTP_ETAG', '').strip('" ').lower()
        if wanted and wanted != etag:
            raise Abort(answer(422))
        self.queue_all(self.tail({'Etag': etag, 'X-Backend-Body-Checksum': f'{self.crc:016x}'}),
                       replicas)
