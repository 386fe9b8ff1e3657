# SPDX-License-Identifier: Apache-2.0
"""Deleting objects and versions, with the parts of multipart uploads that nothing needs any more.

Parts go when the last version that is made of them goes: a version is a manifest, and a manifest
may have been copied. The client does not wait for it where the object expirer can do it (`parts`).
"""

from swift.common.expiry import EXPIRED_TOO
from swift.common.middleware.s3api.errors import S3Error, not_implemented
from swift.common.middleware.s3api.objects import ETAG_SYSMETA, VERSION, is_large
from swift.common.middleware.s3api.parts import Parts
from swift.common.middleware.s3api.versions import (
    DELETED,
    is_marker,
    version_query,
    versions_of,
)

CONDITIONS = ('if-match', 'if-unmodified-since')


def delete(call):
    """DELETE Object: gone is gone, whether it was there or not."""
    req = call.req
    conditions = {n.title(): req.headers[n] for n in CONDITIONS if n in req.headers}
    for name in req.headers:
        if name.startswith('x-amz-if-match-'):
            raise not_implemented(name)
    return call.empty(204, remove(call, req.key, req.params.get('versionId'), conditions))


def remove(call, key, version=None, conditions=None):
    """Delete an object, or a version of it; headers for the answer.

    PreconditionFailed unless its ``conditions`` - headers - hold for what is there now. Somebody
    else's write may still come between.
    """
    req, store = call.req, call.store
    query = version_query(version, call.settings)
    # What it is made of matters whether or not one may read it.
    seen = store.ask('HEAD', req.bucket, key, query=query, trusted=True, headers={
        **conditions, 'X-Backend-Etag-Is-At': ETAG_SYSMETA} if conditions else EXPIRED_TOO)
    seen.discard()
    if seen.status == 412:
        raise S3Error('PreconditionFailed')
    parts = Parts.of(call, key, seen.headers) if seen.ok else None
    if version is not None and query != '':
        return _remove_version(call, key, version, query, seen, parts)
    if _goes(call, seen) and not _left(call, parts) and is_large(seen.headers):
        answer = _with_segments(call, key)
    else:
        answer = store.ask('DELETE', req.bucket, key)
        _check(call, key, answer, answer.body())
    made = answer.headers.get(VERSION)
    if made is None:
        return []
    return [('x-amz-version-id', made), ('x-amz-delete-marker', 'true')]


def _goes(call, seen):
    """Whether there is an object that will not stay behind as a version, of one kind or the other:
    its parts would stay, too."""
    sysmeta = call.store.bucket_info(call.req.bucket)['sysmeta']
    return seen.ok and not call.keeps_versions() and \
        seen.headers.get(VERSION, 'null') == 'null' and \
        sysmeta.get('versions-mode') != 'history'


def _left(call, parts):
    """Whether the expirer looks after the parts. It does not know what versions of the first kind
    are made of."""
    sysmeta = call.store.bucket_info(call.req.bucket)['sysmeta']
    return parts is not None and not sysmeta.get('versions-location') and parts.leave()


def _with_segments(call, key):
    """Delete a large object and its segments, while the client waits; the store's Answer.

    That is for manifests of somebody else's making, too: the expirer cannot be left what they name.
    """
    answer = call.store.ask('DELETE', call.req.bucket, key, query='multipart-manifest=delete')
    said = answer.body()
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


def _remove_version(call, key, version, query, seen, parts):
    req, store = call.req, call.store
    if parts is not None:
        parts.leave()
    answer = store.ask('DELETE', req.bucket, key, query=query)
    _check(call, key, answer, answer.body())
    if parts is not None:
        parts.drop()
    _promote(call, key, versions_of(store, req.bucket, key))
    headers = [('x-amz-version-id', version)]
    if seen.headers.get('content-type', '').startswith(DELETED):
        headers.append(('x-amz-delete-marker', 'true'))
    return headers


def _promote(call, key, rows):
    """Make the newest version the current one when there is none, as S3 has it."""
    if not rows or rows[0].get('is_latest') and not is_marker(rows[0]):
        now = call.store.ask('HEAD', call.req.bucket, key)
        now.discard()
        if now.status != 404 or not rows:
            return
    newest = rows[0]
    if not is_marker(newest) and newest['version_id'] != 'null' and \
            not any(row.get('is_latest') for row in rows):
        call.store.done('PUT', call.req.bucket, key, {'Content-Length': '0'},
                        'version-id=' + newest['version_id'])
