# SPDX-License-Identifier: Apache-2.0
"""CompleteMultipartUpload: parts become one object by a manifest of a static large object.

The manifest is stored first, then the upload ends; whoever repeats the call after a crash between
the two finds either, and both are answered alike. What is left of an upload that was completed but
did not come to its end goes with its object, or when it is given up (`parts`).
"""

import hashlib
import json
import re
from urllib.parse import quote

from swift.common.concurrency import Event, Timeout, spawn
from swift.common.middleware.copy import SourceBody
from swift.common.middleware.s3api import acl, checksums
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.objects import ETAG_SYSMETA, OVERRIDE, UPLOAD_SYSMETA
from swift.common.middleware.s3api.put import DEFAULT_TYPE, STORED, check_conditions, version_header
from swift.common.middleware.s3api.replaced import Replaced
from swift.common.middleware.s3api.uploads import HAS_TYPE, TYPE, Upload, completed_as
from swift.common.middleware.s3api.xmlio import DECLARATION, document, element, parse, text
from swift.common.request import Response

BYTES_PER_PART = 1000          # of the request's XML
BEAT = 10                      # seconds after which a client gets a sign of life
DEADLINE = 3600                # seconds that putting an object together may take at most
_ETAG = re.compile(r'"?([0-9a-f]{32})"?\Z')
EMPTY_MD5 = 'd41d8cd98f00b204e9800998ecf8427e'


def complete(call):
    """POST Object with uploadId."""
    if not call.req.params.get('uploadId'):
        raise S3Error('NoSuchUpload', UploadId='')
    check_conditions(call.req.headers)
    work = _Completion(call)
    work.prepare()
    return _with_heartbeat(call, work)


def _with_heartbeat(call, work):
    """The Response of ``work``; when that takes long it begins with blanks, and 200."""
    done, result = Event(), []

    def run():
        try:
            result.append(work.run())
        except S3Error as e:
            result.append(e)
        except BaseException as e:     # whoever waits has to learn of any end of this thread
            call.settings.logger.exception('completing a multipart upload failed')
            result.append(S3Error('ServiceUnavailable'))
            if not isinstance(e, Exception):
                raise
        finally:
            done.send(None)

    spawn(run)
    if _wait(done):
        if isinstance(result[0], S3Error):
            raise result[0]
        return call.xml(result[0], headers=work.shown)
    return Response(200, [('Content-Type', 'application/xml')], _beats(call, done, result))


def _wait(done):
    try:
        with Timeout(BEAT):
            done.wait()
        return True
    except Timeout:
        return False


def _beats(call, done, result):
    yield DECLARATION
    for _ in range(DEADLINE // BEAT):
        if _wait(done):
            break
        yield b' '
    outcome = result[0] if result else S3Error('ServiceUnavailable')
    if isinstance(outcome, S3Error):
        trans_id = call.req.environ.get('swift.trans_id', '-')
        yield document(outcome.element(element, trans_id)).removeprefix(DECLARATION)
    else:
        yield document(outcome, True).removeprefix(DECLARATION)


class _Completion:
    """One completion."""

    def __init__(self, call):
        self.call, self.req, self.store = call, call.req, call.store
        self.upload = Upload(call)
        self.wanted: list = []      # (part number, MD5 or None, element)
        self.etag = ''
        self.finished = False       # it was completed before, in the same way
        self.shown: list = []       # headers for the answer

    def prepare(self):
        """Find the upload, or what it has become, and read which parts are wanted."""
        missing = None
        try:
            self.upload.find(self.call)
        except S3Error as e:
            if e.code != 'NoSuchUpload':
                raise
            missing = e
            if not self._completed():
                raise
        limit = max(65536, self.call.settings.max_upload_part_num * BYTES_PER_PART)
        body = self.call.document(limit, check_sum=False)
        if not body:
            raise S3Error('InvalidRequest', 'You must specify at least one part')
        self._read(body)
        if missing is not None:
            if self.etag != self._before:
                raise missing
            self.finished = True

    def _completed(self):
        answer = self.store.ask('HEAD', self.req.bucket, self.req.key)
        answer.discard()
        self._before = answer.headers.get(ETAG_SYSMETA.lower())
        return answer.ok and completed_as(answer.headers, self.upload.id)

    def _read(self, body):
        root = parse(body, 'CompleteMultipartUpload')
        previous = 0
        for item in root:
            number = text(item, 'PartNumber')
            if item.tag != 'Part' or item.find('ETag') is None or \
                    not (number.isascii() and number.isdigit() and len(number) < 10):
                raise S3Error('MalformedXML')
            if int(number) <= previous:
                raise S3Error('InvalidPartOrder', UploadId=self.upload.id)
            previous = int(number)
            found = _ETAG.match(text(item, 'ETag').strip())
            if not found:
                raise self._invalid_part(previous, text(item, 'ETag'))
            self.wanted.append((previous, found[1], item))
        if not self.wanted:
            raise S3Error('MalformedXML')
        whole = hashlib.md5(usedforsecurity=False)
        for _, etag, _ in self.wanted:
            whole.update(bytes.fromhex(etag))
        self.etag = f'{whole.hexdigest()}-{len(self.wanted)}'

    def _invalid_part(self, number, etag):
        return S3Error('InvalidPart', UploadId=self.upload.id, PartNumber=number, ETag=etag)

    # -- putting it together -------------------------------------------------
    def run(self):
        """Store the manifest and end the upload; the result's element."""
        if self.finished:
            return self._result(None)
        sizes = self._check_parts()
        checksum = self._checksum(sizes)
        if self.call.keeps_versions() and self._completed():
            return self._end_at_last(checksum)
        headers = self._headers(checksum)
        before = Replaced(self.call, self.req.key, self.upload.id)
        before.leave()
        if sum(sizes.values()) == 0:
            headers.update({'Content-Length': '0', OVERRIDE: EMPTY_MD5 + headers[OVERRIDE]})
            answer = self.store.done('PUT', self.req.bucket, self.req.key, headers)
        else:
            answer = self._put_manifest(headers, sizes)
        self.shown = version_header(answer)
        before.drop()
        self._end()
        return self._result(checksum)

    def _check_parts(self):
        """The sizes by number of the parts that are wanted, when all are there and big enough."""
        uploaded = dict(self.upload.parts(self.call))
        sizes = {}
        for number, etag, item in self.wanted:
            row = uploaded.get(number)
            if row is None or row['hash'].partition(';')[0] != etag:
                # A listing may lag behind: the object itself knows.
                row = self._look(number)
            if row is None or row['hash'] != etag and row['hash'].partition(';')[0] != etag:
                raise self._invalid_part(number, text(item, 'ETag'))
            sizes[number] = row['bytes']
        for number, _, _ in self.wanted[:-1]:
            if sizes[number] < self.call.settings.min_segment_size:
                raise S3Error('EntityTooSmall', ETag=dict(
                    (n, e) for n, e, _ in self.wanted)[number], PartNumber=number,
                    MinSizeAllowed=self.call.settings.min_segment_size,
                    ProposedSize=sizes[number])
        return sizes

    def _look(self, number):
        answer = self.store.ask('HEAD', self.upload.container, self.upload.part(number))
        answer.discard()
        if not answer.ok:
            return None
        return {'hash': answer.headers.get('etag', '').strip('"'),
                'bytes': int(answer.headers.get('content-length', 0))}

    def _checksum(self, sizes):
        """``(algorithm, base64, type)`` of the object, None without."""
        asked = self.upload.checksum
        if asked is None:
            return None
        algorithm, kind = asked
        values = []
        for number, _, item in self.wanted:
            answer = self.store.ask('HEAD', self.upload.container, self.upload.part(number))
            answer.discard()
            kept = checksums.parse_stored(answer.headers.get(checksums.SYSMETA.lower()))
            given = text(item, 'Checksum' + algorithm).strip()
            if kept is None or kept[0] != algorithm:
                return None           # a part came without: there is none of the whole
            if given and given != kept[1]:
                raise self._invalid_part(number, text(item, 'ETag'))
            values.append((checksums.decode(algorithm, kept[1]), sizes[number]))
        made = checksums.of_parts(algorithm, kind, values)
        given = self.req.headers.get(checksums.PREFIX + algorithm.lower())
        if kind == 'FULL_OBJECT' and given and given != made:
            raise S3Error('BadDigest', f'The {algorithm} you specified did not match the '
                          'calculated checksum.')
        return algorithm, made, kind

    def _headers(self, checksum):
        kept = self.upload.headers
        headers = {n.title(): v for n, v in kept.items()
                   if n.startswith('x-object-meta-') or n in STORED}
        if kept.get(HAS_TYPE.lower()) == 'yes':
            headers['Content-Type'] = kept.get(TYPE.lower(), '')
        else:
            headers['Content-Type'] = DEFAULT_TYPE
        headers.update({ETAG_SYSMETA: self.etag, UPLOAD_SYSMETA: self.upload.id,
                        OVERRIDE: f'; s3_etag={self.etag}',
                        **check_conditions(self.req.headers)})
        if self.call.acl is not None and acl.UPLOAD_SYSMETA.lower() in kept:
            headers[acl.OBJECT_SYSMETA] = kept[acl.UPLOAD_SYSMETA.lower()]
        if checksum is not None:
            headers[checksums.SYSMETA] = ' '.join(checksum)
        return headers

    def _put_manifest(self, headers, sizes):
        manifest = json.dumps([
            {'path': f'/{self.upload.container}/{self.upload.part(number)}', 'etag': etag,
             'size_bytes': sizes[number]}
            for number, etag, _ in self.wanted if sizes[number]]).encode()
        answer = self.store.ask(
            'PUT', self.req.bucket, self.req.key,
            {**headers, 'Content-Length': str(len(manifest))}, 'multipart-manifest=put',
            SourceBody([manifest]))
        said = answer.body()
        if answer.status == 400 and b'Etag Mismatch' in said or b'404 Not Found' in said:
            raise S3Error('InvalidPart', UploadId=self.upload.id)
        if answer.status == 202:
            raise S3Error('OperationAborted')
        if not answer.ok:
            raise self.store.error(answer.status, said, self.req.bucket, self.req.key)
        return answer

    def _end_at_last(self, checksum):
        """End an upload that was completed before; the result's element. Not to store a second
        version of it, and not to take away what the first one is made of."""
        if self.etag != self._before:
            raise S3Error('NoSuchUpload', UploadId=self.upload.id)
        self._end()
        return self._result(checksum)

    def _end(self):
        """The upload is over: parts nobody wanted go, then the upload itself."""
        wanted = {number for number, _, _ in self.wanted}
        for number, row in self.upload.parts(self.call):
            if number not in wanted or not row['bytes']:
                self.store.ask('DELETE', self.upload.container, row['name']).body()
        self.store.ask('DELETE', self.upload.container, self.upload.name).body()

    def _result(self, checksum):
        req = self.req
        host = req.headers.get('host', '')
        where = f'{req.environ["wsgi.url_scheme"]}://{host}/'
        if not req.via_host:
            where += req.bucket + '/'
        return element(
            'CompleteMultipartUploadResult', element('Location', where + quote(req.key)),
            element('Bucket', req.bucket), element('Key', req.key),
            element('ETag', f'"{self.etag}"'),
            element('Checksum' + checksum[0], checksum[1]) if checksum else None,
            element('ChecksumType', checksum[2]) if checksum else None)
