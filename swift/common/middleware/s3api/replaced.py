# SPDX-License-Identifier: Apache-2.0
"""What a write leaves behind: the parts of the multipart upload that was there before."""

from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.names import segments_of
from swift.common.middleware.s3api.objects import UPLOAD_SYSMETA, is_large
from swift.common.middleware.s3api.parts import drop_parts


class Replaced:
    """Made before an object is written; `drop` afterwards, when the write was a success.

    Looks only in buckets that have had uploads, and not where versions are kept. Whoever dies
    between the write and `drop` leaves parts behind, never an object without its parts.
    """

    def __init__(self, call, key):
        self.store, self.key, self.upload = call.store, key, None
        self.container = segments_of(call.req.bucket)
        info = self.store.bucket_info(call.req.bucket)
        if 'versions-container' in info['sysmeta'] or \
                self.store.bucket_info(self.container)['status'] // 100 != 2:
            return
        answer = self.store.ask('HEAD', call.req.bucket, key)
        answer.discard()
        if answer.ok and is_large(answer.headers):
            self.upload = answer.headers.get(UPLOAD_SYSMETA.lower())

    def drop(self, new_upload=None):
        """Delete the parts of what was replaced; ``new_upload`` is the id of what is there now.

        They stay where the writer has rights on the bucket alone.
        """
        if self.upload and self.upload != new_upload and '/' not in self.upload:
            try:
                drop_parts(self.store, self.container, [
                    row['name'] for row in self.store.all(self.container,
                                                          f'{self.key}/{self.upload}/')])
            except S3Error:
                pass                     # the write was a success whatever becomes of them
