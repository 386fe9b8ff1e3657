# SPDX-License-Identifier: Apache-2.0
"""Multipart uploads: beginning them, their parts, giving them up. Completing is in `complete`.

An upload is an empty object ``<bucket>+segments/<key>/<upload id>``, which keeps what the object
will get as metadata; its parts are ``.../<part number>`` behind it. That is OpenStack Swift's
layout. The upload exists as long as the empty object does: it is made before any part. Parts that
are there without it belong to an object, or the expirer has been told of them (`parts`).
"""

import base64
import uuid

from swift.common.middleware.s3api import acl, checksums
from swift.common.middleware.s3api.acl import owner_element
from swift.common.middleware.s3api.errors import S3Error, invalid
from swift.common.middleware.s3api.listing import Names
from swift.common.middleware.s3api.names import iso_seconds, segments_of
from swift.common.middleware.s3api.objects import is_large, part_number
from swift.common.middleware.s3api.parts import AT_ONCE, Parts
from swift.common.middleware.s3api.put import (
    SOURCE,
    answer_headers,
    check_headers,
    check_no_range,
    copy_result,
    new_headers,
    open_source,
    source_version,
    store_body,
    store_copy,
)
from swift.common.middleware.s3api.xmlio import element

HAS_TYPE = 'X-Object-Sysmeta-S3api-Has-Content-Type'
TYPE = 'X-Object-Sysmeta-S3api-Content-Type'
ALGORITHM = 'X-Object-Sysmeta-S3api-Checksum-Algorithm'      # of the upload: "CRC32 COMPOSITE"
KIND = 'application/directory'
ROOM = 60                      # bytes of a name that an upload id and a part number take
MAX_UPLOADS = 1000             # in one answer


class Upload:
    """The upload a request names; ``headers`` are those of its empty object."""

    def __init__(self, call):
        req = call.req
        self.id = req.params.get('uploadId', '')
        self.container = segments_of(req.bucket)
        self.name = f'{req.key}/{self.id}'
        self.headers = {}

    def find(self, call):
        """Look it up; NoSuchUpload when there is none."""
        if not self.id or '/' in self.id:
            raise S3Error('NoSuchUpload', UploadId=self.id)
        answer = call.store.ask('HEAD', self.container, self.name)
        answer.discard()
        if answer.status == 404:
            raise S3Error('NoSuchUpload', UploadId=self.id)
        if not answer.ok:
            raise call.store.error(answer.status, b'', self.container, self.name)
        self.headers = answer.headers
        return self

    def part(self, number):
        """The name of a part's object."""
        return f'{self.name}/{number}'

    def parts(self, call):
        """``(number, row)`` of what has been uploaded, in order."""
        start = len(self.name) + 1
        found = [(int(row['name'][start:]), row)
                 for row in call.store.all(self.container, self.name + '/')
                 if row['name'][start:].isascii() and row['name'][start:].isdigit()]
        return sorted(found, key=lambda item: item[0])

    @property
    def checksum(self):
        """``(algorithm, type)`` asked for when the upload began, None without."""
        parts = self.headers.get(ALGORITHM.lower(), '').split(' ')
        return tuple(parts) if len(parts) == 2 and parts[0] in checksums.ALGORITHMS else None


def begin(call):
    """POST Object uploads."""
    req = call.req
    check_headers(req.headers)
    if len(req.key.encode()) + ROOM > call.settings.max_key:
        raise S3Error('KeyTooLongError')
    container = call.store.need_segments(req.bucket)
    upload_id = base64.urlsafe_b64encode(str(uuid.uuid4()).encode()).decode()
    headers = new_headers(req.headers)
    del headers['Content-Type']
    kind = req.headers.get('content-type') or None
    headers.update({HAS_TYPE: 'yes' if kind is not None else 'no', 'Content-Type': KIND,
                    'Content-Length': '0'})
    if kind is not None:
        headers[TYPE] = kind
    for value in call.new_acl().values():
        headers[acl.UPLOAD_SYSMETA] = value
    checksum = _checksum(req.headers)
    shown = []
    if checksum is not None:
        headers[ALGORITHM] = ' '.join(checksum)
        shown = [('x-amz-checksum-algorithm', checksum[0]), ('x-amz-checksum-type', checksum[1])]
    call.store.done('PUT', container, f'{req.key}/{upload_id}', headers=headers)
    return call.xml(element(
        'InitiateMultipartUploadResult', element('Bucket', req.bucket), element('Key', req.key),
        element('UploadId', upload_id)), headers=shown)


def _checksum(headers):
    """``(algorithm, type)`` of x-amz-checksum-algorithm and -type."""
    algorithm = headers.get('x-amz-checksum-algorithm', '').upper()
    kind = headers.get('x-amz-checksum-type', '').upper()
    if not algorithm:
        if kind:
            raise S3Error('InvalidRequest', 'x-amz-checksum-type needs x-amz-checksum-algorithm')
        return None
    if algorithm not in checksums.ALGORITHMS:
        raise S3Error('InvalidRequest', 'Checksum algorithm provided is unsupported. Please try '
                      'again with any of the valid types: '
                      + str(list(checksums.ALGORITHMS)).replace("'", ''))
    kind = kind or ('FULL_OBJECT' if algorithm == 'CRC64NVME' else 'COMPOSITE')
    if kind not in ('FULL_OBJECT', 'COMPOSITE'):
        raise S3Error('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.')
    if kind == 'FULL_OBJECT' and checksums.ALGORITHMS[algorithm][2] is None or \
            kind == 'COMPOSITE' and algorithm == 'CRC64NVME':
        raise S3Error('InvalidRequest', f'The {kind} checksum type cannot be used with the '
                      f'{algorithm.lower()} checksum algorithm.')
    return algorithm, kind


def put_part(call):
    """PUT Object with uploadId and partNumber: a part from the body or from another object."""
    req = call.req
    if 'partNumber' not in req.params:
        raise S3Error('InvalidArgument', 'This operation does not accept a query-string.',
                      ArgumentName='partNumber', ArgumentValue='')
    number = part_number(call)
    upload = Upload(call).find(call)
    check_headers(req.headers)
    if SOURCE in req.headers:
        return _copy_part(call, upload, number)
    answer, body = store_body(call, upload.container, upload.part(number),
                              {'Content-Type': 'application/octet-stream'})
    shown = [('ETag', f'"{answer.headers["etag"].strip(chr(34))}"')]
    if body.checksum is not None:
        shown.append(body.checksum.header)
    return call.empty(headers=shown + answer_headers(answer))


def _copy_part(call, upload, number):
    check_no_range(call.req.headers)
    wanted = call.req.headers.get(SOURCE + '-range')
    extra, query = {}, ''
    if wanted is not None:
        extra['Range'] = _copy_range(wanted)
    _, source = open_source(call, extra, query)
    try:
        if wanted is not None and source.status != 206:
            raise invalid(SOURCE + '-range', wanted)
        if wanted is not None and not _as_wanted(source.headers, extra['Range']):
            raise S3Error('InvalidRange', 'Range specified is not valid for source object')
        answer, _ = store_copy(call, upload.container, upload.part(number), source,
                               {'Content-Type': 'application/octet-stream'})
    finally:
        source.discard()
    return call.xml(copy_result('CopyPartResult', answer), headers=source_version(source))


def _copy_range(text):
    first, dash, last = text.removeprefix('bytes=').partition('-')
    if not text.startswith('bytes=') or not dash or not all(
            n.isascii() and n.isdigit() and len(n) < 19 for n in (first, last)) or \
            int(first) > int(last):
        raise invalid(SOURCE + '-range', text, 'The x-amz-copy-source-range value must be of the '
                      'form bytes=first-last where first and last are the zero-based offsets of '
                      'the first and last bytes to copy')
    return f'bytes={int(first)}-{int(last)}'


def _as_wanted(headers, wanted):
    return headers.get('content-range', '').startswith(wanted.replace('=', ' ') + '/')


def abort(call):
    """DELETE Object with uploadId: the upload goes, its parts soon after, or at once if few.

    Where the expirer cannot be used, all parts go first, so that who is refused or cut off finds
    the upload again. They stay when it was completed, but did not come to its end.
    """
    upload = Upload(call).find(call)
    parts = Parts(call, call.req.key, upload.id)
    left = parts.leave()
    names = [row['name'] for _, row in upload.parts(call)]
    if left and len(names) > AT_ONCE or parts.used():
        names = []
    if not left:
        for name in names:
            _delete(call, upload, name)
    _delete(call, upload, upload.name)
    if left:
        for name in names:
            call.store.ask('DELETE', upload.container, name).body()
    return call.empty(204)


def _delete(call, upload, name):
    answer = call.store.ask('DELETE', upload.container, name)
    said = answer.body()
    if answer.status not in (204, 404):
        raise call.store.error(answer.status, said, upload.container, name)


def list_parts(call):
    """GET Object with uploadId."""
    req = call.req
    names = Names(req)
    most = call.settings.max_parts_listing
    limit = req.number('max-parts', most, most)
    marker = req.number('part-number-marker', 0)
    upload = Upload(call).find(call)
    parts = [item for item in upload.parts(call) if item[0] > marker]
    more, parts = len(parts) > limit, parts[:limit]
    checksum = upload.checksum
    rows = [element('Part', element('PartNumber', str(number)),
                    element('LastModified', iso_seconds(row['last_modified'])),
                    element('ETag', f'"{row["hash"].partition(";")[0]}"'),
                    element('Size', str(row['bytes']))) for number, row in parts]
    return call.xml(element(
        'ListPartsResult', element('Bucket', req.bucket), names.element('Key', req.key),
        element('UploadId', upload.id), owner_element(req.user, 'Initiator'),
        owner_element(req.user), element('StorageClass', 'STANDARD'),
        element('PartNumberMarker', str(marker)),
        element('NextPartNumberMarker', str(parts[-1][0] if parts else 0)),
        element('MaxParts', str(limit)), names.type_element(),
        element('IsTruncated', 'true' if more else 'false'),
        element('ChecksumAlgorithm', checksum[0]) if checksum else None,
        element('ChecksumType', checksum[1]) if checksum else None, *rows))


def list_uploads(call):
    """GET Bucket uploads."""
    req = call.req
    names = Names(req)
    limit = req.number('max-uploads', MAX_UPLOADS, MAX_UPLOADS)
    prefix, delimiter = req.params.get('prefix', ''), req.params.get('delimiter', '')
    marker, id_marker = req.params.get('key-marker', ''), req.params.get('upload-id-marker', '')
    found, groups = _uploads(call, prefix, delimiter, marker, id_marker if marker else '',
                             limit + 1)
    items = sorted([(key, upload, row) for key, upload, row in found]
                   + [(group, '', None) for group in groups], key=lambda item: item[:2])
    more, items = len(items) > limit, items[:limit]
    last = items[-1] if items and (len(items) > 1 or more) else None
    uploads = [element('Upload', names.element('Key', key), element('UploadId', upload),
                       owner_element(req.user, 'Initiator'), owner_element(req.user),
                       element('StorageClass', 'STANDARD'),
                       element('Initiated', iso_seconds(row['last_modified'])))
               for key, upload, row in items if row is not None]
    prefixes = [element('CommonPrefixes', names.element('Prefix', key))
                for key, _, row in items if row is None]
    return call.xml(element(
        'ListMultipartUploadsResult', element('Bucket', req.bucket),
        names.element('KeyMarker', marker), element('UploadIdMarker', id_marker),
        names.element('NextKeyMarker', last[0] if last else ''),
        element('NextUploadIdMarker', last[1] if last else ''),
        names.element('Delimiter', delimiter) if delimiter else None,
        names.element('Prefix', prefix) if prefix else None,
        element('MaxUploads', str(limit)), names.type_element(),
        element('IsTruncated', 'true' if more else 'false'), *uploads, *prefixes))


def _uploads(call, prefix, delimiter, marker, id_marker, most):
    """``([(key, upload id, row)], {common prefix})``, at least ``most`` of both if there are."""
    container = segments_of(call.req.bucket)
    found: list = []
    groups: set = set()
    if call.store.bucket_info(container)['status'] == 404:
        return found, groups
    for row in call.store.all(container, prefix):
        key, slash, upload = row['name'].rpartition('/')
        if not slash or upload.isdigit():
            continue                  # a part
        if marker and (key < marker or key == marker and (not id_marker or upload <= id_marker)):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        if at >= 0:
            group = key[:at + len(delimiter)]
            if group > marker:
                groups.add(group)
        else:
            found.append((key, upload, row))
        if len(found) + len(groups) >= most:
            break
    return found, groups


def completed_as(headers, upload_id):
    """Whether an object's headers say that it is this upload, completed."""
    return headers.get('x-object-sysmeta-s3api-upload-id') == upload_id and (
        is_large(headers) or 'x-object-sysmeta-s3api-etag' in headers)
