# SPDX-License-Identifier: Apache-2.0
"""Bodies: aws-chunked coding, signatures of chunks, trailers, checksums; nothing bad gets by."""
import base64
import hashlib
import hmac
import zlib
from types import SimpleNamespace

import pytest
from wsgi_call import Body as Input

from swift.common.middleware.s3api import checksums
from swift.common.middleware.s3api.body import Body, BodyRefused
from swift.common.middleware.s3api.chunks import without_coding
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.signature import SignatureV4

SECRET = "testing"
DATA = b"123456789" * 3000
EMPTY = hashlib.sha256().hexdigest()
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
KNOWN = {"CRC32": "cbf43926", "CRC32C": "e3069283", "CRC64NVME": "ae8b14860a799888",
         "SHA1": hashlib.sha1(b"123456789").hexdigest(),
         "SHA256": hashlib.sha256(b"123456789").hexdigest()}


class Request(SimpleNamespace):
    """As much of an S3Request as a Body needs."""

    def __init__(self, data, headers, payload=None, length=True):
        signature = SignatureV4("key", "5" * 64, b"")
        signature.payload, signature.stamp = payload, "20260101T000000Z"
        signature.scope = ["20260101", "us-east-1", "s3", "aws4_request"]
        signature.canonical = b"GET\n"
        if payload is not None:
            headers = {"x-amz-content-sha256": payload, **headers}
        env = {"wsgi.input": Input(data)}
        if not length:
            env["HTTP_TRANSFER_ENCODING"] = "chunked"
        super().__init__(headers=headers, signature=signature, environ=env,
                         content_length=len(data) if length else None,
                         identity=SimpleNamespace(secret=SECRET))


def read(data, headers, payload=None, step=1000, **more):
    """The content, taken in steps as the store does; raises S3Error."""
    body = Body(Request(data, headers, payload, **more)).start()
    got = b""
    try:
        while True:
            piece = body.read1(step)
            if not piece:
                return got
            got += piece
    except BodyRefused:
        raise body.error from None


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def unsigned(pieces, trailers=""):
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailers.encode() \
        + b"\r\n"


def chain(pieces, trailers=None):
    """A signed body, made without the code under test."""
    key = ("AWS4" + SECRET).encode()
    for part in ("20260101", "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    previous, out = "5" * 64, b""

    def sign(kind, *digests):
        text = "\n".join((f"AWS4-HMAC-SHA256-{kind}", "20260101T000000Z",
                          "20260101/us-east-1/s3/aws4_request", previous, *digests))
        return hmac.new(key, text.encode(), "sha256").hexdigest()

    for piece in [*pieces, b""]:
        previous = sign("PAYLOAD", EMPTY, hashlib.sha256(piece).hexdigest())
        out += b"%x;chunk-signature=%b\r\n" % (len(piece), previous.encode())
        out += piece + b"\r\n" if piece else b""
    if trailers is None:
        return out + b"\r\n"
    signature = sign("TRAILER", hashlib.sha256((trailers + "\n").encode()).hexdigest())
    return out + f"{trailers}\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()


DECODED = {"x-amz-decoded-content-length": str(len(DATA))}
TRAILER = {**DECODED, "x-amz-trailer": "x-amz-checksum-crc32"}


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_known_values(algorithm):
    size, hasher, _ = checksums.ALGORITHMS[algorithm]
    made = hasher()
    for piece in (b"1234", b"", b"56789"):
        made.update(piece)
    assert made.digest().hex() == KNOWN[algorithm] and len(made.digest()) == size


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_checksums_of_parts(algorithm):
    parts = []
    for piece in (b"1234", b"5678", b"9"):
        made = checksums.ALGORITHMS[algorithm][1]()
        made.update(piece)
        parts.append((made.digest(), len(piece)))
    whole = base64.b64encode(bytes.fromhex(KNOWN[algorithm])).decode()
    assert checksums.of_parts(algorithm, "FULL_OBJECT", parts) == whole
    assert checksums.of_parts(algorithm, "COMPOSITE", parts).endswith("-3")


@pytest.mark.parametrize("size", [7, len(DATA) * 5])
def test_plain_bodies(size):
    data = (DATA * 5)[:size]
    digest = hashlib.sha256(data).hexdigest()
    assert read(data, {"x-amz-content-sha256": digest.upper()}) == data
    assert read(data, {"x-amz-checksum-crc32": crc32(data)}) == data
    assert read(data, {}, length=False) == data
    for headers, code in [({"x-amz-content-sha256": EMPTY}, "XAmzContentSHA256Mismatch"),
                          ({"x-amz-checksum-crc32": crc32(b"x")}, "BadDigest"),
                          ({"content-md5": "x"}, "InvalidDigest"),
                          ({"x-amz-checksum-crc32": "x"}, "InvalidRequest"),
                          ({"x-amz-trailer": "x-amz-checksum-crc32"}, "MalformedTrailerError")]:
        with pytest.raises(S3Error) as caught:
            read(data, headers)
        assert caught.value.code == code


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize(("payload", "data", "headers"), [
    (UNSIGNED, unsigned([DATA[:9000], DATA[9000:]]), DECODED),
    (UNSIGNED, unsigned([DATA], f"x-amz-checksum-crc32: {crc32(DATA)}\r\n"), TRAILER),
    (SIGNED, chain([DATA[:9000], DATA[9000:]]), DECODED),
    (SIGNED + "-TRAILER", chain([DATA], "x-amz-checksum-crc32:" + crc32(DATA)), TRAILER),
])
def test_chunked_bodies(payload, data, headers, length):
    assert read(data, headers, payload, length=length) == DATA


@pytest.mark.parametrize(("payload", "data", "headers"), [
    (UNSIGNED, unsigned([b"abc"]), {"x-amz-decoded-content-length": "3"}),
    (UNSIGNED, unsigned([b"abc"], f"x-amz-checksum-crc32: {crc32(b'abc')}\r\n"),
     {"x-amz-decoded-content-length": "3", "x-amz-trailer": "x-amz-checksum-crc32"}),
    (SIGNED, chain([b"abc"]), {"x-amz-decoded-content-length": "3"}),
    (SIGNED + "-TRAILER", chain([b"abc"], "x-amz-checksum-crc32:" + crc32(b"abc")),
     {"x-amz-decoded-content-length": "3", "x-amz-trailer": "x-amz-checksum-crc32"}),
])
def test_security_x6_cut_at_each_byte(payload, data, headers):
    """X6: a chunked body cut anywhere: IncompleteBody (or the trailer is missed), no loop."""
    whole = data.rstrip(b"\r\n")
    for end in range(len(whole)):
        for length in (True, False):
            with pytest.raises(S3Error) as caught:
                read(data[:end], headers, payload, length=length)
            assert caught.value.code in ("IncompleteBody", "MalformedTrailerError"), data[:end]


@pytest.mark.parametrize("change", [
    lambda b: b.replace(b"123456789", b"123456788", 1),
    lambda b: b.replace(b"chunk-signature=", b"chunk-signature=0", 1),
    lambda b: b.replace(b";chunk-signature", b";x=y;chunk-signature", 1),
    lambda b: b[::-1].replace(b"\n\r", b"\n\rx", 1)[::-1],
])
def test_security_e15_chunk_signatures(change):
    """E15: a byte, a signature or a chunk's line changed after signing: refused."""
    with pytest.raises(S3Error) as caught:
        read(change(chain([DATA])), DECODED, SIGNED)
    assert caught.value.code in ("SignatureDoesNotMatch", "IncompleteBody")


def test_security_e15_trailers():
    """E15: trailer checksums are compared, trailer signatures, too."""
    bad = chain([DATA], "x-amz-checksum-crc32:" + crc32(b"x"))
    with pytest.raises(S3Error) as caught:
        read(bad, TRAILER, SIGNED + "-TRAILER")
    assert caught.value.code == "BadDigest"
    with pytest.raises(S3Error) as caught:
        read(bad.replace(crc32(b"x").encode(), crc32(DATA).encode()), TRAILER, SIGNED + "-TRAILER")
    assert caught.value.code == "SignatureDoesNotMatch"
    assert caught.value.facts["StringToSign"].startswith("AWS4-HMAC-SHA256-TRAILER\n")


def test_signed_chunks_need_a_secret():
    request = Request(chain([b"x"]), {"x-amz-decoded-content-length": "1"}, SIGNED)
    request.identity.secret = None
    with pytest.raises(S3Error) as caught:
        Body(request)
    assert caught.value.code == "NotImplemented"


@pytest.mark.parametrize(("limit", "good"), [(len(DATA), True), (len(DATA) - 1, False)])
@pytest.mark.parametrize("length", [True, False])
def test_security_x7_documents_are_whole_or_refused(limit, good, length):
    """X7: a document over the limit, with or without a length, is refused; no part is used."""
    body = Body(Request(DATA, {}, length=length))
    if good:
        assert body.document(limit) == DATA
    else:
        with pytest.raises(S3Error) as caught:
            body.document(limit)
        assert caught.value.code == "MalformedXML"


def test_without_coding():
    assert without_coding("aws-chunked") is None
    assert without_coding("gzip, AWS-chunked") == "gzip"
