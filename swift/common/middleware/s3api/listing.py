# SPDX-License-Identifier: Apache-2.0
"""Listings of a bucket: ListObjects, ListObjectsV2, ListObjectVersions."""

import base64
import binascii
import re

from swift.common.middleware.s3api.acl import owner_element
from swift.common.middleware.s3api.errors import invalid
from swift.common.middleware.s3api.names import iso_seconds, quoted
from swift.common.middleware.s3api.versions import DELETED, check_version
from swift.common.middleware.s3api.xmlio import element

_S3_ETAG = re.compile(r'; s3_etag=([^;\s]+)')


class Names:
    """How names are written: plain, or percent-encoded with ``encoding-type=url``."""

    def __init__(self, req):
        self.kind = req.params.get('encoding-type')
        if self.kind is not None and self.kind != 'url':
            raise invalid('encoding-type', self.kind, 'Invalid Encoding Method specified in '
                          'Request')

    def element(self, tag, name):
        return element(tag, quoted(name) if self.kind else name)

    def type_element(self):
        return element('EncodingType', self.kind) if self.kind else None


def etag_of(row):
    """The ETag of a listing's row as S3 shows it."""
    found = _S3_ETAG.search(row.get('hash', ''))
    if found:
        return f'"{found[1]}"'
    if row.get('s3_etag'):
        return row['s3_etag']
    if row.get('slo_etag'):
        return f'"{row["slo_etag"].strip(chr(34))}-N"'
    return f'"{row["hash"]}"'


def list_objects(call):
    """GET Bucket, of both versions of the call."""
    req = call.req
    kind = req.params.get('list-type')
    if kind is not None and kind not in ('1', '2'):
        raise invalid('list-type', kind)
    two = kind == '2'
    names = Names(req)
    most = req.number('max-keys', call.settings.max_bucket_listing)
    limit = min(most, call.settings.max_bucket_listing)
    prefix, delimiter = req.params.get('prefix', ''), req.params.get('delimiter', '')
    marker = _marker(req, two)
    rows = call.store.listing(req.bucket, prefix=prefix, delimiter=delimiter, marker=marker,
                              limit=limit + 1)
    more = len(rows) > limit > 0
    rows = rows[:limit]
    last = (rows[-1].get('name') or rows[-1].get('subdir')) if rows else ''
    head = [element('Name', req.bucket), names.element('Prefix', prefix)]
    if two:
        head += _head_two(req, names, rows, more, last)
        owner = req.params.get('fetch-owner', '').lower() == 'true'
    else:
        head.append(names.element('Marker', marker))
        if more and delimiter:
            head.append(names.element('NextMarker', last))
        owner = True
    head += [element('MaxKeys', str(most)),
             names.element('Delimiter', delimiter) if delimiter else None, names.type_element(),
             element('IsTruncated', 'true' if more else 'false')]
    objects = [_object(row, names, req.user if owner else None)
               for row in rows if 'subdir' not in row]
    return call.xml(element('ListBucketResult', *head, *objects, *_prefixes(rows, names)))


def _marker(req, two):
    if not two:
        return req.params.get('marker', '')
    token = req.params.get('continuation-token', '')
    if not token:
        return req.params.get('start-after', '')
    try:
        marker = base64.b64decode(token.encode(), b'-_', validate=True).decode()
        if '\0' not in marker:
            return marker
    except (ValueError, binascii.Error):
        pass
    raise invalid('continuation-token', token, 'The continuation token provided is incorrect')


def _head_two(req, names, rows, more, last):
    token = base64.urlsafe_b64encode(last.encode('utf-8', 'surrogateescape')).decode()
    return [element('NextContinuationToken', token) if more else None,
            element('ContinuationToken', req.params['continuation-token'])
            if 'continuation-token' in req.params else None,
            names.element('StartAfter', req.params['start-after'])
            if 'start-after' in req.params else None,
            element('KeyCount', str(len(rows)))]


def _object(row, names, owner):
    return element('Contents', names.element('Key', row['name']),
                   element('LastModified', iso_seconds(row['last_modified'])),
                   element('ETag', etag_of(row)), element('Size', str(row['bytes'])),
                   owner_element(owner) if owner is not None else None,
                   element('StorageClass', 'STANDARD'))


def _prefixes(rows, names):
    return [element('CommonPrefixes', names.element('Prefix', row['subdir']))
            for row in rows if 'subdir' in row]


def list_versions(call):
    """GET Bucket versions: with versioning off each object is its only version, ``null``."""
    req = call.req
    names = Names(req)
    most = req.number('max-keys', call.settings.max_bucket_listing)
    limit = min(most, call.settings.max_bucket_listing)
    prefix, delimiter = req.params.get('prefix', ''), req.params.get('delimiter', '')
    marker, version = req.params.get('key-marker', ''), req.params.get('version-id-marker', '')
    if version and 'key-marker' not in req.params:
        raise invalid('version-id-marker', version, 'A version-id marker cannot be specified '
                      'without a key marker.')
    if version:
        check_version(version, 'version-id-marker')
    rows = _versions(call, prefix, delimiter, marker, version, limit + 1)
    more = len(rows) > limit > 0
    rows = rows[:limit]
    head = [element('Name', req.bucket), names.element('Prefix', prefix),
            names.element('KeyMarker', marker),
            element('VersionIdMarker', req.params.get('version-id-marker', ''))]
    if more:
        last = rows[-1]
        head.append(names.element('NextKeyMarker', last.get('name') or last.get('subdir')))
        if 'name' in last:
            head.append(element('NextVersionIdMarker', last.get('version_id', 'null')))
    head += [element('MaxKeys', str(most)),
             names.element('Delimiter', delimiter) if 'delimiter' in req.params else None,
             names.type_element(),
             element('IsTruncated', 'true' if more else 'false')]
    items = [_version(row, names, req.user) for row in rows if 'subdir' not in row]
    return call.xml(element('ListVersionsResult', *head, *items, *_prefixes(rows, names)))


def _versions(call, prefix, delimiter, marker, version, limit):
    """Rows of a listing of versions; without versioning those of the bucket itself."""
    more = {'versions': 'true', 'version_marker': version} if call.settings.versioning() else {}
    return call.store.listing(call.req.bucket, prefix=prefix, delimiter=delimiter,
                              marker=marker, limit=limit, **more)


def _version(row, names, owner):
    latest = row.get('is_latest', True)
    head = (names.element('Key', row['name']),
            element('VersionId', row.get('version_id', 'null')),
            element('IsLatest', 'true' if latest else 'false'),
            element('LastModified', iso_seconds(row['last_modified'])))
    if row.get('content_type') == DELETED:
        return element('DeleteMarker', *head, owner_element(owner))
    return element('Version', *head, element('ETag', etag_of(row)),
                   element('Size', str(row['bytes'])), owner_element(owner),
                   element('StorageClass', 'STANDARD'))
