# SPDX-License-Identifier: Apache-2.0
"""Writing objects: PutObject and CopyObject."""

from urllib.parse import unquote

from swift.common.middleware.copy import SourceBody
from swift.common.middleware.s3api import checksums
from swift.common.middleware.s3api.body import Body
from swift.common.middleware.s3api.chunks import without_coding
from swift.common.middleware.s3api.errors import S3Error, invalid, not_implemented
from swift.common.middleware.s3api.names import iso, meta_to_swift
from swift.common.middleware.s3api.objects import ETAG_SYSMETA
from swift.common.middleware.s3api.replaced import Replaced
from swift.common.middleware.s3api.versions import version_query
from swift.common.middleware.s3api.xmlio import element
from swift.common.request import parse_http_date

STORED = ('content-disposition', 'content-encoding', 'content-language', 'cache-control',
          'expires', 'x-robots-tag', 'x-delete-at', 'x-delete-after')
SOURCE = 'x-amz-copy-source'
DEFAULT_TYPE = 'binary/octet-stream'
CONDITIONS = ('if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since')
# Headers that ask for what is not there: prefix, and the values that ask for nothing.
REFUSED = (
    ('x-amz-server-side-encryption', ()), ('x-amz-object-lock-', ()), ('x-amz-tagging', ('',)),
    ('x-amz-website-redirect-location', ()), ('x-amz-write-offset-bytes', ()),
    ('x-amz-copy-source-server-side-encryption', ()))


def check_headers(headers):
    """NotImplemented for headers that ask for what is not there."""
    for name, value in headers.items():
        if name.startswith('x-amz-'):
            for prefix, harmless in REFUSED:
                if name.startswith(prefix) and name != 'x-amz-tagging-directive' and \
                        value not in harmless:
                    raise not_implemented(name)
    if headers.get('x-amz-storage-class', 'STANDARD') != 'STANDARD':
        raise S3Error('InvalidStorageClass', StorageClassRequested=headers['x-amz-storage-class'])


def check_conditions(headers):
    """``If-None-Match: *`` as the store's header; other conditions of a write are not there."""
    for name in CONDITIONS:
        if name in headers and (name != 'if-none-match' or headers[name].strip() != '*'):
            raise not_implemented(name.title())
    return {'If-None-Match': '*'} if 'if-none-match' in headers else {}


def new_headers(headers):
    """What the store keeps of a new object's headers."""
    kept = {n.title(): headers[n] for n in STORED if n in headers}
    for name, value in headers.items():
        if name == 'x-amz-meta-':
            raise S3Error('InvalidRequest', 'A header of metadata has no name: x-amz-meta-')
        if name.startswith('x-amz-meta-'):
            kept[meta_to_swift(name[11:])] = value
    kept['Content-Type'] = headers.get('content-type') or DEFAULT_TYPE
    return kept


def put(call):
    """PUT Object."""
    req = call.req
    if 'partNumber' in req.params:
        raise invalid('partNumber', req.params['partNumber'], 'A part needs an uploadId')
    if SOURCE in req.headers:
        return copy(call)
    check_headers(req.headers)
    headers = {**new_headers(req.headers), **check_conditions(req.headers), **call.new_acl()}
    before = Replaced(call, req.key)
    answer, body = store_body(call, req.bucket, req.key, headers, before.leave)
    before.drop()
    shown = [('ETag', f'"{answer.headers["etag"].strip(chr(34))}"')]
    if body.checksum is not None:
        shown += [body.checksum.header, ('x-amz-checksum-type', 'FULL_OBJECT')]
    return call.empty(headers=shown + answer_headers(answer))


def answer_headers(answer):
    """What a write's answer says besides the ETag."""
    shown = []
    if 'last-modified' in answer.headers:
        shown.append(('Last-Modified', answer.headers['last-modified']))
    return shown + version_header(answer)


def version_header(answer):
    """What a write's answer says of the version it made, as headers."""
    version = answer.headers.get('x-object-version-id')
    return [('x-amz-version-id', version)] if version else []


def store_body(call, container, obj, headers, at_end=None):
    """PUT the request's body; ``(Answer, Body)``. S3Error, and nothing stored, when it is bad.

    ``at_end`` is called before the store has all of it.
    """
    req = call.req
    body = Body(req, at_end=at_end).start()
    if body.length is not None and body.length > call.settings.max_file_size:
        raise S3Error('EntityTooLarge')
    if body.chunked is not None and 'Content-Encoding' in headers:
        left = without_coding(headers.pop('Content-Encoding'))
        if left:
            headers['Content-Encoding'] = left
    if body.md5 is not None:
        headers['Etag'] = body.md5.hex()
    if body.checksum is not None and body.checksum.value is not None:
        headers[checksums.SYSMETA] = body.checksum.stored()
    if body.length is None:
        headers['Transfer-Encoding'] = 'chunked'
    else:
        headers['Content-Length'] = str(body.length)
    answer = call.store.ask('PUT', container, obj, headers, body=body,
                            footers=_trailing_checksum(body))
    said = answer.body()
    if body.error is not None:
        raise body.error
    if answer.status == 422 and body.md5 is not None:
        raise S3Error('BadDigest', ExpectedDigest=body.md5.hex())
    if answer.status // 100 != 2:
        raise call.store.error(answer.status, said, container, obj)
    if answer.status == 202:
        raise S3Error('OperationAborted')         # somebody else's write is newer
    return answer, body


def _trailing_checksum(body):
    """What puts the checksum of a body's trailer with the object; None when there is none."""
    if body.checksum is None or body.checksum.value is not None:
        return None

    def keep(footers):
        footers[checksums.SYSMETA] = body.checksum.stored()

    return keep


# -- copying -------------------------------------------------------------------
class Source:
    """What x-amz-copy-source names: ``bucket``, ``key``, ``version`` or None."""

    def __init__(self, value):
        path, mark, query = value.partition('?')
        self.version = None
        if mark:
            name, _, version = query.partition('=')
            if name != 'versionId' or not version or '&' in version:
                raise invalid(SOURCE, value)
            self.version = version
        try:
            text = unquote(path.encode('latin-1').decode('utf-8'), errors='strict')
        except UnicodeError:
            raise invalid(SOURCE, value) from None
        self.bucket, _, self.key = text.removeprefix('/').partition('/')
        if not self.bucket or not self.key or '\0' in text:
            raise invalid(SOURCE, value, 'Copy Source must mention the source bucket and key: '
                          'sourcebucket/sourcekey')


def open_source(call, extra=None, query=''):
    """``(Source, Answer)`` of the object to copy, conditions and rights seen to."""
    req, store = call.req, call.store
    source = Source(req.headers[SOURCE])
    headers = {n.title(): req.headers[f'{SOURCE}-{n}'] for n in CONDITIONS
               if f'{SOURCE}-{n}' in req.headers}
    headers |= {'X-Backend-Etag-Is-At': ETAG_SYSMETA, 'X-Newest': 'true', **(extra or {})}
    lists = call.list_of(store.need_bucket(source.bucket))
    query = '&'.join(filter(None, (version_query(source.version, call.settings), query)))
    answer = store.ask('GET', source.bucket, source.key, headers, query,
                       trusted=lists is not None)
    if answer.status not in (200, 206):
        said = answer.body()
        if answer.status == 304:
            raise S3Error('PreconditionFailed')
        raise store.error(answer.status, said, source.bucket, source.key)
    if lists is not None:
        if not call.list_of_object(answer.headers, lists).allows(req.user, 'READ'):
            answer.discard()
            raise S3Error('AccessDenied')
    return source, answer


def copy(call):
    """CopyObject: the content goes through the proxy, the new object is one piece."""
    req = call.req
    headers = req.headers
    check_headers(headers)
    check_no_range(headers)
    if SOURCE + '-range' in headers:
        raise invalid(SOURCE + '-range', headers[SOURCE + '-range'], 'Only parts of uploads are '
                      'copied by ranges')
    directive = headers.get('x-amz-metadata-directive', 'COPY')
    if directive not in ('COPY', 'REPLACE'):
        raise invalid('x-amz-metadata-directive', directive, 'Unknown metadata directive.')
    if headers.get('x-amz-tagging-directive', 'COPY') not in ('COPY', 'REPLACE'):
        raise invalid('x-amz-tagging-directive', headers['x-amz-tagging-directive'])
    named = Source(headers[SOURCE])
    if directive == 'COPY' and (named.bucket, named.key, named.version) == (
            req.bucket, req.key, None):
        raise S3Error('InvalidRequest', 'This copy request is illegal because it is trying to '
                      'copy an object to itself without changing the object\'s metadata, storage '
                      'class, website redirect location or encryption attributes.')
    lists = call.new_acl()
    conditions = check_conditions(headers)
    _, source = open_source(call)
    try:
        kept = _copied(source.headers) if directive == 'COPY' else new_headers(headers)
        kept.setdefault('Content-Type', source.headers.get('content-type',
                                                           'application/octet-stream'))
        before = Replaced(call, req.key)
        answer, total = store_copy(call, req.bucket, req.key, source,
                                   {**kept, **lists, **conditions}, before.leave)
    finally:
        source.discard()
    before.drop()
    shown = source_version(source) + version_header(answer)
    return call.xml(_result('CopyObjectResult', answer, total), headers=shown)


def check_no_range(headers):
    """InvalidArgument: no copy is of the range a Range header names."""
    if 'range' in headers:
        raise invalid('Range', headers['range'], 'The Range header is not supported for copies')


def source_version(source):
    """What an answer says of the version that was copied, as headers."""
    version = source.headers.get('x-object-version-id')
    return [('x-amz-copy-source-version-id', version)] if version else []


def _copied(source):
    """The headers that come along with an object."""
    kept = {}
    for name, value in source.items():
        if name.startswith('x-object-meta-') or name in STORED[:6]:
            kept[name.title()] = value
    return kept


def store_copy(call, container, obj, source, headers, at_end=None):
    """PUT what an Answer holds; ``(Answer, checksum for the result or None)``.

    ``at_end`` is called before the store has all of it.
    """
    size = int(source.headers['content-length'])
    if size > call.settings.max_file_size:
        raise S3Error('InvalidRequest', 'The specified copy source is larger than the maximum '
                      f'allowable size for a copy source: {call.settings.max_file_size}')
    total = None
    kept = checksums.parse_stored(source.headers.get(checksums.SYSMETA.lower()))
    if kept is not None and kept[2] == 'FULL_OBJECT' and source.status == 200:
        headers[checksums.SYSMETA], total = ' '.join(kept), kept
    headers['Content-Length'] = str(size)
    pieces = source.pieces if at_end is None else _until_end(source.pieces, size, at_end)
    if not size and at_end is not None:
        at_end()
    answer = call.store.ask('PUT', container, obj, headers, body=SourceBody(pieces))
    said = answer.body()
    if answer.status // 100 != 2:
        raise call.store.error(answer.status, said, container, obj)
    if answer.status == 202:
        raise S3Error('OperationAborted')
    return answer, total


def _until_end(pieces, size, at_end):
    """The pieces of ``size`` bytes; ``at_end`` is called before the last of them."""
    for piece in pieces:
        size -= len(piece)
        if size == 0:
            at_end()
        yield piece


def _result(tag, answer, total=None):
    """The element that says what came of a copy."""
    moment = parse_http_date(answer.headers.get('last-modified', '')) or 0
    return element(tag, element('LastModified', iso(moment)),
                   element('ETag', f'"{answer.headers["etag"].strip(chr(34))}"'),
                   element('Checksum' + total[0], total[1]) if total else None)


copy_result = _result
