# SPDX-License-Identifier: Apache-2.0
"""Deleting objects and versions, with the parts of multipart uploads that nothing needs any more.

Parts go when the last version that is made of them goes: a version is a manifest, and a manifest
may have been copied. The client does not wait for it where the object expirer can do it.
"""

import json

from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.listing import etag_of
from swift.common.middleware.s3api.names import segments_of
from swift.common.middleware.s3api.objects import ETAG_SYSMETA, VERSION, is_large
from swift.common.middleware.s3api.parts import drop_parts
from swift.common.middleware.s3api.versions import DELETED, version_query


def delete(call):
    """DELETE Object: gone is gone, whether it was there or not."""
    req = call.req
    return call.empty(204, remove(call, req.key, req.params.get('versionId')))


def remove(call, key, version=None):
    """Delete an object, or a version of it; headers for the answer."""
    req, store = call.req, call.store
    query = version_query(version, call.settings)
    seen = store.ask('HEAD', req.bucket, key, query=query)
    seen.discard()
    by_id = version is not None and query != ''
    large = seen.ok and is_large(seen.headers)
    if by_id:
        return _remove_version(call, key, version, query, seen, large)
    # Of a version that stays behind the parts stay, too.
    whole = large and not call.keeps_versions() and seen.headers.get(VERSION, 'null') == 'null'
    if whole:
        answer = _with_segments(call, key, seen)
    else:
        answer = store.ask('DELETE', req.bucket, key)
        _check(call, key, answer, answer.body())
    made = answer.headers.get(VERSION)
    if made is None:
        return []
    return [('x-amz-version-id', made), ('x-amz-delete-marker', 'true')]


def _with_segments(call, key, seen):
    """Delete a large object and its segments; the store's Answer.

    Those of an upload are left to the expirer. A manifest of somebody else's making may name what
    cannot be left to it.
    """
    async_too = ETAG_SYSMETA.lower() in seen.headers
    for more in ('&async=yes', '') if async_too else ('',):
        answer = call.store.ask('DELETE', call.req.bucket, key,
                                query='multipart-manifest=delete' + more)
        said = answer.body()
        if not more or answer.status != 400:
            break
    _check(call, key, answer, said)
    # A report of what was deleted while we waited.
    if answer.status == 200 and b'200 OK' not in said:
        raise S3Error('AccessDenied' if b'403' in said else 'ServiceUnavailable')
    return answer


def _check(call, key, answer, said):
    if answer.status not in (200, 204, 404):
        raise call.store.error(answer.status, said, call.req.bucket, key)
    if answer.status == 404 and call.store.bucket_info(call.req.bucket)['status'] == 404:
        raise S3Error('NoSuchBucket', BucketName=call.req.bucket)


def _remove_version(call, key, version, query, seen, large):
    req, store = call.req, call.store
    parts = _parts(call, key, query) if large else []
    answer = store.ask('DELETE', req.bucket, key, query=query)
    _check(call, key, answer, answer.body())
    rows = _versions(call, key)
    if parts and seen.headers.get('x-object-sysmeta-s3api-etag') not in [
            etag_of(row).strip('"') for row in rows]:
        drop_parts(store, segments_of(req.bucket), parts)
    _promote(call, key, rows)
    headers = [('x-amz-version-id', version)]
    if seen.headers.get('content-type', '').startswith(DELETED):
        headers.append(('x-amz-delete-marker', 'true'))
    return headers


def _parts(call, key, query):
    """The names of the parts in the bucket's own container of parts that a manifest lists."""
    answer = call.store.ask('GET', call.req.bucket, key, query=query + '&multipart-manifest=get')
    body = answer.body()
    if not answer.ok:
        return []
    start = f'/{segments_of(call.req.bucket)}/'
    try:
        names = [entry.get('name', '') for entry in json.loads(body)]
    except (ValueError, AttributeError):
        return []
    return [name.removeprefix(start) for name in names if name.startswith(start + key + '/')]


def _versions(call, key):
    """The rows of what versions there are of a key, newest first."""
    found: list = []
    marker = ''
    while True:
        page = call.store.listing(call.req.bucket, prefix=key, versions='true', marker=marker,
                                  version_marker=found[-1]['version_id'] if marker else '',
                                  limit=1000)
        mine = [row for row in page if row.get('name') == key]
        found += mine
        if len(page) < 1000 or len(mine) < len(page):
            return found
        marker = key


def _promote(call, key, rows):
    """Make the newest version the current one when there is none, as S3 has it."""
    if not rows or rows[0].get('is_latest') and not _is_marker(rows[0]):
        now = call.store.ask('HEAD', call.req.bucket, key)
        now.discard()
        if now.status != 404 or not rows:
            return
    newest = rows[0]
    if not _is_marker(newest) and newest['version_id'] != 'null' and \
            not any(row.get('is_latest') for row in rows):
        call.store.done('PUT', call.req.bucket, key, {'Content-Length': '0'},
                        'version-id=' + newest['version_id'])


def _is_marker(row):
    return row.get('content_type', '').startswith(DELETED)
