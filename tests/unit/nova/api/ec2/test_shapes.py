# SPDX-License-Identifier: Apache-2.0
"""Parameters in, XML out, by botocore's shapes."""

import datetime
import gc
from xml.etree import ElementTree

import botocore.loaders
import botocore.model
import pytest
from botocore.parsers import EC2QueryParser
from botocore.serialize import EC2Serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from nova.api.ec2 import answer, app, listing, model, params  # noqa: F401  (fills the table)
from nova.api.ec2.actions import TABLE
from nova.api.ec2.errors import Ec2Error

NEWEST = model.versions()[-1]


@pytest.fixture(scope="module")
def newest():
    return model.load(NEWEST, TABLE)


def test_every_built_action_is_one_of_awss(newest):
    for name, action in TABLE.items():
        shape = newest.operation(name).input_shape
        assert action.takes <= set(shape.members), name


def test_every_version_can_be_read():
    for version in model.versions():
        read = model.load(version, TABLE)
        assert read.operation("RunInstances").input_shape.members["MaxCount"]
    assert "CreateVolume" in read.names


def test_parses_what_botocore_writes(newest):
    operation = newest.operation("RunInstances")
    wanted = {
        "ImageId": "ami-1", "MinCount": 1, "MaxCount": 12, "DryRun": True,
        "SecurityGroupIds": [f"sg-{n}" for n in range(12)], "Placement": {
            "AvailabilityZone": "nova"}, "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b c&d"}]}]}
    written = EC2Serializer().serialize_to_request(wanted, operation)["body"]
    sent = {key: str(value) for key, value in written.items() if key not in ("Action", "Version")}
    assert params.parse(sent, operation.input_shape) == wanted


@pytest.mark.parametrize("sent,code", [
    ({"Nonsense": "1"}, "UnknownParameter"), ({"MinCount.1": "1"}, "UnknownParameter"),
    ({"MinCount": "x"}, "InvalidParameterValue"), ({"MinCount": "1"}, "MissingParameter"),
    ({"MinCount": "9" * 12}, "InvalidParameterValue"), ({"DryRun": "0"}, "InvalidParameterValue"),
    ({"Placement": "x"}, "InvalidParameterValue"), ({"Placement.No": "x"}, "UnknownParameter"),
    ({"SecurityGroupId.x": "1"}, "UnknownParameter"), ({"a..b": "1"}, "UnknownParameter"),
    ({"KeyName": "\x00"}, "InvalidParameterValue"),
    ({"KeyName": "a", "KeyName.b": "c"}, "UnknownParameter"),
    ({f"p{n}": "" for n in range(3000)}, "InvalidRequest"),
])
def test_refuses_what_does_not_fit(newest, sent, code):
    with pytest.raises(Ec2Error) as caught:
        params.parse(sent, newest.operation("RunInstances").input_shape)
    assert caught.value.code == code


NAMES = st.one_of(st.sampled_from([
    "Filter", "Filter.1.Name", "Filter.1.Value.1", "Filter.0.Value", "InstanceId.1", "MaxResults",
    "Tag.1.Key", "ResourceId.1", "IpPermissions.1.FromPort", "PublicKeyMaterial", "MinCount",
    "GroupName", "DryRun"]), st.text(max_size=12), st.from_regex(r"[A-Z][a-z.]{0,9}\.[0-9]{1,3}"))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(TABLE)), st.dictionaries(NAMES, st.text(max_size=12), max_size=6))
def test_no_parameters_break_the_parser(name, sent):
    operation = model.load(NEWEST, TABLE).operation(name)
    try:
        params.parse(sent, operation.input_shape)
    except Ec2Error as error:
        document = answer.render_error(error.code, str(error), "req-1")
        assert ElementTree.fromstring(document).findtext(".//Code") == error.code


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40))
def test_security_any_text_makes_well_formed_xml(text):
    """X4: names with markup or control characters."""
    operation = model.load(NEWEST, TABLE).operation("DescribeInstances")
    document = answer.render(operation, NEWEST, "req-1", {"Reservations": [
        {"OwnerId": text, "Instances": [{"KeyName": text, "Tags": [
            {"Key": text, "Value": text}]}]}]})
    found = ElementTree.fromstring(document)
    space = f"{{http://ec2.amazonaws.com/doc/{NEWEST}/}}"
    shown = found.findtext(f".//{space}keyName") or ""
    if all(one >= " " and one.isprintable() for one in text):
        assert shown == text


def test_botocore_reads_what_is_written(newest):
    operation = newest.operation("DescribeInstances")
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
    wanted = {"Reservations": [{"ReservationId": "r-1", "Groups": [], "Instances": [
        {"InstanceId": "i-1", "AmiLaunchIndex": 3, "LaunchTime": moment, "EbsOptimized": False,
         "State": {"Code": 16, "Name": "running"}, "Tags": [{"Key": "a", "Value": " <b> "}]}]}],
        "NextToken": "x"}
    document = answer.render(operation, NEWEST, "req-1", wanted, strict=True)
    whole = botocore.model.ServiceModel(
        botocore.loaders.Loader().load_service_model("ec2", "service-2"), "ec2")
    read = EC2QueryParser().parse({"status_code": 200, "headers": {}, "body": document},
                                  whole.operation_model("DescribeInstances").output_shape)
    assert read.pop("ResponseMetadata")["RequestId"] == "req-1"
    assert read == wanted
    with pytest.raises(KeyError):
        answer.render(operation, NEWEST, "req-1", {"No": 1}, strict=True)
    answer.render(operation, NEWEST, "req-1", {"No": 1})


def test_the_model_in_memory_is_small():
    """What is kept of 4 MB of JSON: counted in objects reachable from it."""
    kept = model.Model(NEWEST, TABLE)
    shapes = kept._service._service_description["shapes"]
    assert 50 < len(shapes) < 700, len(shapes)
    assert not any("documentation" in shape for shape in shapes.values())
    gc.collect()


@pytest.mark.parametrize("text,pattern,fits", [
    ("web-1", "web-*", True), ("web-1", "web-?", True), ("web-12", "web-?", False),
    ("", "*", True), ("a.c", "a.c", True), ("abc", "a.c", False), ("[a]", "[a]", True),
    ("x" * 5000, "*a" * 100, False), ("aXbXc", "a*b*c", True), ("ab", "abc", False)])
def test_patterns(text, pattern, fits):
    assert listing.fits(text, pattern) is fits
