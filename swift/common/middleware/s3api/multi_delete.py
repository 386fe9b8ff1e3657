# SPDX-License-Identifier: Apache-2.0
"""DeleteObjects: up to a thousand keys in one request, each with its own verdict."""

from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.remove import remove
from swift.common.middleware.s3api.xmlio import element, parse, text

BYTES_PER_KEY = 3000           # a key of 1,024 bytes, escaped, with its elements around


def delete_many(call):
    """POST Bucket delete."""
    most = call.settings.max_multi_delete_objects
    root = parse(call.document(max(65536, most * BYTES_PER_KEY), need_digest=True), 'Delete')
    quiet = text(root, 'Quiet').strip().lower() == 'true'
    wanted = []
    for item in root:
        if item.tag == 'Quiet':
            continue
        if item.tag != 'Object' or item.find('Key') is None:
            raise S3Error('MalformedXML')
        key = text(item, 'Key')
        if not key:
            raise S3Error('UserKeyMustBeSpecified')
        if any(item.find(name) is not None for name in ('ETag', 'LastModifiedTime', 'Size')):
            raise S3Error('NotImplemented', 'Conditional deletes are not implemented')
        wanted.append((key, text(item, 'VersionId') or None))
    if not wanted or len(wanted) > most:
        raise S3Error('MalformedXML')
    verdicts = [verdict for key, version in wanted
                if (verdict := _one(call, key, version, quiet)) is not None]
    return call.xml(element('DeleteResult', *verdicts))


def _one(call, key, version, quiet):
    """The element of one key's verdict; None for a success nobody wants to hear of."""
    try:
        if len(key.encode('utf-8')) > call.settings.max_key:
            raise S3Error('KeyTooLongError')
        headers = dict(remove(call, key, version))
    except S3Error as e:
        return element('Error', element('Key', key),
                       element('VersionId', version) if version else None,
                       element('Code', e.code), element('Message', e.message))
    if quiet:
        return None
    marker = headers.get('x-amz-delete-marker')
    return element('Deleted', element('Key', key),
                   element('VersionId', version) if version else None,
                   element('DeleteMarker', 'true') if marker else None,
                   element('DeleteMarkerVersionId', headers['x-amz-version-id'])
                   if marker and 'x-amz-version-id' in headers else None)
