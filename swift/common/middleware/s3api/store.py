# SPDX-License-Identifier: Apache-2.0
"""Requests to the object store that stand behind one S3 request."""

import json
from urllib.parse import urlencode

from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.names import segments_of
from swift.common.storage_policy import policies
from swift.proxy.cached_info import cache_key, container_entry, info_of, subrequest

LISTING = 10_000


class Answer:
    """A status, headers by lower-case name, and the body in pieces."""

    __slots__ = ('status', 'headers', 'pieces')

    def __init__(self, status, items, pieces):
        self.status = status
        self.headers = {n.lower(): v for n, v in items}
        self.pieces = pieces

    @property
    def ok(self):
        return self.status // 100 == 2

    def body(self):
        """All bytes."""
        try:
            return b''.join(self.pieces)
        finally:
            self.discard()

    def discard(self):
        """Close the body unread."""
        close = getattr(self.pieces, 'close', None)
        if close is not None:
            close()


class Store:
    """The object store with the rights of who signed.

    With ``trusted`` the S3 API has judged by its own access lists, and the store asks nobody.
    """

    def __init__(self, app, req, trusted=False):
        self.app, self.req, self.trusted = app, req, trusted
        identity = req.identity
        self.account = identity.account
        self.env = {**req.environ, **identity.environ, 'swift.source': 'S3'}

    def path(self, container=None, obj=None):
        path = f'/v1/{self.account}'
        if container is not None:
            path += '/' + container
            if obj is not None:
                path += '/' + obj
        return path

    def ask(self, method, container=None, obj=None, headers=None, query='', body=None,
            trusted=None, footers=None):
        """The Answer to one request."""
        trusted = self.trusted if trusted is None else trusted
        env = self.env
        headers = dict(headers) if headers else {}
        if 'HTTP_ORIGIN' in env:
            headers['Origin'] = env['HTTP_ORIGIN']
        if trusted:
            env = {**env, 'swift_owner': True}
        return Answer(*subrequest(env, self.app, method, self.path(container, obj), headers,
                                  query=query, authorized=trusted, body=body,
                                  footers=footers))

    def done(self, method, container=None, obj=None, headers=None, query='', body=None,
             trusted=None):
        """`ask`, the body read; S3Error unless it was a success."""
        answer = self.ask(method, container, obj, headers, query, body, trusted)
        text = answer.body()
        if not answer.ok:
            raise self.error(answer.status, text, container, obj)
        return answer

    # -- what is known -------------------------------------------------------
    def bucket_info(self, container):
        """The cached entry of a container; its status is 404 when there is none."""
        return info_of(self.env, self.app, self.account, container)

    def fresh_bucket_info(self, container):
        """The entry as the servers say now."""
        answer = self.ask('HEAD', container, trusted=True)
        answer.discard()
        return container_entry(answer.status, answer.headers)

    def forget(self, container):
        """Have the next `bucket_info` ask the servers."""
        key = cache_key(self.account, container)
        self.env.get('swift.infocache', {}).pop(key, None)
        cache = self.env.get('swift.cache')
        if cache is not None:
            cache.delete(key)

    def need_bucket(self, container):
        """The entry of a bucket; NoSuchBucket without one."""
        info = self.bucket_info(container)
        if info['status'] == 404:
            # The cache may remember an absence that has ended.
            info = self.fresh_bucket_info(container)
        if info['status'] == 404:
            raise S3Error('NoSuchBucket', BucketName=container)
        if info['status'] // 100 != 2:
            raise S3Error('ServiceUnavailable')
        return info

    def need_segments(self, bucket):
        """The container of the bucket's parts exists, with the bucket's storage policy."""
        name = segments_of(bucket)
        if self.bucket_info(name)['status'] // 100 == 2:
            return name
        policy = policies().by_index(int(self.bucket_info(bucket)['storage_policy']))
        headers = {'X-Storage-Policy': policy.name} if policy is not None else {}
        self.done('PUT', name, headers=headers)
        return name

    # -- listings ------------------------------------------------------------
    def listing(self, container=None, **params):
        """One page of a listing, as the store's JSON says it."""
        query = urlencode({n: v for n, v in params.items() if v not in (None, '')},
                          errors='surrogateescape')
        answer = self.done_body('GET', container, query=query + '&format=json')
        return json.loads(answer) if answer else []

    def done_body(self, method, container, query):
        answer = self.ask(method, container, query=query)
        text = answer.body()
        if not answer.ok:
            raise self.error(answer.status, text, container, None)
        return text

    def all(self, container, prefix='', limit=LISTING):
        """All rows below a prefix, page after page."""
        marker = ''
        while True:
            page = self.listing(container, prefix=prefix, marker=marker, limit=limit)
            yield from page
            if len(page) < limit:
                return
            marker = page[-1]['name']

    # -- errors --------------------------------------------------------------
    def error(self, status, text, container, obj):
        """The S3Error for a refusal of the store."""
        said = text.decode('utf-8', 'replace') if text else ''
        if '<' in said:
            said = ''
        if status in (401, 403):
            return S3Error('AccessDenied')
        if status == 404:
            if obj is None or self.bucket_info(container)['status'] == 404:
                return S3Error('NoSuchBucket', BucketName=container)
            return S3Error('NoSuchKey', Key=obj)
        if status == 400:
            if 'Metadata' in said or 'Header value too long' in said or 'metadata' in said:
                return S3Error('MetadataTooLarge', said)
            return S3Error('InvalidArgument', said or None)
        if status == 408:
            return S3Error('RequestTimeout', headers=[('Connection', 'close')])
        fixed = {409: 'OperationAborted', 411: 'MissingContentLength', 412: 'PreconditionFailed',
                 413: 'EntityTooLarge', 416: 'InvalidRange', 422: 'BadDigest',
                 499: 'IncompleteBody', 405: 'MethodNotAllowed', 498: 'SlowDown'}
        if status in fixed:
            return S3Error(fixed[status])
        if status == 501:
            return S3Error('NotImplemented', said or None)
        return S3Error('ServiceUnavailable')
