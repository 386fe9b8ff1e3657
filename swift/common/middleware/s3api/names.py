# SPDX-License-Identifier: Apache-2.0
"""Names: buckets, the container of a bucket's parts, metadata, times as S3 writes them."""

import base64
import re
from datetime import UTC, datetime
from urllib.parse import quote

SEGMENTS = '+segments'
_DNS = re.compile(r'[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z')
_BYTE = r'(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})'
_ADDRESS = re.compile(rf'{_BYTE}(\.{_BYTE}){{3}}\Z')
_LOOSE = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{2,254}\Z')
_HEX = re.compile(r'=([0-9A-Fa-f]{2})')


def valid_bucket(name, dns_compliant=True):
    """Whether a bucket may be called so ("Bucket naming rules" of the S3 user guide)."""
    if not dns_compliant:
        return bool(_LOOSE.match(name))
    return bool(_DNS.match(name)) and not _ADDRESS.match(name) and not any(
        pair in name for pair in ('..', '.-', '-.'))


def segments_of(bucket):
    """The container of the parts of a bucket's multipart uploads, as OpenStack Swift names it."""
    return bucket + SEGMENTS


def meta_to_swift(name):
    """The store's name of ``x-amz-meta-<name>``. Underscores are no part of names there."""
    return 'X-Object-Meta-' + name.replace('_', '=5F')


def meta_from_swift(name):
    """The other way round; ``name`` is lower case and without the prefix."""
    return 'x-amz-meta-' + name.replace('=5f', '_')


def mail_safe(value):
    """A value of metadata as S3 shows it: other alphabets encoded as RFC 2047 has it."""
    if value.isascii():
        return value
    return '=?UTF-8?B?' + base64.b64encode(value.encode('latin-1')).decode() + '?='


def iso_seconds(stamp):
    """A listing's time, whole seconds, rounded up like Last-Modified is."""
    base, _, fraction = stamp.partition('.')
    moment = datetime.fromisoformat(base).replace(tzinfo=UTC).timestamp()
    return iso(int(moment) + (1 if fraction.strip('0') else 0))


def iso(seconds):
    """Seconds since 1970 as S3's XML has them."""
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S.000Z')


def quoted(name):
    """A key or prefix with ``encoding-type=url``."""
    return quote(name.encode('utf-8', 'surrogateescape'), safe='/-_.~*')
