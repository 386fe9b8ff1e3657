# SPDX-License-Identifier: Apache-2.0
"""What clients need to reach the stack: openrc lines, a clouds.yaml, AWS variables."""
import json
import shlex

from .identity import Identity
from .layout import REGION, Cloud
from .progress import StackError
from .swift_config import TEMPAUTH_USER


def _exports(values: dict[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def account(cloud: Cloud, user: str) -> dict[str, str]:
    """The OS_* variables of a user of the stack, or ST_* ones when there is only tempauth."""
    if not cloud.has("keystone"):
        return {"ST_AUTH": cloud.url("object-store", "/auth/v1.0"), "ST_USER": TEMPAUTH_USER,
                "ST_KEY": cloud.secret("tempauth_tester")}
    return {"OS_AUTH_URL": cloud.url("identity", "/v3"), "OS_IDENTITY_API_VERSION": "3",
            "OS_AUTH_TYPE": "password", "OS_USERNAME": user, "OS_PASSWORD": cloud.secret(user),
            "OS_PROJECT_NAME": user, "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default", "OS_REGION_NAME": REGION,
            "OS_INTERFACE": "public"}


def clouds_yaml(cloud: Cloud) -> str:
    """A clouds.yaml with both users; JSON is YAML, and needs no quoting rules of its own."""
    if not cloud.has("keystone"):
        raise StackError("clouds.yaml needs Keystone, which this stack does not have")
    clouds = {f"snakestack-{user}" if user != "demo" else "snakestack": {
        "auth": {"auth_url": cloud.url("identity", "/v3"), "username": user,
                 "password": cloud.secret(user), "project_name": user,
                 "user_domain_id": "default", "project_domain_id": "default"},
        "region_name": REGION, "identity_api_version": 3, "interface": "public",
    } for user in ("demo", "admin")}
    return json.dumps({"clouds": clouds}, indent=2)


def aws(cloud: Cloud, user: str) -> str:
    """Keys of Keystone's EC2 kind, or tempauth's, and where EC2 and S3 are."""
    if cloud.has("keystone"):
        access, secret = Identity(cloud).ec2_keys(user, user)
    elif cloud.has("swift"):
        access, secret = TEMPAUTH_USER, cloud.secret("tempauth_tester")
    else:
        raise StackError("AWS keys need Keystone or object storage, which this stack has not")
    values = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret,
              "AWS_DEFAULT_REGION": REGION}
    if cloud.has("nova"):
        values["AWS_ENDPOINT_URL_EC2"] = cloud.url("ec2", "/services/Cloud")
    if cloud.has("swift"):
        values["AWS_ENDPOINT_URL_S3"] = cloud.url("object-store")
    return _exports(values)


def render(cloud: Cloud, kind: str, user: str) -> str:
    """The text of `tools/stack env KIND`, for `eval` or for a file.

    :raises StackError: this stack has nothing of that kind
    """
    if kind == "clouds":
        return clouds_yaml(cloud)
    if kind == "aws":
        return aws(cloud, user)
    return _exports(account(cloud, user))


def hint(cloud: Cloud) -> list[str]:
    """How to go on after `up`."""
    client = "openstack server list" if cloud.has("nova") else "swift stat"
    return [f'clients:  eval "$({cloud.checkout}/tools/stack env --data {cloud.data})"; {client}',
            f"          (clients are in {cloud.checkout}/.venv/bin)"]
