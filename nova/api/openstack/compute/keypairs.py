# SPDX-License-Identifier: Apache-2.0
"""Key pairs: public keys a server lets in.  A private key is made here once and never kept."""

import base64
import binascii
import hashlib
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.orm import Session

from nova import exception, quota
from nova.api.openstack import paging
from nova.api.openstack.compute.links import micros
from nova.api.openstack.validation import Schema, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import keypairs
from nova.db.models import KeyPair

KEY_SIZE = 2048
CREATE = Schema(obj({"keypair": obj({
    "name": string(255, 1, pattern=r"^(?! )[a-zA-Z0-9 @._-]+(?<! )\Z"),
    "public_key": string(65535)}, ("name",))}, ("keypair",)))


def fingerprint_of(public_key: str) -> str:
    """Return the MD5 fingerprint of an OpenSSH public key; BadRequest when it is none."""
    try:
        serialization.load_ssh_public_key(public_key.strip().encode("utf-8"))
        raw = base64.b64decode(public_key.split()[1], validate=True)
    except (ValueError, IndexError, binascii.Error, UnsupportedAlgorithm):
        raise exception.BadRequest(
            "keypair.public_key: not a public key in OpenSSH's format.") from None
    digest = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    return ":".join(digest[start:start + 2] for start in range(0, 32, 2))


def generate() -> tuple[str, str]:
    """Return a new (private key in PEM, public key in OpenSSH's format)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption())
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode("ascii"), public.decode("ascii") + " Generated-by-Nova"


def _basic(key: KeyPair) -> dict[str, Any]:
    return {"name": key.name, "public_key": key.public_key, "fingerprint": key.fingerprint}


class KeyPairs(Resource):
    """``/os-keypairs``"""

    @route("GET", "/os-keypairs", policy="compute:keypairs:list")
    def index(self, req: Request) -> dict[str, Any]:
        limit = paging.limit_of(req)
        found = keypairs.get_all(req.user_id, marker=paging.marker_of(req), limit=limit)
        return {"keypairs": [{"keypair": _basic(key)} for key in found]}

    @route("GET", "/os-keypairs/{name}", policy="compute:keypairs:show")
    def show(self, req: Request, name: str) -> dict[str, Any]:
        key = keypairs.get(req.user_id, name)
        return {"keypair": {
            **_basic(key), "user_id": key.user_id, "id": key.id, "deleted": False,
            "created_at": micros(key.created_at), "updated_at": micros(key.updated_at),
            "deleted_at": None}}

    @route("POST", "/os-keypairs", body=CREATE, policy="compute:keypairs:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["keypair"]
        private, public = (None, wanted["public_key"].strip()) if "public_key" in wanted \
            else generate()
        fingerprint = fingerprint_of(public)
        user_id = req.user_id
        limit = quota.limits(req.project_id)["key_pairs"]

        def guard(session: Session) -> None:
            quota.lock_project(session, req.project_id)
            quota.check_count("key_pairs", keypairs.count(session, user_id) + 1, limit)
        key = keypairs.create(user_id, wanted["name"], fingerprint, public, guard=guard)
        answer = {**_basic(key), "user_id": user_id}
        if private is not None:
            answer["private_key"] = private
        return {"keypair": answer}

    @route("DELETE", "/os-keypairs/{name}", status=202, policy="compute:keypairs:delete")
    def delete(self, req: Request, name: str) -> None:
        keypairs.remove(req.user_id, name)
