# SPDX-License-Identifier: Apache-2.0
"""boto3 as it is, with nothing but what `tools/stack env aws` prints, against a real guest."""
import json
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).with_name("ec2_life.py")
OBJECTS = '''
import boto3, io, os
s3 = boto3.client("s3")
s3.create_bucket(Bucket="by-boto3")
s3.put_object(Bucket="by-boto3", Key="a/b c", Body=b"content", Metadata={"colour": "green"})
got = s3.get_object(Bucket="by-boto3", Key="a/b c")
assert got["Body"].read() == b"content" and got["Metadata"] == {"colour": "green"}
large = os.urandom(9 << 20)
s3.upload_fileobj(io.BytesIO(large), "by-boto3", "large")
back = io.BytesIO()
s3.download_fileobj("by-boto3", "large", back)
assert back.getvalue() == large
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="by-boto3")
assert [one["Key"] for page in pages for one in page["Contents"]] == ["a/b c", "large"]
s3.delete_objects(Bucket="by-boto3", Delete={"Objects": [{"Key": "a/b c"}, {"Key": "large"}]})
s3.delete_bucket(Bucket="by-boto3")
print("ok")
'''

RIGHTS = '''
import boto3, botocore.config, itertools, openstack
from botocore.exceptions import ClientError

cloud = openstack.connect(cloud="envvars")
identity, number = cloud.identity, itertools.count()
project = identity.create_project(name="e3", domain_id="default")
user = identity.create_user(name="e3", domain_id="default", password="as long as it takes")
member = identity.find_role("member")
identity.assign_project_role_to_user(project, user, member)
key = identity.post(f"/users/{user.id}/credentials/OS-EC2",
                    json={"tenant_id": project.id}).json()["credential"]
ec2 = boto3.client(
    "ec2", region_name="RegionOne", aws_access_key_id=key["access"],
    aws_secret_access_key=key["secret"],
    endpoint_url=cloud.session.get_endpoint(service_type="ec2", interface="public"),
    config=botocore.config.Config(retries={"total_max_attempts": 1}))

def code():
    """What a request that was never made before is answered."""
    try:
        ec2.describe_tags(Filters=[{"Name": "key", "Values": [str(next(number))]}])
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"

found = [code()]
for away, back in (
        (lambda: identity.update_user(user, is_enabled=False),
         lambda: identity.update_user(user, is_enabled=True)),
        (lambda: identity.update_project(project, is_enabled=False),
         lambda: identity.update_project(project, is_enabled=True)),
        (lambda: identity.unassign_project_role_from_user(project, user, member),
         lambda: identity.assign_project_role_to_user(project, user, member))):
    away()
    found.append(code())
    back()
    found.append(code())
identity.delete(f"/users/{user.id}/credentials/OS-EC2/{key['access']}")
found.append(code())
identity.delete_user(user)
identity.delete_project(project)
print(*found)
'''


def aws(stack, *command):
    """Run a Python program with the variables of `env aws`."""
    lines = stack.command("env", "aws").stdout.splitlines()
    values = dict(line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
    return stack.client("env", *(f"{name}={value.strip(chr(39))}"
                                 for name, value in values.items()), sys.executable, *command)


def test_ec2_from_key_pair_to_a_volume_in_a_guest(stack, tmp_path):
    """Every waiter on the way; the guest is logged into and sees its disk come and go."""
    made = json.loads(aws(stack, str(SCRIPT), "begin").stdout)
    key = tmp_path / "key"
    key.write_text(made["key"])
    key.chmod(0o600)
    # the guest names disks in the order it meets them, whatever it was asked for
    sizes = stack.wait_ssh(key, made["address"], "cat /sys/block/vd[b-z]/size")
    assert str(1 << 21) in sizes.split()
    aws(stack, str(SCRIPT), "end", json.dumps(made))
    assert len(stack.host.qemu_pids()) == 1


def test_s3_with_keystones_keys(stack):
    assert aws(stack, "-c", OBJECTS).stdout.split() == ["ok"]


def test_security_e3_what_keystone_takes_away_is_gone_at_once(stack):
    """E3: a user, project, role or key that is no more, each in turn; the cache holds none up."""
    said = stack.client(sys.executable, "-W", "ignore", "-c", RIGHTS, user="admin").stdout
    assert said.split() == ["ok", *["AuthFailure", "ok"] * 3, "AuthFailure"]
