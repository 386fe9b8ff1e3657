# SPDX-License-Identifier: Apache-2.0
"""JSON patches as changes of an image."""

import pytest

from glance import exceptions
from glance.api.v2 import patch

IMAGE = {"properties": {"a": "1", "b": "2"}}


def parse(*operations, media_type=patch.V21):
    return patch.parse(list(operations), media_type)


@pytest.mark.parametrize("pointer, name", [
    ("/name", "name"), ("/a~1b", "a/b"), ("/a~0b", "a~b"), ("/a~01b", "a~1b"), ("/æ", "æ")])
def test_pointers(pointer, name):
    assert parse({"op": "remove", "path": pointer}) == [("remove", name, None)]


@pytest.mark.parametrize("pointer", [
    "", "name", "/", "/a/b", "/a~2", "/a~", 5, None, ["/a"], "/" + "x" * 256])
def test_bad_pointers(pointer):
    with pytest.raises(exceptions.Invalid):
        parse({"op": "remove", "path": pointer})


def test_operations_apply_in_order():
    changes = parse({"op": "add", "path": "/c", "value": "3"},
                    {"op": "replace", "path": "/c", "value": "4"},
                    {"op": "remove", "path": "/a"},
                    {"op": "add", "path": "/a", "value": "5"})
    assert patch.apply(IMAGE, changes) == {"properties": {"a": "5", "b": "2", "c": "4"}}


def test_the_image_given_is_not_changed():
    patch.apply(IMAGE, parse({"op": "remove", "path": "/a"}))
    assert IMAGE == {"properties": {"a": "1", "b": "2"}}


def test_nothing_to_do():
    assert patch.apply(IMAGE, []) == {}
    assert patch.apply(IMAGE, parse({"op": "add", "path": "/a", "value": "1"})) == {}


def test_too_many_operations():
    with pytest.raises(exceptions.LimitExceeded):
        parse(*[{"op": "remove", "path": "/a"}] * 1001)


def test_older_media_type():
    changes = parse({"replace": "/a", "value": "9"}, {"remove": "/b"}, media_type=patch.V20)
    assert patch.apply(IMAGE, changes) == {"properties": {"a": "9"}}
    for wrong in ({"op": "remove", "path": "/a"}, {"add": "/a", "remove": "/b", "value": ""}):
        with pytest.raises(exceptions.Invalid):
            parse(wrong, media_type=patch.V20)
