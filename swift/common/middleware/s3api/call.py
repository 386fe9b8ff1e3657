# SPDX-License-Identifier: Apache-2.0
"""One S3 request on its way: what every handler needs of it, and the access lists' say."""

from swift.common.middleware.s3api import acl
from swift.common.middleware.s3api.body import Body
from swift.common.middleware.s3api.errors import S3Error, not_implemented
from swift.common.middleware.s3api.request import MAX_XML
from swift.common.middleware.s3api.store import Store
from swift.common.middleware.s3api.xmlio import document
from swift.common.request import Response

XML = ('Content-Type', 'application/xml')
HTML = ('Content-Type', 'text/html; charset=UTF-8')


class Call:
    """A request, the settings, and the store with the right rights.

    With ``s3_acl`` the access lists of S3 decide, but for buckets that have none: those were not
    made through S3, and the store's own rights hold unless ``allow_no_owner`` says who has them.
    """

    def __init__(self, filter_, req):
        self.settings = filter_.settings
        self.req = req
        self.store = Store(filter_.below, req)
        self.acl = None             # the bucket's, when it decides

    # -- rights --------------------------------------------------------------
    def allow_bucket(self, permission):
        """The bucket exists and its list, if lists decide, gives the permission; S3Error else."""
        info = self.store.need_bucket(self.req.bucket)
        if self.settings.s3_acl:
            self.acl = self.list_of(info)
            if self.acl is not None:
                self.store.trusted = True
                if permission is not None:
                    self.may(permission)
        return info

    def list_of(self, info):
        """The list that decides about a bucket, None when the store's own rights do."""
        if not self.settings.s3_acl:
            return None
        return acl.load(info['sysmeta'].get('s3api-acl')) or self.settings.ownerless

    def list_of_object(self, headers, bucket_list):
        """The list of an object of a bucket where lists decide."""
        return acl.load(headers.get(acl.OBJECT_SYSMETA.lower())) or self.settings.ownerless or \
            acl.Acl(bucket_list.owner, [('FULL_CONTROL', bucket_list.owner)])

    def may(self, permission):
        """The bucket's list, if lists decide, gives the permission; AccessDenied else."""
        if self.acl is not None and not self.acl.allows(self.req.user, permission):
            raise S3Error('AccessDenied')

    def allow_object(self, headers, permission):
        """The list in an object's metadata, if lists decide, gives the permission."""
        if self.acl is None:
            return None
        own = self.list_of_object(headers, self.acl)
        if not own.allows(self.req.user, permission):
            raise S3Error('AccessDenied')
        return own

    def keeps_versions(self):
        """Whether a deletion of the current object leaves it behind as a version."""
        return self.settings.versioning() and \
            self.store.bucket_info(self.req.bucket)['sysmeta'].get(
                'versions-enabled', '').lower() == 'true'

    def new_acl(self):
        """What a new object gets as its list, as headers of the store."""
        if self.acl is None:
            self.refuse_lists()
            return {}
        made = acl.from_headers(self.req.headers, self.req.user, self.acl.owner) \
            or acl.canned('private', self.req.user)
        return {acl.OBJECT_SYSMETA: made.stored()}

    def refuse_lists(self):
        """Without lists of their own, objects are what their bucket's owner says: private."""
        headers = self.req.headers
        for name in acl.GRANT_HEADERS:
            if name in headers:
                raise not_implemented(name)
        if headers.get('x-amz-acl', 'private') not in ('private', 'bucket-owner-full-control'):
            if headers['x-amz-acl'] not in acl.CANNED:
                acl.canned(headers['x-amz-acl'], '')
            raise not_implemented('x-amz-acl')

    # -- bodies and answers --------------------------------------------------
    def document(self, limit=MAX_XML, need_digest=False, check_sum=True):
        """The request's XML body, its checksums right; b'' without a body."""
        body = Body(self.req, need_length=False)
        body.check_sum = check_sum
        return body.document(limit, need_digest)

    @staticmethod
    def xml(root, status=200, namespace=True, headers=()):
        """A Response with a document."""
        return Response(status, [XML, *headers], document(root, namespace))

    @staticmethod
    def empty(status=200, headers=()):
        """A Response without a body."""
        return Response(status, [HTML, ('Content-Length', '0'), *headers], b'')
