# SPDX-License-Identifier: Apache-2.0
"""Versioning of buckets, by the store's own object versioning when its filter is there."""

from swift.common.middleware.s3api.errors import S3Error, not_implemented
from swift.common.middleware.s3api.xmlio import element, parse, text

SYSMETA = 'versions-enabled'


def version_query(call, version=None):
    """The store's query for a version; '' for the current one."""
    version = call.req.params.get('versionId') if version is None else version
    if version is None:
        return ''
    if not version:
        raise S3Error('InvalidArgument', 'Version id cannot be the empty string',
                      ArgumentName='versionId', ArgumentValue='')
    if call.settings.versioning():
        if version != 'null' and not _is_version(version):
            raise S3Error('InvalidArgument', 'Invalid version id specified',
                          ArgumentName='versionId', ArgumentValue=version)
        return 'version-id=' + version
    if version != 'null':
        raise not_implemented('versionId')
    return ''


def _is_version(text_):
    whole, dot, fraction = text_.partition('.')
    return whole.isascii() and whole.isdigit() and len(whole) == 10 and (
        not dot or fraction.isascii() and fraction.isdigit() and len(fraction) == 5)


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
    call.store.done('POST', call.req.bucket, headers={
        'X-Versions-Enabled': 'true' if status == 'Enabled' else 'false'})
    return call.empty()
