# SPDX-License-Identifier: Apache-2.0
"""The reading half of encryption at rest: objects, parts of them, and listings."""

from typing import Any

from swift.common.middleware.crypto import CryptoError, ctr, decrypt_text, load_meta, split_text
from swift.common.middleware.listing_entries import answer_changed
from swift.common.middleware.versions_common import run
from swift.common.request import Response

BODY, ETAG = 'x-object-sysmeta-crypto-body-meta', 'x-object-sysmeta-crypto-etag'
OVERRIDE = 'x-object-sysmeta-container-update-override-etag'
META = 'x-object-transient-sysmeta-crypto-meta'
OWN = ('x-object-sysmeta-crypto-', META)
MAX_PART_HEAD = 8192


class Deciphered:
    """A body, deciphered as it comes; closing it closes what it is read from."""

    def __init__(self, pieces, decrypted):
        self.pieces, self.decrypted = pieces, decrypted

    def __iter__(self):
        return self.decrypted

    def close(self):
        """Let the body go."""
        close = getattr(self.pieces, 'close', None)
        if close is not None:
            close()


class Decryption:
    """What the filter `encryption` does with answers."""

    app: Any

    def read(self, env, start_response):
        """A GET or HEAD of an object."""
        status, headers, pieces = run(self.app, env)
        low = {n.lower(): v for n, v in headers}
        if BODY not in low and META not in low and '; swift_meta=' not in low.get(OVERRIDE, ''):
            return Response(status, headers, pieces)(env, start_response)
        keys = env['swift.crypto_keys']
        headers = self._headers(keys, headers, low)
        if BODY in low and env['REQUEST_METHOD'] == 'GET' and status in (200, 206):
            pieces = self._body(keys, low, status, pieces)
        return Response(status, headers, pieces)(env, start_response)

    @staticmethod
    def _key_of(keys, meta, what='object_key'):
        if 'key_id' not in meta:
            raise CryptoError('a description without a key id')
        return getattr(keys, what)(meta['key_id'])

    def _headers(self, keys, headers, low):
        """The headers in clear, without what describes how they were stored."""
        etag = None
        if BODY in low and ETAG in low:
            etag = decrypt_text(low[ETAG], self._key_of(keys, load_meta(low[BODY])))
        user_key = self._key_of(keys, load_meta(low[META])) if META in low else None
        out = []
        for name, value in headers:
            lower = name.lower()
            if lower == 'etag' and etag is not None:
                out.append((name, etag))
            elif lower == OVERRIDE:
                found = split_text(value)
                out.append((name, value if found is None else decrypt_text(
                    value, self._key_of(keys, found[1], 'container_key'))))
            elif lower.startswith(META + '-'):
                if user_key is None:
                    raise CryptoError('user metadata without a description')
                out.append(('X-Object-Meta-' + lower[len(META) + 1:].title(),
                            decrypt_text(value, user_key)))
            elif not lower.startswith(OWN):
                out.append((name, value))
        return _exposed(out)

    def _body(self, keys, low, status, pieces):
        """The pieces of a body in clear."""
        meta = load_meta(low[BODY])
        wrapped = meta.get('body_key')
        if wrapped is None or 'iv' not in meta:
            raise CryptoError('a description without a key or an IV')
        key = ctr(self._key_of(keys, meta), wrapped['iv'])(wrapped['key'])
        iv = meta['iv']
        kind, _, rest = low.get('content-type', '').partition(';')
        if status == 206 and kind.strip().lower() == 'multipart/byteranges':
            boundary = rest.partition('=')[2].strip().strip('"').encode('latin-1')
            return Deciphered(pieces, multipart(iter(pieces), boundary, key, iv))
        offset = first_byte(low['content-range']) if status == 206 else 0
        decrypt = ctr(key, iv, offset)
        return Deciphered(pieces, (decrypt(piece) for piece in pieces))

    def listing(self, env, start_response):
        """A container's listing with the hashes in clear."""
        def change(item):
            found = split_text(item.get('hash', ''))
            if found is not None:
                item['hash'] = decrypt_text(item['hash'], self._key_of(
                    env['swift.crypto_keys'], found[1], 'container_key'))

        return answer_changed(self.app, env, start_response, (b'; swift_meta=',), change)


def _exposed(headers):
    """The headers, with user metadata among those that scripts may see, if any may."""
    names = [n.lower() for n, _ in headers if n.lower().startswith('x-object-meta-')]
    return [(n, ', '.join(sorted({*v.split(', '), *names})))
            if names and n.lower() == 'access-control-expose-headers' else (n, v)
            for n, v in headers]


def first_byte(content_range):
    """Where a Content-Range begins."""
    try:
        return int(content_range.split(' ', 1)[1].partition('-')[0])
    except (IndexError, ValueError) as e:
        raise CryptoError(f'broken Content-Range {content_range!r}') from e


def multipart(pieces, boundary, key, iv):
    """The pieces of a body of several ranges, the content of its parts deciphered."""
    buffer = b''
    end = b'--' + boundary + b'--'
    while True:
        while b'\r\n\r\n' not in buffer and not buffer.lstrip(b'\r\n').startswith(end):
            piece = next(pieces, b'')
            if not piece or len(buffer) > MAX_PART_HEAD:
                raise CryptoError('a body of several ranges ends early')
            buffer += piece
        if buffer.lstrip(b'\r\n').startswith(end):
            yield buffer
            yield from pieces
            return
        head, _, buffer = buffer.partition(b'\r\n\r\n')
        yield head + b'\r\n\r\n'
        span = next(line.partition(b':')[2].decode('latin-1').strip()
                    for line in head.split(b'\r\n') if line.lower().startswith(b'content-range:'))
        first, _, last = span.partition(' ')[2].partition('/')[0].partition('-')
        decrypt, left = ctr(key, iv, int(first)), int(last) - int(first) + 1
        while left:
            if not buffer:
                buffer = next(pieces, b'')
                if not buffer:
                    raise CryptoError('a body of several ranges ends early')
            data, buffer = buffer[:left], buffer[left:]
            left -= len(data)
            yield decrypt(data)
