# SPDX-License-Identifier: Apache-2.0
"""Answers of the EC2 API, held against botocore's own shapes of them.

    watch(client)       # from then on an answer that does not fit is an AssertionError

botocore's parser passes over what it does not know and takes a missing element for nothing; this
does neither.
"""

import datetime
import re
import xml.etree.ElementTree as ElementTree

# Words of AWS's catalog, where this cloud has its operator's.
OWN_WORDS = {"InstanceType", "VolumeType"}
_SCALARS = {"integer": re.compile(r"-?[0-9]+\Z"), "long": re.compile(r"-?[0-9]+\Z"),
            "double": re.compile(r"-?[0-9.]+\Z"), "boolean": re.compile(r"(true|false)\Z"),
            "blob": re.compile(r"[A-Za-z0-9+/=]*\Z")}


def watch(client):
    """Check every answer to a client from now on."""
    def received(response_dict, **_kwargs):
        if response_dict["status_code"] == 200:
            check(client.meta.service_model, response_dict["body"])
    client.meta.events.register("response-received.ec2", received)
    return client


def check(service, body):
    """Compare the text of an answer with what its operation answers."""
    root = ElementTree.fromstring(body)
    name = _local(root.tag)
    assert name.endswith("Response"), name
    shape = service.operation_model(name.removesuffix("Response")).output_shape
    children = [child for child in root if _local(child.tag) != "requestId"]
    assert len(children) == len(root) - 1, f"{name} has no request id"
    if shape is None:
        assert [_local(child.tag) for child in children] == ["return"], name
        return
    _structure(children, shape, name)


def _local(tag):
    return tag.rpartition("}")[2]


def _structure(children, shape, where):
    known = {member.serialization.get("name", name): (name, member)
             for name, member in shape.members.items()}
    seen = set()
    for child in children:
        tag = _local(child.tag)
        assert tag in known, f"{where}: {shape.name} has no {tag}"
        name, member = known[tag]
        flat = member.type_name == "list" and member.serialization.get("flattened")
        assert flat or tag not in seen, f"{where}: {tag} is there twice"
        seen.add(tag)
        _value(child, member, f"{where}.{name}")


def _value(element, shape, where):
    if shape.type_name == "structure":
        _structure(element, shape, where)
    elif shape.type_name == "list":
        wanted = shape.member.serialization.get("name", "item")
        for one in element:
            assert _local(one.tag) == wanted, f"{where}: {one.tag} is no {wanted}"
            _value(one, shape.member, f"{where}[]")
    else:
        assert len(element) == 0, f"{where} has elements in it"
        _scalar(element.text or "", shape, where)


def _scalar(text, shape, where):
    if shape.type_name == "timestamp":
        datetime.datetime.fromisoformat(text)
    elif pattern := _SCALARS.get(shape.type_name):
        assert pattern.match(text), f"{where}: {text!r} is no {shape.type_name}"
    words = getattr(shape, "enum", None)
    if words and shape.name not in OWN_WORDS:
        assert text in words, f"{where}: {text!r} is none of {shape.name}'s words"
