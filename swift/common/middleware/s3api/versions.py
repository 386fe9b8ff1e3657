# SPDX-License-Identifier: Apache-2.0
"""Versioning of buckets, by the store's own object versioning when its filter is there."""

from swift.common.middleware.s3api.errors import S3Error, invalid, not_implemented
from swift.common.middleware.s3api.xmlio import element, parse, text

DELETED = 'application/x-deleted;swift_versions_deleted=1'     # type of a delete marker


def version_query(version, settings):
    """The store's query for a version; '' for the current one (None)."""
    if version is None:
        return ''
    if not version:
        raise S3Error('InvalidArgument', 'Version id cannot be the empty string',
                      ArgumentName='versionId', ArgumentValue='')
    if settings.versioning():
        check_version(version, 'versionId')
        return 'version-id=' + version
    if version != 'null':
        raise not_implemented('versionId')
    return ''


def check_version(version, name):
    """InvalidArgument for what is no version's id."""
    if version != 'null' and not _is_version(version):
        raise invalid(name, version, 'Invalid version id specified')


def _is_version(text_):
    whole, dot, fraction = text_.partition('.')
    return whole.isascii() and whole.isdigit() and len(whole) == 10 and (
        not dot or fraction.isascii() and fraction.isdigit() and len(fraction) == 5)


def versions_of(store, bucket, key):
    """The rows of what versions there are of a key, newest first."""
    found: list = []
    marker = ''
    while True:
        page = store.listing(bucket, prefix=key, versions='true', marker=marker,
                             version_marker=found[-1]['version_id'] if marker else '',
                             limit=1000)
        mine = [row for row in page if row.get('name') == key]
        found += mine
        if len(page) < 1000 or len(mine) < len(page):
            return found
        marker = key


def is_marker(row):
    """Whether a row is of a delete marker."""
    return row.get('content_type', '').startswith(DELETED)


def get(call):
    """GET Bucket versioning."""
    answer = call.store.done('HEAD', call.req.bucket)
    state = answer.headers.get('x-versions-enabled')
    status = None
    if state is not None:
        status = 'Enabled' if state.lower() == 'true' else 'Suspended'
    return call.xml(element('VersioningConfiguration',
                            element('Status', status) if status else None))


def put(call):
    """PUT Bucket versioning."""
    status = text(parse(call.document(), 'VersioningConfiguration'), 'Status')
    if status not in ('Enabled', 'Suspended'):
        raise S3Error('MalformedXML')
    if not call.settings.versioning():
        raise S3Error('NotImplemented', 'Versioning of buckets is not supported here')
    known = call.store.done('HEAD', call.req.bucket).headers.get('x-versions-enabled')
    if status == 'Enabled' or known is None:      # what never was cannot be suspended
        call.store.done('POST', call.req.bucket, headers={'X-Versions-Enabled': 'true'})
    if status == 'Suspended':
        call.store.done('POST', call.req.bucket, headers={'X-Versions-Enabled': 'false'})
    return call.empty()
