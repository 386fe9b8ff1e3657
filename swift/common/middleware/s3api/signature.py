# SPDX-License-Identifier: Apache-2.0
"""Signatures of version 2 and 4, in the Authorization header or in the query.

Here is read what a request says of its signature, and that it was made lately and covers what it
has to. Whether it is right is for whoever knows the secret: see `Signature.made_with`.

"Signing and authenticating REST requests" of the Amazon S3 API reference, both versions.
"""

import abc
import base64
import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

from swift.common.middleware.s3api.errors import S3Error
from swift.common.request import parse_http_date, real_text, wsgi_text

MAX_SKEW = 15 * 60             # seconds, unless a site says otherwise
MAX_EXPIRES = 7 * 86400
MAX_EPOCH = 2 ** 32
ALGORITHM = 'AWS4-HMAC-SHA256'
UNSIGNED = 'UNSIGNED-PAYLOAD'
STREAMING = {
    # name: (chunks are signed, there may be trailers)
    'STREAMING-AWS4-HMAC-SHA256-PAYLOAD': (True, False),
    'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER': (True, True),
    'STREAMING-UNSIGNED-PAYLOAD-TRAILER': (False, True),
}
_V4 = re.compile(ALGORITHM + r'\s+(.+)\Z')
_SCOPE_DATE = re.compile(r'[0-9]{8}\Z')
_STAMP = re.compile(r'[0-9]{8}T[0-9]{6}Z\Z')
_SHA256 = re.compile(r'[0-9a-fA-F]{64}\Z')
_NO_DATE = 'AWS authentication requires a valid Date or x-amz-date header'
# Parameters a signature of version 2 covers.
V2_PARAMETERS = frozenset((
    'accelerate', 'acl', 'analytics', 'cors', 'defaultObjectAcl', 'delete', 'encryption',
    'intelligent-tiering', 'inventory', 'legal-hold', 'lifecycle', 'location', 'logging',
    'metrics', 'notification', 'object-lock', 'ownershipControls', 'partNumber', 'policy',
    'policyStatus', 'publicAccessBlock', 'replication', 'requestPayment', 'response-cache-control',
    'response-content-disposition', 'response-content-encoding', 'response-content-language',
    'response-content-type', 'response-expires', 'restore', 'retention', 'select', 'select-type',
    'storageClass', 'tagging', 'torrent', 'uploadId', 'uploads', 'versionId', 'versioning',
    'versions', 'website'))


def is_signed(env):
    """Whether a request is one for S3: it carries a signature of Amazon's."""
    header = env.get('HTTP_AUTHORIZATION')
    if header is not None and header.startswith(('AWS ', 'AWS4-HMAC-')):
        return True
    query = env.get('QUERY_STRING')
    return bool(query) and ('AWSAccessKeyId=' in query or 'X-Amz-Algorithm=' in query or
                            'X-Amz-Credential=' in query)


class Signature(abc.ABC):
    """What a request says of its signature.

    ``string_to_sign`` is bytes; ``canonical`` the canonical request it stands for (None in version
    2); ``payload`` what x-amz-content-sha256 says when the signature covers the body in one of
    version 4's ways, else None.
    """

    version: int
    payload: str | None = None
    canonical: bytes | None = None
    scope: list = []
    stamp = ''
    presigned = False

    def __init__(self, access_key, signature, string_to_sign):
        self.access_key, self.signature = access_key, signature
        self.string_to_sign = string_to_sign

    @abc.abstractmethod
    def made_with(self, secret):
        """Whether it was made with this secret; takes the same time whatever the answer."""

    def mismatch(self, string_to_sign=None, signature=None):
        """The error that says it was not, with what a client needs to find out why."""
        text = string_to_sign or self.string_to_sign
        facts = {'AWSAccessKeyId': self.access_key, 'StringToSign': text.decode('latin-1'),
                 'SignatureProvided': signature or self.signature,
                 'StringToSignBytes': text.hex(' ')}
        if self.canonical is not None:
            facts['CanonicalRequest'] = self.canonical.decode('latin-1')
            facts['CanonicalRequestBytes'] = self.canonical.hex(' ')
        return S3Error('SignatureDoesNotMatch', **facts)


class SignatureV2(Signature):
    """HMAC-SHA1, base64."""

    version = 2

    def made_with(self, secret):
        made = base64.b64encode(hmac.new(secret.encode(), self.string_to_sign, 'sha1').digest())
        return hmac.compare_digest(made, self.signature.encode('utf-8', 'surrogateescape'))


class SignatureV4(Signature):
    """HMAC-SHA256 with a key derived for a day, a region and a service, hexadecimal."""

    version = 4

    def signing_key(self, secret):
        """The key of this signature's scope."""
        key = ('AWS4' + secret).encode()
        for part in self.scope:
            key = hmac.new(key, part.encode(), 'sha256').digest()
        return key

    def made_with(self, secret):
        made = hmac.new(self.signing_key(secret), self.string_to_sign, 'sha256').hexdigest()
        return hmac.compare_digest(made.encode(),
                                   self.signature.encode('utf-8', 'surrogateescape'))


class Clock(NamedTuple):
    """The time, and how many seconds a client's clock may differ."""

    now: float
    skew: int

    def check(self, moment):
        """S3Error unless a request may be of that moment."""
        if moment is None:
            raise S3Error('AccessDenied', _NO_DATE)
        if abs(self.now - moment) > self.skew:
            raise S3Error('RequestTimeTooSkewed', MaxAllowedSkewMilliseconds=self.skew * 1000)


def read_signature(req, location, now=None, skew=MAX_SKEW):
    """The Signature of a request; S3Error for one that is incomplete, too old or malformed."""
    clock = Clock(time.time() if now is None else now, skew)
    header = req.headers.get('authorization', '')
    in_query4 = 'X-Amz-Algorithm' in req.params or 'X-Amz-Credential' in req.params
    in_query2 = 'AWSAccessKeyId' in req.params
    if (bool(header) + in_query2 + in_query4) > 1:
        raise S3Error('InvalidArgument', 'Only one auth mechanism allowed; only the X-Amz-'
                      'Algorithm query parameter, Signature query string parameter or the '
                      'Authorization header should be specified')
    if header.startswith('AWS '):
        return _v2_header(req, header, clock)
    if header:
        return _v4_header(req, header, location, clock)
    return _v4_query(req, location, clock) if in_query4 else _v2_query(req, clock.now)


# -- version 2 -----------------------------------------------------------------
def _v2_header(req, header, clock):
    access_key, colon, signature = header[4:].strip().rpartition(':')
    if not colon or not access_key or not signature:
        raise S3Error('InvalidArgument', 'AWS authorization header is invalid.  Expected '
                      'AwsAccessKeyId:signature')
    date = ''
    if 'x-amz-date' in req.headers:
        moment = _any_date(req.headers['x-amz-date'])
    else:
        date = req.headers.get('date', '')
        moment = _any_date(date)
    clock.check(moment)
    return SignatureV2(_text(access_key), signature, _v2_string(req, date))


def _v2_query(req, now):
    params = req.params
    access_key, signature = params.get('AWSAccessKeyId'), params.get('Signature')
    expires = params.get('Expires', '')
    if not access_key or not signature or not expires:
        raise S3Error('AccessDenied', 'Query-string authentication requires the Signature, '
                      'Expires and AWSAccessKeyId parameters')
    if not (expires.isascii() and expires.isdigit() and len(expires) < 20) or \
            int(expires) >= MAX_EPOCH:
        raise S3Error('AccessDenied', f'Invalid date (should be seconds since epoch): {expires}')
    if int(expires) < now:
        raise S3Error('AccessDenied', 'Request has expired', Expires=expires)
    made = SignatureV2(access_key, signature, _v2_string(req, expires))
    made.presigned = True
    return made


def _v2_string(req, date):
    """The string to sign, bytes."""
    headers = req.headers
    amz = ''.join(f'{n}:{headers[n].strip()}\n'
                  for n in sorted(headers) if n.startswith('x-amz-'))
    resource = ('/' + req.via_host if req.via_host else '') + req.environ['RAW_PATH_INFO']
    covered = [f'{n}={wsgi_text(v)}' if v else n for n, v in sorted(req.params.items())
               if n in V2_PARAMETERS]
    if covered:
        resource += '?' + '&'.join(covered)
    text = '\n'.join((req.method, headers.get('content-md5', ''),
                      headers.get('content-type', ''), date, amz + resource))
    return text.encode('latin-1')


# -- version 4 -----------------------------------------------------------------
def _v4_header(req, header, location, clock):
    found = _V4.match(header)
    fields = {}
    for item in (found[1] if found else '').split(','):
        name, _, value = item.strip().partition('=')
        if name in fields:
            raise S3Error('AuthorizationHeaderMalformed')
        fields[name] = value
    if set(fields) != {'Credential', 'SignedHeaders', 'Signature'}:
        raise S3Error('AuthorizationHeaderMalformed', 'The authorization header is malformed; it '
                      'needs Credential, SignedHeaders and Signature.')
    access_key, scope = _scope(fields['Credential'], location, 'AuthorizationHeaderMalformed',
                               'The authorization header is malformed')
    access_key = _text(access_key)
    stamp = _header_stamp(req)
    clock.check(_epoch(stamp))
    if not stamp.startswith(scope[0]):
        raise S3Error('AuthorizationHeaderMalformed', 'The authorization header is malformed; '
                      f'Invalid credential date "{scope[0]}". This date is not the same as '
                      f'X-Amz-Date: "{stamp[:8]}".')
    payload = req.headers.get('x-amz-content-sha256')
    if payload is None:
        raise S3Error('InvalidRequest', 'Missing required header for this request: '
                      'x-amz-content-sha256')
    if payload != UNSIGNED and payload not in STREAMING and not _SHA256.match(payload):
        raise S3Error('InvalidArgument', 'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, '
                      + ', '.join(STREAMING) + ', or a valid sha256 value.',
                      ArgumentName='x-amz-content-sha256', ArgumentValue=payload)
    made = _v4(req, access_key, scope, stamp, fields['SignedHeaders'], fields['Signature'],
               payload)
    made.payload = payload
    return made


def _v4_query(req, location, clock):
    params, code = req.params, 'AuthorizationQueryParametersError'
    names = ('X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Signature', 'X-Amz-Date',
             'X-Amz-SignedHeaders', 'X-Amz-Expires')
    if any(not params.get(name) for name in names):
        raise S3Error(code, 'Query-string authentication version 4 requires the '
                      + ', '.join(names[:-1]) + ', and X-Amz-Expires parameters.')
    if params['X-Amz-Algorithm'] != ALGORITHM:
        raise S3Error(code, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    access_key, scope = _scope(params['X-Amz-Credential'], location, code,
                               'Error parsing the X-Amz-Credential parameter')
    stamp = params['X-Amz-Date']
    if not _STAMP.match(stamp) or _epoch(stamp) is None:
        raise S3Error(code, 'X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd\'T\'HHmmss'
                      '\'Z\'"')
    if req.headers.get('x-amz-date', stamp) != stamp:
        raise S3Error('AccessDenied', 'The x-amz-date header is not the X-Amz-Date parameter')
    if not stamp.startswith(scope[0]):
        raise S3Error(code, 'Invalid credential date: it is not the same as X-Amz-Date')
    expires = _v4_expires(params['X-Amz-Expires'], code)
    began = _epoch(stamp)
    if began > clock.now + clock.skew:
        raise S3Error('AccessDenied', 'Request is not yet valid')
    if began + expires < clock.now:
        raise S3Error('AccessDenied', 'Request has expired')
    made = _v4(req, access_key, scope, stamp, params['X-Amz-SignedHeaders'],
               params['X-Amz-Signature'], req.headers.get('x-amz-content-sha256', UNSIGNED))
    made.presigned = True
    return made


def _v4_expires(text, code):
    digits = text[1:] if text[:1] == '-' else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19 or \
            int(digits) >= 2 ** 63:
        raise S3Error(code, 'X-Amz-Expires should be a number')
    if text[0] == '-':
        raise S3Error(code, 'X-Amz-Expires must be non-negative')
    if int(digits) > MAX_EXPIRES:
        raise S3Error(code, f'X-Amz-Expires must be less than {MAX_EXPIRES} seconds')
    return int(digits)


def _scope(credential, location, code, words):
    """``(access key, [day, region, service, end])``."""
    parts = credential.rsplit('/', 4)
    if len(parts) != 5 or not parts[0] or not _SCOPE_DATE.match(parts[1]):
        raise S3Error(code, f'{words}; the Credential is mal-formed; expecting '
                      '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    if parts[2] != location:
        raise S3Error(code, f"{words}; the region '{parts[2]}' is wrong; expecting '{location}'",
                      Region=location)
    if parts[3] != 's3':
        raise S3Error(code, f'{words}; incorrect service "{parts[3]}". This endpoint belongs to '
                      '"s3".')
    if parts[4] != 'aws4_request':
        raise S3Error(code, f'{words}; incorrect terminal "{parts[4]}". This endpoint uses '
                      '"aws4_request".')
    return parts[0], parts[1:]


def _header_stamp(req):
    stamp = req.headers.get('x-amz-date')
    if stamp is None:
        seconds = parse_http_date(req.headers.get('date', ''))
        if seconds is None:
            raise S3Error('AccessDenied', _NO_DATE)
        stamp = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(seconds))
    if not _STAMP.match(stamp) or _epoch(stamp) is None:
        raise S3Error('AccessDenied', _NO_DATE)
    return stamp


def _v4(req, access_key, scope, stamp, names, signature, payload):
    signed = names.split(';')
    if 'host' not in signed or len(signed) != len(set(signed)):
        raise S3Error('AccessDenied', 'SignedHeaders has to name host, and each header once')
    # x-amz-content-sha256 is part of what is signed, whether it is among the headers or not.
    loose = sorted(n for n in req.headers if n.startswith('x-amz-') and n not in signed
                   and n != 'x-amz-content-sha256')
    if loose:
        raise S3Error('AccessDenied', 'There were headers present in the request which were not '
                      'signed', HeadersNotSigned=', '.join(loose))
    names = wsgi_text(names)
    canonical = '\n'.join((
        req.method, quote(req.environ['PATH_INFO'].encode('latin-1'), safe='/-_.~'),
        _canonical_query(req.environ.get('QUERY_STRING', '')),
        *(f'{n}:{" ".join(req.headers.get(n, "").split())}' for n in signed), '', names,
        payload)).encode('latin-1')
    text = '\n'.join((ALGORITHM, stamp, '/'.join(scope), hashlib.sha256(canonical).hexdigest()))
    made = SignatureV4(access_key, signature, text.encode('latin-1'))
    made.canonical, made.scope, made.stamp = canonical, scope, stamp
    return made


def _canonical_query(query):
    """Parameters re-encoded and sorted, without the signature itself."""
    pairs = sorted((quote(n.encode('utf-8', 'surrogateescape'), safe='-_.~'),
                    quote(v.encode('utf-8', 'surrogateescape'), safe='-_.~'))
                   for n, v in parse_qsl(query, keep_blank_values=True, errors='surrogateescape')
                   if n != 'X-Amz-Signature')
    return '&'.join(f'{n}={v}' for n, v in pairs)


# -- dates ---------------------------------------------------------------------
def _epoch(stamp):
    """Seconds since 1970 of 20260102T030405Z, None when there is no such time."""
    try:
        return int(datetime(int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8]), int(stamp[9:11]),
                            int(stamp[11:13]), int(stamp[13:15]), tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _any_date(text):
    if _STAMP.match(text):
        return _epoch(text)
    return parse_http_date(text)


def _text(access_key):
    """A key of a header as real text."""
    try:
        return real_text(access_key)
    except UnicodeDecodeError:
        raise S3Error('InvalidArgument', 'The access key is not valid UTF-8') from None
