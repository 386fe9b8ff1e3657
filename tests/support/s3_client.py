# SPDX-License-Identifier: Apache-2.0
"""Clients of the S3 API: boto3's, and requests signed by botocore that a test may then change."""
import http.client
from urllib.parse import quote, urlsplit

import boto3
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

REGION = "us-east-1"
SIGNERS = {"v4": S3SigV4Auth, "v4-query": S3SigV4QueryAuth, "v2": HmacV1Auth,
           "v2-query": HmacV1QueryAuth}


def boto(url, access_key, secret, region=REGION, **s3):
    """A boto3 client that asks once, with path-style addresses."""
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=access_key, aws_secret_access_key=secret,
        region_name=region, config=Config(
            retries={"total_max_attempts": 1}, s3={"addressing_style": "path", **s3},
            **({"signature_version": s3.pop("signature_version")}
               if "signature_version" in s3 else {})))


def signed(method, url, access_key, secret, headers=None, body=b"", how="v4", expires=900,
           trailer=False):
    """``(path with query, headers)`` of a request, signed in one of SIGNERS' ways.

    With ``trailer`` the body is not covered: it comes in chunks, its checksum in a trailer.
    """
    # a presigned URL does not cover the body
    request = AWSRequest(method=method, url=url, headers=dict(headers or {}),
                         data=b"" if how.endswith("query") else body)
    if trailer:
        request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
    credentials = Credentials(access_key, secret)
    if how.startswith("v4"):
        more = {"expires": expires} if how == "v4-query" else {}
        SIGNERS[how](credentials, "s3", REGION, **more).add_auth(request)
    else:
        if how == "v2-query":
            signer = HmacV1QueryAuth(credentials, expires=expires)
        else:
            signer = HmacV1Auth(credentials)
        signer.add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    sent = {n: v.decode() if isinstance(v, bytes) else v for n, v in prepared.headers.items()
            if n != "Content-Length"}
    return parts.path + ("?" + parts.query if parts.query else ""), sent


class Raw:
    """Signed requests as they are, for one key; ``(status, headers by lower-case name, body)``."""

    def __init__(self, url, access_key, secret):
        self.url, self.access_key, self.secret = url, access_key, secret
        self.host = urlsplit(url).netloc

    def sign(self, method, path, headers=None, body=b"", how="v4", expires=900, trailer=False):
        return signed(method, self.url + quote(path, safe="/?=&%~-._"), self.access_key,
                      self.secret, headers, body, how, expires, trailer)

    def __call__(self, method, path, headers=None, body=b"", how="v4", also=None):
        """``also`` are headers that are sent, but not signed."""
        path, sent = self.sign(method, path, headers, body, how)
        return self.send(method, path, {**sent, **(also or {})}, body)

    def send(self, method, path, headers, body=b"", timeout=30):
        conn = http.client.HTTPConnection(self.host, timeout=timeout)
        try:
            conn.request(method, path, body=body, headers=headers)
            resp = conn.getresponse()
            return resp.status, {k.lower(): v for k, v in resp.getheaders()}, resp.read()
        finally:
            conn.close()
