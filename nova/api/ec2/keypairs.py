# SPDX-License-Identifier: Apache-2.0
"""Key pairs: Create-, Import-, Describe- and DeleteKeyPair."""

import re
from typing import Any

from sqlalchemy.orm import Session

from nova import exception, quota
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, invalid, unsupported
from nova.api.ec2.tagging import tags_for
from nova.api.openstack.compute.keypairs import fingerprint_of, generate
from nova.db import keypairs
from nova.db.models import KeyPair

_NAME = re.compile(r"(?! )[a-zA-Z0-9 @._-]{1,255}(?<! )\Z")


def _add(call: Call, public: str) -> KeyPair:
    name, user_id = call.params["KeyName"], call.context.user_id or ""
    if not _NAME.match(name):
        raise invalid("KeyName", name, "Letters, digits, spaces and @._- are taken.")
    try:
        fingerprint = fingerprint_of(public)
    except (exception.BadRequest, UnicodeError):
        raise Ec2Error("InvalidKey.Format", "Key is not in valid OpenSSH public key format") \
            from None
    limit = quota.limits(call.project_id)["key_pairs"]

    def guard(session: Session) -> None:
        quota.lock_project(session, call.project_id)
        quota.check_count("key_pairs", keypairs.count(session, user_id) + 1, limit)
    try:
        return keypairs.create(user_id, name, fingerprint, public, guard=guard,
                               tags=tags_for(call.params, "key-pair"))
    except exception.AlreadyExists:
        raise Ec2Error("InvalidKeyPair.Duplicate",
                       f"The keypair '{name}' already exists.") from None


def key_id(number: int) -> str:
    """Return a key pair's EC2 id, which follows from its row's number."""
    return f"key-{number:017x}"


@action("CreateKeyPair", policy="compute:keypairs:create", takes=(
    "KeyName", "KeyType", "KeyFormat", "TagSpecifications"))
def create_key_pair(call: Call) -> dict[str, Any]:
    if call.params.get("KeyType", "rsa") != "rsa" or call.params.get("KeyFormat", "pem") != "pem":
        raise unsupported("A key that is not RSA in PEM")
    private, public = generate()
    key = _add(call, public)
    return {"KeyName": key.name, "KeyFingerprint": key.fingerprint, "KeyMaterial": private,
            "KeyPairId": key_id(key.id), "Tags": listing.tag_list(key.tags or {})}


@action("ImportKeyPair", policy="compute:keypairs:create", takes=(
    "KeyName", "PublicKeyMaterial", "TagSpecifications"))
def import_key_pair(call: Call) -> dict[str, Any]:
    raw = call.params["PublicKeyMaterial"]
    try:
        key = _add(call, raw.decode("utf-8").strip())
    except UnicodeDecodeError:
        raise Ec2Error("InvalidKey.Format", "Key is not in valid OpenSSH public key format") \
            from None
    return {"KeyName": key.name, "KeyFingerprint": key.fingerprint, "KeyPairId": key_id(key.id),
            "Tags": listing.tag_list(key.tags or {})}


def _own(call: Call) -> list[KeyPair]:
    return keypairs.get_all(call.context.user_id or "")


@action("DescribeKeyPairs", policy="compute:keypairs:list", takes=(
    "KeyNames", "KeyPairIds", "Filters", "IncludePublicKey"))
def describe_key_pairs(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "key-name": lambda key: key.name, "fingerprint": lambda key: key.fingerprint,
        "key-pair-id": lambda key: key_id(key.id), "tags": lambda key: key.tags or {}})
    found = _own(call)
    for wanted, of in ((call.params.get("KeyNames"), lambda key: key.name),
                       (call.params.get("KeyPairIds"), lambda key: key_id(key.id))):
        if wanted:
            known = {of(key) for key in found}
            if missing := [one for one in wanted if one not in known]:
                raise Ec2Error("InvalidKeyPair.NotFound", f"The key pair {ascii(missing[0][:255])}"
                                                          " does not exist")
            found = [key for key in found if of(key) in wanted]
    whole = call.params.get("IncludePublicKey")
    return {"KeyPairs": [{
        "KeyName": key.name, "KeyFingerprint": key.fingerprint, "KeyPairId": key_id(key.id),
        "KeyType": "ed25519" if key.public_key.startswith("ssh-ed25519") else "rsa",
        "CreateTime": key.created_at, "Tags": listing.tag_list(key.tags or {}),
        "PublicKey": key.public_key if whole else None} for key in found if filters.met(key)]}


@action("DeleteKeyPair", policy="compute:keypairs:delete", takes=("KeyName", "KeyPairId"))
def delete_key_pair(call: Call) -> dict[str, Any]:
    name, wanted = call.params.get("KeyName"), call.params.get("KeyPairId")
    if not name and not wanted:
        raise Ec2Error("MissingParameter", "The request must contain the parameter KeyName")
    for key in _own(call):
        if (not name or key.name == name) and (not wanted or key_id(key.id) == wanted):
            try:
                keypairs.remove(key.user_id, key.name)
            except exception.KeyPairNotFound:   # somebody else was faster
                pass
            return {"Return": True, "KeyPairId": key_id(key.id)}
    return {"Return": True}     # one there is not is no error
