# SPDX-License-Identifier: Apache-2.0
"""What a write leaves behind: the parts of the multipart upload that was there before."""

from swift.common.expiry import EXPIRED_TOO
from swift.common.middleware.s3api.names import segments_of
from swift.common.middleware.s3api.objects import VERSION
from swift.common.middleware.s3api.parts import Parts


class Replaced:
    """Made before an object is written. `leave` is to be called before the store has all of the
    new one, `drop` when the write was a success.

    Looks only in buckets that have had uploads, and at objects that do not stay as versions.
    """

    def __init__(self, call, key, new_upload=None):
        """``new_upload`` is the id of the upload the object will be made of."""
        self.parts = None
        store, bucket = call.store, call.req.bucket
        if _stays(call) or store.bucket_info(segments_of(bucket))['status'] // 100 != 2:
            return
        answer = store.ask('HEAD', bucket, key, EXPIRED_TOO, trusted=True)
        answer.discard()
        # What has another id is a version, and stays.
        if answer.ok and answer.headers.get(VERSION, 'null') == 'null':
            parts = Parts.of(call, key, answer.headers)
            if parts is not None and parts.upload_id != new_upload:
                self.parts = parts

    def leave(self):
        """Have the expirer look after the parts of what is to be replaced."""
        if self.parts is not None:
            self.parts.leave()

    def drop(self):
        """Delete those parts where the expirer does not look after them."""
        if self.parts is not None:
            self.parts.drop()


def _stays(call):
    """Whether what is replaced is kept as a version, of one kind or the other."""
    sysmeta = call.store.bucket_info(call.req.bucket)['sysmeta']
    return call.keeps_versions() or bool(sysmeta.get('versions-location')) or \
        'versions-container' in sysmeta and not call.settings.versioning()
