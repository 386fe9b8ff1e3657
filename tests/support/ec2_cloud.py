# SPDX-License-Identifier: Apache-2.0
"""What tests of the EC2 API say again and again."""

import contextlib

import pytest
from botocore.exceptions import ClientError

FAST = {"Delay": 0.02, "MaxAttempts": 6000}      # asking without a pause starves who works


@contextlib.contextmanager
def refused(code):
    """Expect a refusal with this code of AWS's."""
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == code, caught.value
    assert caught.value.response["ResponseMetadata"]["RequestId"].startswith("req-")


def image_id(ec2):
    return next(one["ImageId"] for one in ec2.describe_images()["Images"]
                if one["Name"] == "tiny")


def run(ec2, **more):
    """Run one instance, wait for it and return its id."""
    made = ec2.run_instances(ImageId=image_id(ec2), MinCount=1, MaxCount=1,
                             InstanceType="m1.tiny", **more)
    one = made["Instances"][0]["InstanceId"]
    waiter(ec2, "instance_running").wait(InstanceIds=[one], WaiterConfig=FAST)
    return one


def waiter(ec2, name):
    return ec2.get_waiter(name)


def one_of(ec2, instance_id):
    return ec2.describe_instances(
        InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
