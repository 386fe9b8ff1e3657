# SPDX-License-Identifier: Apache-2.0
"""Objects: reading them. Writing is in `put`, deleting in `remove`."""

from swift.common.conditional import Unsatisfiable, parse_range
from swift.common.middleware.s3api import checksums
from swift.common.middleware.s3api.errors import S3Error, invalid
from swift.common.middleware.s3api.names import mail_safe, meta_from_swift
from swift.common.middleware.s3api.versions import version_query
from swift.common.middleware.s3api.xmlio import element
from swift.common.request import Response, http_date

ETAG_SYSMETA = 'X-Object-Sysmeta-S3api-Etag'
UPLOAD_SYSMETA = 'X-Object-Sysmeta-S3api-Upload-Id'
VERSION = 'x-object-version-id'
OVERRIDE = 'X-Object-Sysmeta-Container-Update-Override-Etag'
CONDITIONS = ('if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since', 'if-range')
# What of the store's headers S3 shows under the same name.
SHOWN = frozenset(('content-type', 'content-length', 'content-range', 'content-encoding',
                   'content-disposition', 'content-language', 'cache-control', 'expires',
                   'last-modified', 'accept-ranges', 'x-robots-tag', 'vary'))
OVERRIDES = ('content-type', 'content-language', 'expires', 'cache-control',
             'content-disposition', 'content-encoding')
NAMES = {name: name.title() for name in SHOWN}


def get(call):
    """GET and HEAD Object."""
    req, store = call.req, call.store
    call.allow_bucket(None)
    head = req.method == 'HEAD'
    headers = {n.title(): req.headers[n] for n in CONDITIONS if n in req.headers}
    if 'If-Match' in headers or 'If-None-Match' in headers:
        headers['X-Backend-Etag-Is-At'] = ETAG_SYSMETA
    number = part_number(call)
    wanted = req.headers.get('range')
    if wanted is not None:
        if not head:
            headers['Range'] = wanted
    query = version_query(req.params.get('versionId'), call.settings)
    if number is not None:
        query += f'&part-number={number}'
    answer = store.ask(req.method, req.bucket, req.key, headers, query.lstrip('&'))
    if answer.status not in (200, 206, 304, 412):
        raise read_error(call, answer)
    if call.acl is not None:
        try:
            call.allow_object(answer.headers, 'READ')
        except S3Error:
            answer.discard()
            raise
    if answer.status == 412:
        answer.discard()
        raise S3Error('PreconditionFailed')
    status, shown = answer.status, object_headers(answer.headers)
    if number is not None:
        status = _part(answer, shown, number, head)
    elif head and wanted is not None and status == 200:
        status = _head_range(shown, wanted)
    _finish_headers(call, answer, shown, status)
    if status == 304:
        answer.discard()
        return Response(304, list(shown.items()), b'')
    return Response(status, list(shown.items()), answer.pieces)


def read_error(call, answer):
    req = call.req
    said = answer.body()
    if answer.status == 416 and 'partNumber' in req.params:
        return S3Error('InvalidPartNumber')
    if answer.status == 416:
        return S3Error('InvalidRange', RangeRequested=req.headers.get('range', ''))
    error = call.store.error(answer.status, said, req.bucket, req.key)
    if error.code == 'NoSuchKey' and req.params.get('versionId'):
        if answer.headers.get('x-amz-delete-marker') or 'swift_versions_deleted' in \
                answer.headers.get('content-type', ''):
            return S3Error('MethodNotAllowed', headers=[
                ('x-amz-delete-marker', 'true'), ('x-amz-version-id', req.params['versionId'])])
        return S3Error('NoSuchVersion', Key=req.key, VersionId=req.params['versionId'])
    if error.code == 'NoSuchKey' and answer.headers.get(VERSION):
        error.headers += [('x-amz-delete-marker', 'true'),
                          ('x-amz-version-id', answer.headers[VERSION])]
    return error


def is_large(headers):
    """Whether an object's content is in the parts of a multipart upload."""
    return headers.get('x-static-large-object', '').lower() == 'true'


def part_number(call):
    """The parameter partNumber as a number, None without."""
    text = call.req.params.get('partNumber')
    if text is None:
        return None
    if call.req.headers.get('range') is not None and call.req.method in ('GET', 'HEAD'):
        raise S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query '
                      'parameter')
    most = call.settings.max_upload_part_num
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise invalid('partNumber', text, 'Part number must be an integer between 1 and '
                      f'{most}, inclusive')
    return int(text)


def object_headers(headers):
    """What S3 shows of an object's headers in the store."""
    shown = {}
    for name, value in headers.items():
        if name in SHOWN:
            shown[NAMES[name]] = value
        elif name.startswith('x-object-meta-'):
            shown[meta_from_swift(name[14:])] = mail_safe(value)
        elif name.startswith('access-control-'):
            shown[name.title()] = value
    etag = headers.get(ETAG_SYSMETA.lower()) or headers.get('etag', '').strip('"')
    if etag:
        shown['ETag'] = f'"{etag}"'
    at = headers.get('x-delete-at')
    if at and at.isdigit():
        shown['x-amz-expiration'] = \
            f'expiry-date="{http_date(int(at))}", rule-id="swift-object-expiration"'
    version = headers.get(VERSION)
    if version:
        shown['x-amz-version-id'] = version
    return shown


def _finish_headers(call, answer, shown, status):
    params = call.req.params
    for name in OVERRIDES:
        value = params.get('response-' + name)
        if value is not None and status in (200, 206):
            if not value.isprintable():
                raise invalid('response-' + name, '')
            shown[name.title()] = value.encode('utf-8').decode('latin-1')
    if call.req.headers.get('x-amz-checksum-mode', '').upper() == 'ENABLED' and status == 200:
        kept = checksums.parse_stored(answer.headers.get(checksums.SYSMETA.lower()))
        if kept is not None:
            shown[checksums.PREFIX + kept[0].lower()] = kept[1]
            shown['x-amz-checksum-type'] = kept[2]
    shown.setdefault('Accept-Ranges', 'bytes')
    if status == 304:
        shown['Content-Length'] = '0'


def _part(answer, shown, number, head):
    """The status of a read of one part; an object that is no upload has one."""
    count = answer.headers.get('x-parts-count')
    if count is not None:
        shown['x-amz-mp-parts-count'] = count
        return 206
    if number > 1:
        answer.discard()
        raise S3Error('InvalidPartNumber')
    size = int(shown['Content-Length'])
    if size:
        shown['Content-Range'] = f'bytes 0-{size - 1}/{size}'
    return 206


def _head_range(shown, wanted):
    """HEAD tells what a GET of the range would: the store does not."""
    size = int(shown['Content-Length'])
    try:
        ranges = parse_range(wanted.replace(' ', ''), size)
    except Unsatisfiable:
        raise S3Error('InvalidRange') from None
    if ranges is None or len(ranges) != 1:
        return 200
    start, stop = ranges[0]
    shown['Content-Length'] = str(stop - start)
    shown['Content-Range'] = f'bytes {start}-{stop - 1}/{size}'
    return 206


def head_version(call):
    """The Answer to a HEAD of the object, or of the version of it, that is asked for."""
    req = call.req
    answer = call.store.ask('HEAD', req.bucket, req.key, query=version_query(
        req.params.get('versionId'), call.settings))
    if not answer.ok:
        raise read_error(call, answer)
    answer.discard()
    return answer


def tagging(call):
    """GET Object tagging: no object has tags."""
    call.allow_object(head_version(call).headers, 'READ')
    return call.xml(element('Tagging', element('TagSet')))
