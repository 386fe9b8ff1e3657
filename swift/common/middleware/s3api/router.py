# SPDX-License-Identifier: Apache-2.0
"""Which function answers what, and what the bucket's access list has to give for it.

A request is told by its level, method and subresource. What S3 has and this service does not is
answered by name: a configuration that nobody can make "does not exist", making one is
NotImplemented.
"""

from typing import Any, NamedTuple

from swift.common.middleware.s3api import (
    acl_verbs,
    buckets,
    complete,
    listing,
    multi_delete,
    objects,
    put,
    remove,
    uploads,
    versions,
)
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.xmlio import element


class Route(NamedTuple):
    """A function of a Call; ``need`` is what the bucket's list has to allow.

    need: None for no list's business, '' for the object's own (the function sees to it).
    """

    function: Any
    need: str | None


def _missing(code):
    """The answer to who asks for a configuration that cannot be made."""
    def absent(call):
        call.store.done('HEAD', call.req.bucket)
        raise S3Error(code, BucketName=call.req.bucket)
    return absent


def _document(tag, **fields):
    """The answer to who asks for a setting that is always the same."""
    def constant(call):
        call.store.done('HEAD', call.req.bucket)
        return call.xml(element(tag, *[element(n, v) for n, v in fields.items()]))
    return constant


def _no_lock(call):
    call.store.done('HEAD', call.req.bucket, call.req.key)
    raise S3Error('NoSuchObjectLockConfiguration')


ROUTES = {
    ('service', 'GET', ''): Route(buckets.list_buckets, None),

    ('bucket', 'GET', ''): Route(listing.list_objects, 'READ'),
    ('bucket', 'HEAD', ''): Route(buckets.head, 'READ'),
    ('bucket', 'PUT', ''): Route(buckets.create, None),
    ('bucket', 'DELETE', ''): Route(buckets.delete, 'OWNER'),
    ('bucket', 'GET', 'versions'): Route(listing.list_versions, 'READ'),
    ('bucket', 'GET', 'uploads'): Route(uploads.list_uploads, 'READ'),
    ('bucket', 'POST', 'delete'): Route(multi_delete.delete_many, ''),
    ('bucket', 'GET', 'location'): Route(buckets.location, 'OWNER'),
    ('bucket', 'GET', 'acl'): Route(acl_verbs.get_bucket, 'READ_ACP'),
    ('bucket', 'PUT', 'acl'): Route(acl_verbs.put_bucket, 'WRITE_ACP'),
    ('bucket', 'GET', 'versioning'): Route(versions.get, 'OWNER'),
    ('bucket', 'PUT', 'versioning'): Route(versions.put, 'OWNER'),

    ('object', 'GET', ''): Route(objects.get, ''),
    ('object', 'HEAD', ''): Route(objects.get, ''),
    ('object', 'PUT', ''): Route(put.put, 'WRITE'),
    ('object', 'DELETE', ''): Route(remove.delete, 'WRITE'),
    ('object', 'GET', 'acl'): Route(acl_verbs.get_object, ''),
    ('object', 'PUT', 'acl'): Route(acl_verbs.put_object, ''),
    ('object', 'GET', 'tagging'): Route(objects.tagging, ''),
    ('object', 'POST', 'uploads'): Route(uploads.begin, 'WRITE'),
    ('object', 'PUT', 'uploadId'): Route(uploads.put_part, 'WRITE'),
    ('object', 'POST', 'uploadId'): Route(complete.complete, 'WRITE'),
    ('object', 'DELETE', 'uploadId'): Route(uploads.abort, 'WRITE'),
    ('object', 'GET', 'uploadId'): Route(uploads.list_parts, 'READ'),
    ('object', 'GET', 'legal-hold'): Route(_no_lock, ''),
    ('object', 'GET', 'retention'): Route(_no_lock, ''),
}
for _name, _code in {
        'cors': 'NoSuchCORSConfiguration', 'lifecycle': 'NoSuchLifecycleConfiguration',
        'policy': 'NoSuchBucketPolicy', 'policyStatus': 'NoSuchBucketPolicy',
        'tagging': 'NoSuchTagSet', 'website': 'NoSuchWebsiteConfiguration',
        'object-lock': 'ObjectLockConfigurationNotFoundError',
        'encryption': 'ServerSideEncryptionConfigurationNotFoundError',
        'replication': 'ReplicationConfigurationNotFoundError',
        'publicAccessBlock': 'NoSuchPublicAccessBlockConfiguration',
        'ownershipControls': 'OwnershipControlsNotFoundError'}.items():
    ROUTES['bucket', 'GET', _name] = Route(_missing(_code), 'OWNER')
for _name, _tag, _fields in (
        ('logging', 'BucketLoggingStatus', {}), ('accelerate', 'AccelerateConfiguration', {}),
        ('notification', 'NotificationConfiguration', {}),
        ('requestPayment', 'RequestPaymentConfiguration', {'Payer': 'BucketOwner'})):
    ROUTES['bucket', 'GET', _name] = Route(_document(_tag, **_fields), 'OWNER')

METHODS = ('GET', 'HEAD', 'PUT', 'POST', 'DELETE')
# Subresources of which S3 has no other methods than are here.
WHOLE = frozenset(('acl', 'delete', 'location', 'uploadId', 'uploads', 'versioning', 'versions'))
MISPLACED = {('bucket', 'uploadId', 'GET'), ('bucket', 'uploadId', 'DELETE'),
             ('bucket', 'uploadId', 'POST'), ('bucket', 'uploads', 'POST'),
             ('object', 'uploads', 'GET')}


def route(req):
    """The Route of a request; MethodNotAllowed or NotImplemented for others.

    The service as a whole has no subresources: their names mean nothing there.
    """
    name = req.subresource if req.level != 'service' else ''
    found = ROUTES.get((req.level, req.method, name))
    if found is not None:
        return found
    if (req.level, name, req.method) in MISPLACED:
        raise S3Error('InvalidRequest', 'This operation needs a key' if req.level == 'bucket'
                      else 'This operation does not take a key')
    whole = name in WHOLE and any((req.level, method, name) in ROUTES for method in METHODS)
    if name and req.method in METHODS and not whole:
        raise S3Error('NotImplemented', Resource=name)
    raise S3Error('MethodNotAllowed', Method=req.method, ResourceType=req.level.upper())
