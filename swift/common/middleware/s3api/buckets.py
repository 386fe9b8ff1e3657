# SPDX-License-Identifier: Apache-2.0
"""Buckets: listing one's own, creating, looking at and deleting them."""

from swift.common.middleware.s3api import acl
from swift.common.middleware.s3api.errors import S3Error, invalid, not_implemented
from swift.common.middleware.s3api.names import iso, iso_seconds, segments_of, valid_bucket
from swift.common.middleware.s3api.parts import AT_ONCE, Parts, leave_bucket
from swift.common.middleware.s3api.xmlio import element, parse, text

MAX_BUCKETS = 10_000
# x-amz-acl without lists of S3's own: the store's lists that say the same.
SWIFT_LISTS = {
    'private': ('', ''),
    'public-read': ('.r:*,.rlistings', ''),
    'public-read-write': ('.r:*,.rlistings', '.r:*'),
}


def list_buckets(call):
    """GET Service: the buckets of the account; with check_bucket_owner those of who asks."""
    req, store = call.req, call.store
    most = req.number('max-buckets', MAX_BUCKETS, MAX_BUCKETS)
    if 'max-buckets' in req.params and most < 1:
        raise invalid('max-buckets', req.params['max-buckets'])
    prefix, marker = req.params.get('prefix', ''), req.params.get('continuation-token', '')
    store.trusted = call.settings.s3_acl
    found: list = []
    more = False
    for row in _rows(store, prefix, marker):
        if 'name' not in row or not valid_bucket(row['name'], call.settings.dns_compliant) or \
                call.settings.only_own and not _is_mine(call, row['name']):
            continue
        if len(found) == most:
            more = True
            break
        found.append(row)
    buckets = [element('Bucket', element('Name', row['name']),
                       element('CreationDate', iso_seconds(row['last_modified'])
                               if 'last_modified' in row else iso(0))) for row in found]
    return call.xml(element(
        'ListAllMyBucketsResult', acl.owner_element(req.user), element('Buckets', *buckets),
        element('ContinuationToken', found[-1]['name']) if more else None,
        element('Prefix', prefix) if prefix else None))


def _rows(store, prefix, marker):
    while True:
        try:
            page = store.listing(prefix=prefix, marker=marker, limit=10_000)
        except S3Error as e:
            if e.status == 404:
                return                # an account nobody has written to yet
            raise
        yield from page
        if len(page) < 10_000:
            return
        marker = page[-1].get('name', '')


def _is_mine(call, name):
    """Whether lists decide, and the bucket's says that it belongs to who asks."""
    try:
        found = call.list_of(call.store.bucket_info(name))
    except S3Error:
        return False
    return found is not None and found.allows(call.req.user, 'OWNER')


def create(call):
    """PUT Bucket."""
    req, store = call.req, call.store
    for name in req.headers:
        if name.startswith('x-amz-bucket-object-lock'):
            if req.headers[name].lower() != 'false':
                raise not_implemented(name)
    _check_location(call)
    store.trusted = False            # whether one may make buckets is not for lists of buckets
    known = store.bucket_info(req.bucket)
    if known['status'] // 100 == 2:
        answer = store.ask('HEAD', req.bucket)
        answer.discard()
        if answer.status in (401, 403):
            raise S3Error('AccessDenied')
        if answer.ok:
            raise _taken(call, known)
    answer = store.done('PUT', req.bucket, headers=_new_lists(call))
    # One of the same name may have been deleted, and the expirer took the container of its parts.
    store.forget(segments_of(req.bucket))
    if answer.status == 202:
        raise _taken(call, store.fresh_bucket_info(req.bucket))
    return call.empty(headers=[('Location', '/' + req.bucket)])


def _taken(call, info):
    owner = acl.load(info['sysmeta'].get('s3api-acl'))
    if not call.settings.s3_acl or owner is not None and owner.owner == call.req.user:
        return S3Error('BucketAlreadyOwnedByYou', BucketName=call.req.bucket)
    return S3Error('BucketAlreadyExists', BucketName=call.req.bucket)


def _check_location(call):
    body = call.document()
    if not body.strip():
        return
    wanted = text(parse(body, 'CreateBucketConfiguration'), 'LocationConstraint', None)
    if (wanted if wanted is not None else 'us-east-1') != call.settings.location:
        raise S3Error('InvalidLocationConstraint', LocationConstraint=wanted or '')


def _new_lists(call):
    headers, user = call.req.headers, call.req.user
    if call.settings.s3_acl:
        made = acl.from_headers(headers, user, user) or acl.canned('private', user)
        return {acl.CONTAINER_SYSMETA: made.stored()}
    return swift_lists(headers)


def swift_lists(headers):
    """Headers of the store for x-amz-acl of a bucket, where S3's lists do not decide."""
    for name in acl.GRANT_HEADERS:
        if name in headers:
            raise not_implemented(name)
    name = headers.get('x-amz-acl')
    if name is None:
        return {}
    if name not in SWIFT_LISTS:
        acl.canned(name, '')
        raise not_implemented('x-amz-acl')
    read, write = SWIFT_LISTS[name]
    return {'X-Container-Read': read, 'X-Container-Write': write}


def head(call):
    """HEAD Bucket."""
    answer = call.store.done('HEAD', call.req.bucket)
    answer.discard()
    return call.empty(headers=[('x-amz-bucket-region', call.settings.location)])


def location(call):
    """GET Bucket location."""
    call.store.done('HEAD', call.req.bucket)
    where = call.settings.location
    return call.xml(element('LocationConstraint', '' if where == 'us-east-1' else where))


def delete(call):
    """DELETE Bucket, and with it whatever uploads to it were not completed.

    The bucket first: it has to be empty, and a bucket that is not keeps its parts. Uploads go while
    the client waits, so that a new bucket of that name has none. Where the expirer can be used, and
    they are many, their parts go soon after, and the container they are in.
    """
    req, store = call.req, call.store
    parts = segments_of(req.bucket)
    there = store.fresh_bucket_info(parts)['status'] // 100 == 2
    left = there and leave_bucket(call)
    info = store.bucket_info(req.bucket)
    answer = store.ask('DELETE', req.bucket)
    said = answer.body()
    if answer.status == 409:
        raise S3Error('BucketNotEmpty', BucketName=req.bucket)
    if not answer.ok:
        raise store.error(answer.status, said, req.bucket, None)
    if there:
        _delete_uploads(call, parts, left, info)
    return call.empty(204)


def _delete_uploads(call, container, left, bucket):
    """Delete a container of parts and what is in it; if the expirer will do so, all but the parts
    if they are many, or an object may be there yet whose row came too late for the deletion."""
    store = call.store
    parts: list[str] = []
    for row in store.all(container):
        if not left or not row['name'].rpartition('/')[2].isdigit():
            store.ask('DELETE', container, row['name']).body()
        elif len(parts) <= AT_ONCE:
            parts.append(row['name'])
    if len(parts) > AT_ONCE or any(_in_use(call, upload, bucket) for upload in {
            name.rpartition('/')[0] for name in parts}):
        return
    for name in parts:
        store.ask('DELETE', container, name).body()
    store.ask('DELETE', container).body()


def _in_use(call, upload, bucket):
    """Whether an object of a bucket that was deleted may be made of an upload, `<key>/<id>`."""
    key, _, upload_id = upload.rpartition('/')
    return not key or 'versions-location' in bucket['sysmeta'] or \
        Parts(call, key, upload_id).used(bucket['storage_policy'])
