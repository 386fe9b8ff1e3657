# SPDX-License-Identifier: Apache-2.0
"""Bodies in aws-chunked coding, with or without signatures and trailers.

"Signature calculations for the Authorization header: transferring payload in multiple chunks" of
the Amazon S3 API reference.
"""

import hashlib
import hmac
import re
from typing import Any

from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.signature import ALGORITHM

MAX_LINE = 1024
MAX_TRAILERS = 32
MIN_CHUNK = 8192               # of signed chunks but the last
_EMPTY = hashlib.sha256().hexdigest()
_HEAD = re.compile(rb'([0-9A-Fa-f]{1,15})[ \t]*(?:;(.*))?\r\n\Z', re.DOTALL)
_SIGNATURE = 'x-amz-trailer-signature'


class Signer:
    """Checks the chain of signatures that begins with the request's."""

    def __init__(self, signature, secret):
        self.request = signature
        self.key = signature.signing_key(secret)
        self.previous = signature.signature

    def check(self, kind, given, *digests):
        """S3Error unless ``given`` is the next signature of the chain."""
        text = '\n'.join((f'{ALGORITHM}-{kind}', self.request.stamp,
                          '/'.join(self.request.scope), self.previous, *digests)).encode()
        made = hmac.new(self.key, text, 'sha256').hexdigest()
        if not hmac.compare_digest(made.encode(), given.encode('latin-1')):
            raise self.request.mismatch(text, given)
        self.previous = made


class ChunkedBody:
    """The content of an aws-chunked body of ``length`` bytes once decoded.

    ``signer`` is None for unsigned chunks; ``trailers`` are the names announced. `read1` gives
    data, `finish` reads what follows the data and returns the trailers. Both raise S3Error for
    wrong framing and signatures.
    """

    def __init__(self, source, length, signer=None, trailers=(), with_trailers=False):
        self.source, self.length, self.signer = source, length, signer
        self.names, self.with_trailers = trailers, with_trailers
        self.left = 0               # of the current chunk
        self.size = None            # of the current chunk
        self.count = self.done = 0
        self.digest: Any = None     # of the current chunk, when it is signed
        self.given = ''

    def read1(self, size):
        """At least one byte; IncompleteBody where the body ends too early."""
        if not self.left:
            self._head()
            if not self.left:
                raise self._short()
        data = self.source.read1(min(size, self.left))
        if not data:
            raise S3Error('IncompleteBody')
        self.left -= len(data)
        self.done += len(data)
        if self.digest is not None:
            self.digest.update(data)
        if not self.left:
            self._end()
        return data

    def _line(self):
        line = self.source.readline(MAX_LINE)
        if line and not line.endswith(b'\r\n'):
            raise S3Error('IncompleteBody')
        return line

    def _short(self):
        """The error of a body that ends, properly, before it is as long as it said."""
        if self.signer is not None and self.with_trailers and not self.names:
            return S3Error('IncompleteBody')
        return self._wrong_length(self.done)

    def _wrong_length(self, provided):
        return S3Error('IncompleteBody', 'You did not provide the number of bytes specified by '
                       'the Content-Length HTTP header', NumberBytesExpected=self.length,
                       NumberBytesProvided=provided)

    def _head(self):
        """Read the line that begins a chunk."""
        found = _HEAD.match(self._line())
        if not found:
            raise S3Error('IncompleteBody')
        size, self.given = int(found[1], 16), self._signature(found[2])
        if self.signer is not None and size and self.size is not None and self.size < MIN_CHUNK:
            raise S3Error('InvalidChunkSizeError', Chunk=self.count + 1, BadChunkSize=self.size)
        if size and self.done + size > self.length:
            raise self._wrong_length(self.done + size)
        self.size = self.left = size
        self.count += 1
        if self.signer is not None:
            self.digest = hashlib.sha256()
            if not size:
                self.signer.check('PAYLOAD', self.given, _EMPTY, _EMPTY)

    def _signature(self, extension):
        """The signature of a chunk's line; what is none at all is no chunk."""
        if self.signer is None:
            return ''
        items = [item.partition(b'=') for item in (extension or b'').split(b';')]
        if not items[-1][0].strip() == b'chunk-signature' or not items[-1][2].strip():
            raise S3Error('IncompleteBody')
        if len(items) > 1:
            return extension.decode('latin-1').strip()      # whatever it is, nobody signed it so
        return items[0][2].strip().decode('latin-1')

    def _end(self):
        if self._line() != b'\r\n':
            raise S3Error('IncompleteBody')
        if self.signer is not None:
            self.signer.check('PAYLOAD', self.given, _EMPTY, self.digest.hexdigest())

    def finish(self):
        """Read the chunk of no bytes and the trailers behind it; the trailers by name."""
        self._head()
        if self.size:
            raise self._wrong_length(self.done + self.size)
        if self.names:
            return self._trailers()
        if self.signer is not None and self.with_trailers:
            raise S3Error('IncompleteBody')     # the signature of trailers is missing
        if self._line() not in (b'', b'\r\n'):
            raise S3Error('IncompleteBody')
        return {}

    def _trailers(self):
        found, signed, signature = {}, '', None
        for _ in range(MAX_TRAILERS):
            line = self._line()
            if line in (b'', b'\r\n'):
                break
            name, colon, value = line[:-2].decode('latin-1').partition(':')
            name, value = name.strip().lower(), value.strip()
            if name == _SIGNATURE and self.signer is not None:
                signature = value
                break
            if not colon or name not in self.names:
                raise S3Error('MalformedTrailerError')
            found[name] = value
            signed += f'{name}:{value}\n'
        if self.signer is not None:
            if signature is None:
                raise S3Error('IncompleteBody')
            self.signer.check('TRAILER', signature,
                              hashlib.sha256((signed or '\n').encode('latin-1')).hexdigest())
        if len(found) != len(self.names):
            raise S3Error('MalformedTrailerError')
        return found


def without_coding(value):
    """A Content-Encoding without aws-chunked, None when nothing is left."""
    kept = [item.strip() for item in (value or '').split(',')
            if item.strip() and item.strip().lower() != 'aws-chunked']
    return ', '.join(kept) or None
