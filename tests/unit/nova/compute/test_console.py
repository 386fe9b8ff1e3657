# SPDX-License-Identifier: Apache-2.0
"""Q7: whatever a guest writes, its console is text of bounded size."""

import json
import os

from lxml import etree

from nova.compute.console import MAX_BYTES, text_of


def test_lines():
    assert text_of(b"a\nb\nc\n") == "a\nb\nc\n"
    assert text_of(b"a\nb\nc\n", 2) == "b\nc"
    assert text_of(b"a\nb", 10) == "a\nb"
    assert text_of(b"a\nb", 0) == ""
    assert text_of(b"", 5) == ""


def test_ten_megabytes_of_anything():
    """Q7: binary, invalid UTF-8, megabytes of it."""
    text = text_of(os.urandom(10 << 20))
    assert len(text) <= MAX_BYTES
    assert json.loads(json.dumps(text)) == text
    assert "\x00" not in text


def test_escape_sequences_stay():
    assert text_of(b"\x1b[1mbold\x1b[0m\x07\x08\x00\r\n") == "\x1b[1mbold\x1b[0m\r\n"


def test_cut_in_the_middle_of_a_character():
    assert text_of("é".encode()[1:]) == "\ufffd"
    etree.tostring(etree.fromstring(f"<x>{text_of(b'plain')}</x>"))
