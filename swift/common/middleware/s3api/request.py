# SPDX-License-Identifier: Apache-2.0
"""A request as S3 sees it: bucket, key, parameters, and headers by the names they came with.

Header names keep their underscores here: the environ has no key for ``x-amz-meta-a_b``, and what
is signed is what was sent.
"""

from typing import Any
from urllib.parse import parse_qsl, quote

from swift.common.middleware.s3api.errors import S3Error, invalid
from swift.common.middleware.s3api.names import valid_bucket

MAX_XML = 65536                # of documents of a few elements
SUBRESOURCES = frozenset((
    'accelerate', 'acl', 'analytics', 'cors', 'delete', 'encryption', 'intelligent-tiering',
    'inventory', 'legal-hold', 'lifecycle', 'location', 'logging', 'metrics', 'notification',
    'object-lock', 'ownershipControls', 'policy', 'policyStatus', 'publicAccessBlock',
    'replication', 'requestPayment', 'restore', 'retention', 'select', 'tagging', 'torrent',
    'uploadId', 'uploads', 'versioning', 'versions', 'website'))


class S3Request:
    """A request and, once `identity` is set, who sent it.

    ``bucket`` and ``key`` are real text, None for none. ``via_host`` says that the bucket was
    named by the Host header.
    """

    def __init__(self, env, domains=(), dns_compliant=True):
        self.environ = env
        self.method = env['REQUEST_METHOD']
        self.headers = _headers(env)
        self.params = _params(env)
        self.dns_compliant = dns_compliant
        self.identity: Any = None       # a Signed
        self.signature: Any = None      # a Signature
        self.via_host = _bucket_of_host(self.headers.get('host', ''), domains)
        self.bucket, self.key = self._place()

    def _place(self):
        try:
            path = self.environ['PATH_INFO'].encode('latin-1').decode('utf-8')
        except UnicodeError:
            raise S3Error('InvalidURI') from None
        if '\0' in path:
            raise S3Error('InvalidURI')
        path = path[1:]
        if self.via_host:
            return self.via_host, path or None
        bucket, _, key = path.partition('/')
        return bucket or None, key or None

    def check_names(self, max_key):
        """S3Error when the bucket or the key cannot be."""
        if self.bucket is not None and not valid_bucket(self.bucket, self.dns_compliant):
            raise S3Error('InvalidBucketName', BucketName=self.bucket)
        if self.key is not None and len(self.key.encode('utf-8', 'surrogateescape')) > max_key:
            raise S3Error('KeyTooLongError')

    @property
    def level(self):
        """service, bucket or object."""
        if self.bucket is None:
            return 'service'
        return 'bucket' if self.key is None else 'object'

    @property
    def subresource(self):
        """The name of the one subresource asked for, '' without any."""
        found = [name for name in self.params if name in SUBRESOURCES]
        if len(found) > 1:
            raise invalid('ResourceType', '&'.join(sorted(found)),
                          'Conflicting values provided in this request')
        return found[0] if found else ''

    def number(self, name, default, most=None):
        """A parameter that is a whole number from 0 to 2**31 - 1, at most ``most``."""
        value = self.params.get(name)
        if value is None:
            return default
        digits = value[1:] if value[:1] in '+-' else value
        if not (digits.isascii() and digits.isdigit()):
            raise invalid(name, value, f'Provided {name} not an integer or within integer range')
        if value[0] == '-' and int(digits[:20]):
            raise invalid(name, value, f'Argument {name} must be an integer between 0 and '
                          '2147483647')
        if len(digits.lstrip('0')) > 10 or int(digits) > 2147483647:
            raise invalid(name, value, f'Provided {name} not an integer or within integer range')
        return int(digits) if most is None else min(int(digits), most)

    @property
    def content_length(self):
        """The length of the body, None when it is sent in chunks."""
        value = self.environ.get('CONTENT_LENGTH')
        return int(value) if value else None

    @property
    def user(self):
        """The id by which the sender is known as an owner and grantee."""
        return self.identity.user


def _headers(env):
    """Headers by lower-case name, values of repeated ones joined."""
    raw = env.get('headers_raw')
    if raw is None:
        raw = [(k[5:].replace('_', '-'), v) for k, v in env.items() if k.startswith('HTTP_')]
        raw += [(k.replace('_', '-'), env[k]) for k in ('CONTENT_TYPE', 'CONTENT_LENGTH')
                if env.get(k)]
    headers: dict = {}
    for name, value in raw:
        name = name.lower()
        headers[name] = f'{headers[name]},{value}' if name in headers else value
    return headers


def _params(env):
    query = env.get('QUERY_STRING')
    if not query:
        return {}
    pairs = parse_qsl(query, keep_blank_values=True, errors='surrogateescape')
    params = dict(pairs)
    if len(params) != len(pairs):
        raise S3Error('InvalidArgument', 'A parameter is given twice')
    for name, value in pairs:
        if '\0' in value or not _is_utf8(value) or not _is_utf8(name):
            raise invalid(_quoted(name), _quoted(value), 'Not valid UTF-8')
    return params


def _quoted(text):
    return quote(text.encode('utf-8', 'surrogateescape'))


def _is_utf8(text):
    try:
        text.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True


def _bucket_of_host(host, domains):
    if not domains:
        return None
    name = host.lower().partition(':')[0]
    for domain in domains:
        if name.endswith('.' + domain):
            return name[:-len(domain) - 1]
    return None
