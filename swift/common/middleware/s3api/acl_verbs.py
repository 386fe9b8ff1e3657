# SPDX-License-Identifier: Apache-2.0
"""Reading and writing access control lists."""

from urllib.parse import quote

from swift.common.middleware.s3api import acl
from swift.common.middleware.s3api.buckets import SWIFT_LISTS, swift_lists
from swift.common.middleware.s3api.checksums import SYSMETA
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.objects import (
    ETAG_SYSMETA,
    OVERRIDE,
    UPLOAD_SYSMETA,
    VERSION,
    head_version,
    is_large,
)


def get_bucket(call):
    """GET Bucket acl."""
    req = call.req
    answer = call.store.done('HEAD', req.bucket)
    if call.acl is not None:
        return call.xml(call.acl.xml())
    return call.xml(_of_store(answer.headers, req.user).xml())


def _of_store(headers, user):
    """The list that says what a container's own lists say; others are not S3's to tell."""
    lists = (headers.get('x-container-read', ''), headers.get('x-container-write', ''))
    for name, values in SWIFT_LISTS.items():
        if values == lists:
            return acl.canned(name, user)
    return acl.canned('private', user)


def put_bucket(call):
    """PUT Bucket acl."""
    req, store = call.req, call.store
    wanted = _wanted(call, call.acl.owner if call.acl is not None else req.user)
    if call.acl is not None:
        if call.acl.owner is None or wanted.owner != call.acl.owner:
            raise S3Error('AccessDenied')
        headers = {acl.CONTAINER_SYSMETA: wanted.stored()}
    elif 'x-amz-acl' in req.headers:
        headers = swift_lists(req.headers)
    else:
        headers = _as_canned(wanted)
    answer = store.ask('POST', req.bucket, headers=headers)
    said = answer.body()
    if not answer.ok:
        raise store.error(answer.status, said, req.bucket, None)
    return call.empty()


def _as_canned(wanted):
    """Headers of the store for a list that says what one of the canned ones says."""
    for name in SWIFT_LISTS:
        if sorted(acl.canned(name, wanted.owner).grants) == sorted(wanted.grants):
            return swift_lists({'x-amz-acl': name})
    raise S3Error('NotImplemented', 'Without s3_acl a bucket can have the lists '
                  + ', '.join(SWIFT_LISTS) + ' only')


def _wanted(call, owner):
    """The Acl a request asks for, by headers or by its body."""
    made = acl.from_headers(call.req.headers, owner, owner)
    try:
        body = call.document(call.settings.max_acl_size)
    except S3Error as e:
        raise S3Error('MalformedACLError') if e.code == 'MalformedXML' else e from None
    if made is not None:
        if body.strip():
            raise S3Error('UnexpectedContent')
        return made
    if not body:
        raise S3Error('MissingSecurityHeader', MissingHeaderName='x-amz-acl')
    return acl.from_xml(body)


def get_object(call):
    """GET Object acl."""
    answer = _head(call, 'READ_ACP')
    made = acl.load(answer.headers.get(acl.OBJECT_SYSMETA.lower())) if call.acl is not None \
        else None
    owner = call.acl.owner if call.acl is not None else call.req.user
    return call.xml((made or acl.canned('private', owner)).xml())


def _head(call, permission):
    answer = head_version(call)
    call.allow_object(answer.headers, permission)
    return answer


def put_object(call):
    """PUT Object acl: the list replaces the old one, all other metadata stay."""
    req, store = call.req, call.store
    answer = _head(call, 'WRITE_ACP')
    _refuse_old_versions(call)
    if call.acl is None:
        call.refuse_lists()
        wanted = _wanted(call, req.user)
        if sorted(wanted.grants) != sorted(acl.canned('private', req.user).grants):
            raise S3Error('NotImplemented', 'Without s3_acl objects have no lists of their own')
        return call.empty()
    before = acl.load(answer.headers.get(acl.OBJECT_SYSMETA.lower()))
    owner = before.owner if before is not None else call.acl.owner
    wanted = _wanted(call, owner)
    if owner is None or wanted.owner != owner:
        raise S3Error('AccessDenied')
    store.done('PUT', req.bucket, req.key, headers={
        **_kept(answer.headers), acl.OBJECT_SYSMETA: wanted.stored(), 'Content-Length': '0',
        'X-Copy-From': quote(f'/{req.bucket}/{req.key}')},
        query='multipart-manifest=get' if is_large(answer.headers) else '')
    return call.empty()


def _refuse_old_versions(call):
    """A new list is a new copy, and a copy would make an old version the current one."""
    req = call.req
    version = req.params.get('versionId')
    if version is None:
        return
    now = call.store.ask('HEAD', req.bucket, req.key)
    now.discard()
    if not now.ok or now.headers.get(VERSION, 'null') != version:
        raise S3Error('NotImplemented', 'Only the current version can get another list')


def _kept(headers):
    """The system metadata that a copy of a multipart upload onto itself would lose.

    System metadata come with the data only, so a new list is a new copy, as in OpenStack Swift.
    """
    if not is_large(headers):
        return {}
    kept = {name: headers[name.lower()] for name in (ETAG_SYSMETA, UPLOAD_SYSMETA, SYSMETA)
            if name.lower() in headers}
    if ETAG_SYSMETA in kept:
        kept[OVERRIDE] = f'; s3_etag={kept[ETAG_SYSMETA]}'
    return kept
