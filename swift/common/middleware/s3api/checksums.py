# SPDX-License-Identifier: Apache-2.0
"""Checksums of S3: CRC32, CRC32C, CRC64NVME, SHA1, SHA256; which one a request announces.

"Checking object integrity" of the Amazon S3 user guide. An object keeps its checksum as system
metadata: ``<algorithm> <base64> <type>``.
"""

import base64
import binascii
import hashlib
import zlib
from typing import Any

from awscrt import checksums as crt

from swift.common.middleware.s3api.errors import S3Error

SYSMETA = 'X-Object-Sysmeta-S3api-Checksum'
PREFIX = 'x-amz-checksum-'
_NOT_VALUES = ('algorithm', 'type', 'mode')
_SINGLE = 'Expecting a single x-amz-checksum- header'
_MULTIPLE = _SINGLE + '. Multiple checksum Types are not allowed.'


class Crc:
    """A CRC with the interface of hashlib."""

    def __init__(self, function, size):
        self.function, self.size, self.value = function, size, 0

    def update(self, data):
        self.value = self.function(data, self.value)

    def digest(self):
        return self.value.to_bytes(self.size, 'big')


# name: (bytes, a new hasher, how to combine two values with the length of the second or None)
ALGORITHMS: dict[str, tuple[int, Any, Any]] = {
    'CRC32': (4, lambda: Crc(zlib.crc32, 4), crt.combine_crc32),
    'CRC32C': (4, lambda: Crc(crt.crc32c, 4), crt.combine_crc32c),
    'CRC64NVME': (8, lambda: Crc(crt.crc64nvme, 8), crt.combine_crc64nvme),
    'SHA1': (20, lambda: hashlib.sha1(usedforsecurity=False), None),
    'SHA256': (32, hashlib.sha256, None),
}


def decode(algorithm, text):
    """The bytes of a checksum in base64; None when it is none of this algorithm."""
    try:
        value = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    if len(value) != ALGORITHMS[algorithm][0] or base64.b64encode(value).decode() != text:
        return None
    return value


def encode(value):
    """Bytes in base64, text."""
    return base64.b64encode(value).decode()


class Announced:
    """The checksum a request announces: ``algorithm`` and ``value``, or ``trailer`` to come."""

    def __init__(self, algorithm, value, trailer):
        self.algorithm, self.value, self.trailer = algorithm, value, trailer
        self.hasher = ALGORITHMS[algorithm][1]()

    def take_trailer(self, trailers):
        """Use the value of the trailers; S3Error when it is no checksum."""
        name = PREFIX + self.algorithm.lower()
        self.value = decode(self.algorithm, trailers.get(name, ''))
        if self.value is None:
            raise S3Error('InvalidRequest', f'Value for {name} trailing header is invalid.')

    def check(self):
        """S3Error when what was hashed has another checksum."""
        if self.hasher.digest() != self.value:
            raise S3Error('BadDigest', f'The {self.algorithm} you specified did not match the '
                          'calculated checksum.')

    @property
    def header(self):
        """``(name, value)`` for the answer."""
        return PREFIX + self.algorithm.lower(), encode(self.value)

    def stored(self, kind='FULL_OBJECT'):
        """As system metadata."""
        return f'{self.algorithm} {encode(self.value)} {kind}'


def announced(headers, streaming):
    """The Announced of a request's headers, None without; S3Error for what cannot be.

    ``streaming`` says that the body can carry trailers.
    """
    given = {n[len(PREFIX):]: v for n, v in headers.items()
             if n.startswith(PREFIX) and n[len(PREFIX):] not in _NOT_VALUES}
    if any(n.upper() not in ALGORITHMS for n in given):
        raise S3Error('InvalidRequest', 'The algorithm type you specified in x-amz-checksum- '
                      'header is invalid.')
    trailers = declared_trailers(headers)
    if len(given) > 1 or len(trailers) > 1:
        raise S3Error('InvalidRequest', _MULTIPLE)
    if given and trailers:
        raise S3Error('InvalidRequest', _SINGLE)
    named = next(iter(given), None) or (trailers[0][len(PREFIX):] if trailers else None)
    wanted = headers.get('x-amz-sdk-checksum-algorithm')
    if wanted and named is None:
        raise S3Error('InvalidRequest', 'x-amz-sdk-checksum-algorithm specified, but no '
                      'corresponding x-amz-checksum-* or x-amz-trailer headers were found.')
    if wanted and wanted.lower() != named:
        raise S3Error('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is '
                      'invalid.')
    if named is None:
        return None
    algorithm, value = named.upper(), None
    if given:
        value = decode(algorithm, given[named])
        if value is None:
            raise S3Error('InvalidRequest', f'Value for {PREFIX}{named} header is invalid.')
    elif not streaming:
        raise S3Error('MalformedTrailerError')
    return Announced(algorithm, value, bool(trailers))


def declared_trailers(headers):
    """The names of x-amz-trailer, all of checksums; S3Error for others."""
    text = headers.get('x-amz-trailer')
    if text is None:
        return []
    names = [name.strip().lower() for name in text.strip().rstrip(',').split(',')]
    sums = [n for n in names if n.startswith(PREFIX) and n[len(PREFIX):].upper() in ALGORITHMS]
    if len(sums) != len(names):
        raise S3Error('InvalidRequest', 'The value specified in the x-amz-trailer header is not '
                      'supported')
    return names


def parse_stored(text):
    """``(algorithm, base64, type)`` of system metadata; None for what is none."""
    parts = (text or '').split(' ')
    if len(parts) != 3 or parts[0] not in ALGORITHMS:
        return None
    return tuple(parts)


def of_parts(algorithm, kind, parts):
    """The base64 checksum of an object of parts: ``parts`` are ``(bytes, length)``.

    COMPOSITE is the checksum of the parts' checksums, ``-<count>``; FULL_OBJECT that of the
    content, which only CRCs can tell.
    """
    size, hasher, combine = ALGORITHMS[algorithm]
    if kind == 'COMPOSITE':
        whole = hasher()
        for value, _ in parts:
            whole.update(value)
        return f'{encode(whole.digest())}-{len(parts)}'
    result = 0
    for value, length in parts:
        result = combine(result, int.from_bytes(value, 'big'), length)
    return encode(result.to_bytes(size, 'big'))
