# SPDX-License-Identifier: Apache-2.0
"""Parts of multipart uploads that no object is made of any more.

They are left to the object expirer, so that no client waits for them and whoever is killed at any
point leaves none behind. The order is always the same: first a row goes into the expirer's queue,
then the object (the version, the upload, the bucket) goes away or is replaced, and that is all. The
row is no order to delete, it says that there may be something to delete: the expirer looks whether
an object is made of the upload, or the upload goes on, and only if neither is so deletes the parts
(swift.obj.part_sweep). So nothing depends on what became of the request that entered the row. A row
that came too early is followed by a second one a day later.

Those of an upload that is aborted, or of a deleted bucket, are deleted by the request as well if
they are few: who looks right after it finds them gone.

A body that takes long is no reason for a row to come too early: it is entered when the last byte
was read, before the store is given it.

Where the expirer cannot be used - the filter slo forbids it, the queue takes no row - parts are
deleted while the client waits, after the object is gone; who is killed then leaves parts behind.
"""

from swift.common.expiry import BUCKET_GONE, DELETE_LATER, EXPIRED_TOO, UNUSED_PARTS, Later
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.listing import etag_of
from swift.common.middleware.s3api.names import segments_of
from swift.common.middleware.s3api.objects import UPLOAD_SYSMETA
from swift.common.middleware.s3api.store import Store
from swift.common.middleware.s3api.versions import is_marker, versions_of
from swift.common.middleware.versions_common import denied
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import subrequest
from swift.proxy.controllers.info import fact

AGAIN = 86400                  # seconds until the expirer looks a second time
AT_ONCE = 10                   # parts no client minds waiting for, and OpenStack's tests expect it
UPLOAD = UPLOAD_SYSMETA.lower()


class Parts:
    """The parts of an upload: of one that ends, or of one whose object, with these headers, is to
    be deleted or replaced. `leave` goes before that, `drop` after it."""

    def __init__(self, call, key, upload_id, headers=None):
        self.call, self.key, self.upload_id = call, key, upload_id
        self.container = segments_of(call.req.bucket)
        self.stored = (headers or {}).get('x-timestamp')
        self.left = False

    @classmethod
    def of(cls, call, key, headers):
        """Those of the object with these headers; None when it is made of no upload."""
        upload_id = headers.get(UPLOAD, '')
        return cls(call, key, upload_id, headers) if upload_id and '/' not in upload_id else None

    def leave(self):
        """Have the expirer look after them; whether it will."""
        kind = f'{UNUSED_PARTS};t={self.stored}' if self.stored else UNUSED_PARTS
        self.left = self.left or _enter(self.call, self.key, f'{self.key}/{self.upload_id}', kind)
        return self.left

    def drop(self):
        """Delete those the expirer does not look after, unless an object is made of them.

        What cannot be deleted stays: the client's own request was a success before.
        """
        if self.left:
            return
        store = self.call.store
        try:
            if not self.used():
                for row in store.all(self.container, f'{self.key}/{self.upload_id}/'):
                    store.ask('DELETE', self.container, row['name']).body()
        except S3Error:
            pass                       # the writer may have rights on the bucket alone

    def used(self, policy=None):
        """Whether an object, or a version of it, is made of the upload.

        ``policy`` is the index of the bucket's storage policy, if the bucket may be gone.
        """
        call, bucket = self.call, self.call.req.bucket
        # No business of the user, who may have the right to write alone.
        store = Store(call.store.app, call.req, trusted=True)
        queries = ['']
        if call.settings.versioning() and \
                'versions-container' in store.bucket_info(bucket)['sysmeta']:
            queries += ['version-id=' + row['version_id']
                        for row in versions_of(store, bucket, self.key)
                        if not is_marker(row) and '-' in etag_of(row)]
        headers = {'X-Newest': 'true', **EXPIRED_TOO}
        if policy is not None:
            headers['X-Backend-Storage-Policy-Index'] = policy
        for query in queries:
            answer = store.ask('HEAD', bucket, self.key, headers, query)
            answer.discard()
            if answer.status // 100 == 5:
                raise S3Error('ServiceUnavailable')
            if answer.ok and answer.headers.get(UPLOAD) == self.upload_id:
                return True
        return False


def leave_bucket(call):
    """Have the expirer delete all in the bucket's container of parts once the bucket is deleted,
    and the container; whether it will."""
    return _enter(call, None, call.req.bucket, BUCKET_GONE)


def _enter(call, key, name, kind):
    """Enter rows into the expirer's queue; whether it could be done."""
    if not fact('slo', 'allow_async_delete') or not _may_delete(call, key):
        return False
    store = call.store
    status, _, pieces = subrequest(
        {**store.env, DELETE_LATER: Later(Timestamp.now(), [name], kind, AGAIN)}, store.app,
        'UPDATE', store.path(segments_of(call.req.bucket)))
    close = getattr(pieces, 'close', None)
    if close is not None:
        close()
    return status // 100 == 2


def _may_delete(call, key):
    """The queue asks nobody, and whoever may do nothing to the object, or the bucket, is not to
    fill it."""
    store = call.store
    if store.trusted:
        return True
    path = store.path(call.req.bucket, key).encode('utf-8', 'surrogateescape').decode('latin-1')
    env = {**store.env, 'REQUEST_METHOD': 'DELETE', 'PATH_INFO': path}
    env.pop('swift.split_path', None)
    acl = store.bucket_info(call.req.bucket)['write_acl'] if key is not None else None
    return denied(env, acl) is None
