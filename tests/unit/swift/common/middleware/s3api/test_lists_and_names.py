# SPDX-License-Identifier: Apache-2.0
"""Access lists, XML, names."""
import time

import pytest
from lxml import etree

from swift.common.middleware.s3api import acl, names
from swift.common.middleware.s3api.errors import CODES, S3Error
from swift.common.middleware.s3api.xmlio import document, element, parse

CANARY = "file:///etc/hostname"
XML = '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>{}</Key></Object></Delete>'
ATTACKS = {
    "laughs": "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
        f"<!ENTITY {b} '{('&' + a + ';') * 10}'>" for a, b in zip("abcdefghi", "bcdefghij",
                                                                   strict=True)) + "]>"
              + XML.format("&j;"),
    "quadratic": f"<!DOCTYPE x [<!ENTITY a '{'a' * 50000}'>]>" + XML.format("&a;" * 5000),
    "external": f"<!DOCTYPE x [<!ENTITY a SYSTEM '{CANARY}'>]>" + XML.format("&a;"),
    "dtd": "<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/x.dtd'>" + XML.format("k"),
    "parameter": f"<!DOCTYPE x [<!ENTITY % p SYSTEM '{CANARY}'> %p;]>" + XML.format("k"),
    "deep": "<Delete>" * 5000 + "</Delete>" * 5000,
    "undefined": XML.format("&nothing;"),
}


@pytest.mark.parametrize(("name", "without_external"), [
    *((name, False) for name in ATTACKS),
    *((name, True) for name in ATTACKS if name != "external")])
@pytest.mark.parametrize("coding", ["utf-8", "utf-16"])
def test_security_x1_x3_entities(name, coding, without_external):
    """X1, X3: entities, document types, external or not, in any coding: 400, at once."""
    began = time.process_time()
    with pytest.raises(S3Error) as caught:
        parse(ATTACKS[name].encode(coding), "Delete", without_external=without_external)
    assert caught.value.status == 400 and time.process_time() - began < 2
    assert "hostname" not in caught.value.message


def test_security_x1_an_external_entity_taken_out():
    """X1: where it is not refused, nothing stands for it; the text around it stays."""
    root = parse(ATTACKS["external"].replace("&a;", "before&a;after").encode(), "Delete",
                 without_external=True)
    assert root.find("Object/Key").text == "beforeafter"


def test_security_x1_xinclude_is_text():
    """X1: XInclude is not carried out."""
    root = parse(b'<Delete xmlns:xi="http://www.w3.org/2001/XInclude"><Object><Key>'
                 b'<xi:include href="file:///etc/hostname" parse="text"/></Key></Object></Delete>',
                 "Delete")
    assert not root.find("Object/Key").text


@pytest.mark.parametrize("body", [b"", b"x", b"<a", b"<a/><b/>", b"\xff\xfe", b"<a>\0</a>",
                                  b"<b/>", "<é/>".encode("latin-1")])
def test_what_is_no_document(body):
    with pytest.raises(S3Error) as caught:
        parse(body, "a")
    assert caught.value.code in ("MalformedXML", "MissingRequestBodyError")


@pytest.mark.parametrize("name", ["<&>\"'", "a\x01b", "]]>", "\ud800", "é\u2028😀"])
def test_security_x4_any_text_is_well_formed(name):
    """X4: names with anything in them make well-formed XML."""
    etree.fromstring(document(element("Key", name), namespace=True))


def test_every_error_has_a_client_status():
    assert all(400 <= status < 500 or status in (501, 503) for status, _ in CODES.values())


@pytest.mark.parametrize(("name", "good"), [
    ("abc", True), ("a.b-c", True), ("1" * 63, True), ("ab", False), ("a" * 64, False),
    ("Abc", False), ("a_b", False), ("a..b", False), ("-ab", False), ("ab-", False),
    ("1.2.3.4", False), ("a/b", False), ("a+segments", False), ("bücher", False)])
def test_bucket_names(name, good):
    assert names.valid_bucket(name) is good
    assert names.valid_bucket("Under_score", dns_compliant=False)


def test_metadata_names_round_trip():
    assert names.meta_to_swift("foo_bar") == "X-Object-Meta-foo=5Fbar"
    assert names.meta_from_swift("foo=5fbar") == "x-amz-meta-foo_bar"


def test_times_are_rounded_up_like_last_modified():
    assert names.iso_seconds("2026-11-28T17:30:56.39474") == "2026-11-28T17:30:57.000Z"
    assert names.iso_seconds("2026-11-28T17:30:56.00000") == "2026-11-28T17:30:56.000Z"
    assert names.iso_seconds("2026-12-31T23:59:59.5") == "2027-01-01T00:00:00.000Z"


def test_lists_are_stored_as_swift_does_and_read_back():
    made = acl.canned("public-read", "a:b")
    assert made.stored() == ('{"Owner":"a:b","Grant":[{"Permission":"READ","Grantee":"AllUsers"},'
                             '{"Permission":"FULL_CONTROL","Grantee":"a:b"}]}')
    again = acl.load(made.stored())
    assert (again.owner, again.grants) == (made.owner, made.grants)
    assert acl.from_xml(document(made.xml(), namespace=True)).grants == made.grants
    for broken in ("x", "{}", '{"Owner":"x","Grant":[1]}', "[]"):
        with pytest.raises(S3Error):
            acl.load(broken)


@pytest.mark.parametrize(("name", "reads", "writes"), [
    ("private", False, False), ("public-read", True, False), ("public-read-write", True, True),
    ("authenticated-read", True, False), ("bucket-owner-full-control", False, False)])
def test_what_canned_lists_allow(name, reads, writes):
    made = acl.canned(name, "owner", "boss")
    assert made.allows("other", "READ") is reads and made.allows("other", "WRITE") is writes
    assert made.allows("owner", "WRITE") and made.allows("owner", "OWNER")
    assert not made.allows("other", "OWNER") and not made.allows("other", "WRITE_ACP")
    if name.startswith("bucket-owner"):
        assert made.allows("boss", "WRITE") and not made.allows("boss", "OWNER")


@pytest.mark.parametrize("headers", [
    {"x-amz-acl": "nonsense"}, {"x-amz-grant-read": "x"}, {"x-amz-grant-read": "id="},
    {"x-amz-grant-read": "uri=http://example.com"}, {"x-amz-grant-read": "emailAddress=a@b.c"},
    {"x-amz-grant-read": "id=x", "x-amz-acl": "private"},
    {"x-amz-grant-read": ",".join(f"id=u{i}" for i in range(101))}])
def test_headers_that_are_no_list(headers):
    with pytest.raises(S3Error):
        acl.from_headers(headers, "o")


def test_grants_by_header():
    made = acl.from_headers({"x-amz-grant-read": 'id="a:b", uri=' + acl.GROUPS["AllUsers"],
                             "x-amz-grant-write-acp": "id=c"}, "o")
    assert sorted(made.grants) == [("READ", "AllUsers"), ("READ", "a:b"), ("WRITE_ACP", "c")]
