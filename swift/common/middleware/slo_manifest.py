# SPDX-License-Identifier: Apache-2.0
"""Manifests of static large objects: what clients send, what is stored, and what it stands for.

Stored is a JSON list of ``{"name": "/container/object", "bytes", "hash", "content_type",
"last_modified"}``, with ``"range": "first-last"`` and ``"sub_slo": true`` where they apply, and
``{"data": <base64>}`` for bytes kept in the manifest itself.
"""

import base64
import binascii
import hashlib
import json

from swift.common.middleware.segments import Part, SegmentError

KEYS = {'path', 'etag', 'size_bytes', 'range'}


class ManifestError(ValueError):
    """What a client sent is no manifest; the text says where."""


def parse_input(body, own_path, max_segments):
    """The entries of a PUT's body, checked; ``own_path`` is /container/object of the manifest."""
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        raise ManifestError('Manifest must be valid JSON.\n') from None
    if not isinstance(entries, list):
        raise ManifestError('Manifest must be a list.\n')
    problems = []
    for index, entry in enumerate(entries):
        try:
            _check_entry(entry, own_path)
        except ManifestError as e:
            problems.append(f'Index {index}: {e}\n')
    if entries and not problems and not any('path' in e for e in entries):
        problems.append('Inline data segments require at least one object-backed segment.\n')
    if problems:
        raise ManifestError(''.join(problems[:100]))
    return entries


def _check_entry(entry, own_path):
    if not isinstance(entry, dict):
        raise ManifestError('not a JSON object')
    if 'data' in entry:
        if len(entry) > 1:
            raise ManifestError('extraneous keys beside "data"')
        try:
            if not base64.b64decode(entry['data'], validate=True):
                raise ManifestError('too small; data is empty')
        except (TypeError, ValueError, binascii.Error) as e:
            raise e if isinstance(e, ManifestError) else ManifestError(
                'data must be valid base64') from None
        return
    extra = [str(k) for k in entry if k not in KEYS]
    if extra:
        raise ManifestError('extraneous keys ' + ', '.join(f'"{k[:64]}"' for k in sorted(extra)))
    path = entry.get('path')
    if not isinstance(path, str):
        raise ManifestError('missing or invalid "path"')
    container, slash, obj = path.lstrip('/').partition('/')
    if not container or not obj or '\0' in path or not _is_text(path):
        raise ManifestError('path does not refer to an object. Path must be of the form '
                            '/container/object.')
    if f'/{container}/{obj}' == own_path:
        raise ManifestError('manifest must not include itself as a segment')
    etag = entry.get('etag')
    if etag is not None and not isinstance(etag, str):
        raise ManifestError('etag must be a string or null')
    _check_size(entry)
    if entry.get('range') == '':
        entry['range'] = None
    if entry.get('range') is not None:
        if not isinstance(entry['range'], str) or ',' in entry['range']:
            raise ManifestError('invalid range')


def _check_size(entry):
    size = entry.get('size_bytes')
    if size is None:
        return
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < 19:
        size = entry['size_bytes'] = int(size)
    if isinstance(size, float) and size.is_integer():          # 1e6 is a number of bytes, too
        size = entry['size_bytes'] = int(size)
    if not isinstance(size, int) or isinstance(size, bool):
        raise ManifestError('invalid size_bytes')
    if size < 1:
        raise ManifestError('too small; each segment must be at least 1 byte.')


def _is_text(value):
    try:
        value.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True


def load_parts(body, base):
    """The Parts of a stored manifest; ``base`` is /version/account. SegmentError when broken."""
    try:
        return [_part(entry, base) for entry in json.loads(body)]
    except (ValueError, KeyError, TypeError) as e:
        raise SegmentError(f'broken manifest: {e}') from e


def _part(entry, base):
    if 'data' in entry:
        data = base64.b64decode(entry['data'])
        return Part('', 0, len(data) - 1, len(data), hashlib.md5(
            data, usedforsecurity=False).hexdigest(), data)
    size = int(entry['bytes'])
    first, last = 0, size - 1
    if entry.get('range'):
        low, _, high = entry['range'].partition('-')
        first, last = int(low), int(high)
    return Part(base + entry['name'], first, last, size, entry['hash'],
                nested=bool(entry.get('sub_slo')))


def slo_etag(entries):
    """The ETag, unquoted, of what stored entries stand for."""
    digest = hashlib.md5(usedforsecurity=False)
    for entry in entries:
        if 'data' in entry:
            digest.update(hashlib.md5(base64.b64decode(entry['data']),
                                      usedforsecurity=False).hexdigest().encode())
        elif entry.get('range'):
            digest.update(f"{entry['hash']}:{entry['range']};".encode())
        else:
            digest.update(entry['hash'].encode())
    return digest.hexdigest()


def raw_form(body):
    """A stored manifest as a client would have to PUT it, bytes."""
    out = []
    for entry in json.loads(body):
        if 'data' in entry:
            out.append({'data': entry['data']})
            continue
        item = {'path': entry['name'], 'size_bytes': entry['bytes'], 'etag': entry['hash']}
        if entry.get('range'):
            item['range'] = entry['range']
        out.append(item)
    return json.dumps(out, sort_keys=True).encode()
