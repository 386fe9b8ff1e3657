# SPDX-License-Identifier: Apache-2.0
"""Request bodies, checked while they are read: length, SHA256, MD5 and checksums.

What is wrong is found before the last byte is given away, so that nothing of a bad body is
stored: the store sees a client that broke off.
"""

import base64
import binascii
import hashlib

from swift.common.exceptions import ChunkReadError
from swift.common.middleware.s3api.checksums import announced
from swift.common.middleware.s3api.chunks import ChunkedBody, Signer
from swift.common.middleware.s3api.errors import S3Error, not_implemented
from swift.common.middleware.s3api.signature import STREAMING, UNSIGNED

SMALL = 65536                  # bodies up to here are read before they are handed on
PIECE = 65536
DRAIN = 128 << 20              # bytes of a document that is too long, before it is cut off


class BodyRefused(ChunkReadError):
    """What the store gets to see of an S3Error in a body."""


class Body:
    """The content of a request's body, ``length`` bytes (None: chunked by HTTP, unknown).

    After `start`, ``checksum`` is the Announced checksum or None. ``error`` is the S3Error that
    ended the reading, if one did. ``at_end`` is called when all was read and is right, before the
    last of it is handed on.
    """

    def __init__(self, req, need_length=True, at_end=None):
        self.req, self.at_end = req, at_end
        self.error = None
        self.rest = b''
        self.finished = False
        headers, signature = req.headers, req.signature
        said = headers.get('x-amz-content-sha256')
        mode = STREAMING.get(signature.payload) if signature.version == 4 else None
        self.md5 = _content_md5(headers.get('content-md5'))
        self.checksum = announced(headers, mode is not None)
        self.sha256 = said if mode is None and said not in (None, UNSIGNED) else None
        self.length, self.source, self.chunked = req.content_length, req.environ['wsgi.input'], mode
        if mode is not None:
            self.length = _decoded_length(headers)
            self.source = self._decoder(mode)
        else:
            if said is not None and said.startswith('STREAMING-'):
                decoded = _decoded_length(headers)
                if self.length is not None and decoded != self.length:
                    raise S3Error('IncompleteBody', 'You did not provide the number of bytes '
                                  'specified by the Content-Length HTTP header',
                                  NumberBytesExpected=decoded, NumberBytesProvided=self.length)
            if self.length is None and not self._http_chunked():
                if need_length:
                    raise S3Error('MissingContentLength')
                self.length = 0
        self.left = self.length
        self.hasher = None if self.sha256 is None else hashlib.sha256()

    def _http_chunked(self):
        return self.req.environ.get('HTTP_TRANSFER_ENCODING', '').lower() == 'chunked'

    def _decoder(self, mode):
        signed, with_trailers = mode
        if self.req.content_length is None and not self._http_chunked():
            raise S3Error('MissingContentLength')
        signer = None
        if signed:
            secret = self.req.identity.secret
            if secret is None:
                raise not_implemented('x-amz-content-sha256: ' + self.req.signature.payload)
            signer = Signer(self.req.signature, secret)
        names: tuple = ()
        if self.checksum is not None and self.checksum.trailer:
            names = ('x-amz-checksum-' + self.checksum.algorithm.lower(),)
        return ChunkedBody(self.req.environ['wsgi.input'], self.length, signer, names,
                           with_trailers)

    def start(self):
        """Read a small body whole, so that all is known of it; S3Error when it is wrong."""
        if self.length is not None and self.length <= SMALL:
            data = self.whole(SMALL)
            self.rest, self.finished = data, True
        return self

    # -- reading -------------------------------------------------------------
    def read1(self, size=PIECE):
        """Some bytes, b'' at the end; BodyRefused when something is wrong with the body."""
        if self.rest or self.finished:
            data, self.rest = self.rest[:size], self.rest[size:]
            return data
        try:
            return self._next(size)
        except S3Error as e:
            self.error = e
            raise BodyRefused(e.message) from e

    def read(self, size=-1):
        """``size`` bytes, or all."""
        parts, have = [], 0
        while size < 0 or have < size:
            data = self.read1(PIECE if size < 0 else size - have)
            if not data:
                break
            parts.append(data)
            have += len(data)
        return b''.join(parts)

    def whole(self, limit):
        """All bytes of a body; None when there are more than ``limit``."""
        if self.length is not None and self.length > limit:
            return None
        parts, have = [], 0
        while not self.finished:
            data = self._next(PIECE)
            have += len(data)
            if have > limit:
                return None
            parts.append(data)
        return b''.join(parts)

    def _next(self, size):
        if self.left == 0:
            self._finish()
            return b''
        data = self.source.read1(size if self.left is None else min(size, self.left))
        if not data:
            if self.left is not None:
                raise S3Error('IncompleteBody')
            self._finish()
            return b''
        if self.hasher is not None:
            self.hasher.update(data)
        if self.checksum is not None:
            self.checksum.hasher.update(data)
        if self.left is not None:
            self.left -= len(data)
            if self.left == 0:
                self._finish()
        return data

    def _finish(self):
        if self.finished:
            return
        self.finished = True
        if self.chunked is not None:
            trailers = self.source.finish()
            if self.checksum is not None and self.checksum.trailer:
                self.checksum.take_trailer(trailers)
        if self.hasher is not None:
            made = self.hasher.hexdigest()
            if self.sha256 is not None and made != self.sha256.lower():
                raise S3Error('XAmzContentSHA256Mismatch', ClientComputedContentSHA256=self.sha256,
                              S3ComputedContentSHA256=made)
        if self.checksum is not None and self.check_sum:
            self.checksum.check()
        if self.at_end is not None:
            self.at_end()

    check_sum = True

    def _drain(self):
        """Take what is left off the connection: a client that still sends hears no answer."""
        left = DRAIN
        while left > 0 and not self.finished:
            data = self.source.read1(PIECE)
            if not data:
                return
            left -= len(data)

    def document(self, limit, need_digest=False):
        """A body of XML, checked; MalformedXML when it is longer than ``limit``."""
        given = self.req.headers.get('content-md5')
        if need_digest and given is None and self.checksum is None:
            raise S3Error('InvalidRequest', 'Missing required header for this request: '
                          'Content-MD5 OR x-amz-checksum-*')
        data = self.whole(limit)
        if data is None:
            self._drain()
            raise S3Error('MalformedXML')
        if self.md5 is not None and hashlib.md5(
                data, usedforsecurity=False).digest() != self.md5:
            raise S3Error('BadDigest', ExpectedDigest=given)
        return data


def _content_md5(text):
    if text is None:
        return None
    try:
        value = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        value = b''
    if len(value) != 16:
        raise S3Error('InvalidDigest')
    return value


def _decoded_length(headers):
    text = headers.get('x-amz-decoded-content-length', '')
    if not (text.isascii() and text.isdigit()):
        raise S3Error('MissingContentLength')
    if len(text) > 18:
        raise S3Error('EntityTooLarge')
    return int(text)
