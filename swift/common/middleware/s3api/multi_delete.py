# SPDX-License-Identifier: Apache-2.0
"""DeleteObjects: up to a thousand keys in one request, each with its own verdict."""

from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.remove import remove
from swift.common.middleware.s3api.xmlio import element, parse, text
from swift.common.parallel import in_parallel

BYTES_PER_KEY = 3000           # a key of 1,024 bytes, escaped, with its elements around

OPTIONAL = ('VersionId', 'ETag', 'LastModifiedTime', 'Size')


def delete_many(call):
    """POST Bucket delete."""
    most = call.settings.max_multi_delete_objects
    root = parse(call.document(max(65536, most * BYTES_PER_KEY), need_digest=True), 'Delete')
    quiet = text(root, 'Quiet').strip().lower() == 'true'
    wanted = []
    for item in root:
        if item.tag == 'Quiet':
            continue
        if item.tag != 'Object' or sorted(child.tag for child in item if child.tag not in
                                          OPTIONAL) != ['Key']:
            raise S3Error('MalformedXML')
        key = text(item, 'Key')
        if not key:
            raise S3Error('UserKeyMustBeSpecified')
        if any(item.find(name) is not None for name in OPTIONAL[1:]):
            raise S3Error('NotImplemented', 'Conditional deletes are not implemented')
        wanted.append((key, text(item, 'VersionId') or None))
    if not wanted or len(wanted) > most:
        raise S3Error('MalformedXML')
    return call.xml(element('DeleteResult', *_verdicts(call, wanted, quiet)))


def _verdicts(call, wanted, quiet):
    """The elements in the order of what is wanted. Versions of one key follow each other: what is
    left becomes the current one each time."""
    places: dict[str, list[int]] = {}
    for place, (key, _) in enumerate(wanted):
        places.setdefault(key, []).append(place)

    def of_key(mine):
        return [(place, _one(call, key, version, quiet))
                for place, (key, version) in ((place, wanted[place]) for place in mine)]

    found: dict = {}
    for some in in_parallel(call.settings.multi_delete_concurrency, of_key, places.values()):
        found.update(some)
    return [found[place] for place in range(len(wanted)) if found[place] is not None]


def _one(call, key, version, quiet):
    """The element of one key's verdict; None for a success nobody wants to hear of."""
    try:
        if len(key.encode('utf-8')) > call.settings.max_key:
            raise S3Error('KeyTooLongError')
        call.may('WRITE')
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
