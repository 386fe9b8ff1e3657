# SPDX-License-Identifier: Apache-2.0
"""Where things live: names to hashes to partitions to directories.

Every path below a device is `<type>/<partition>/<last three of the hash>/<hash>`; the hash is the
md5 of the cluster's secret prefix, the path and the cluster's secret suffix.
"""
from __future__ import annotations

import os
from hashlib import md5

from swift.common.conf import SWIFT_CONF, read_swift_conf
from swift.common.exceptions import ConfigError

_secrets: tuple[bytes, bytes] | None = None


def set_hash_secrets(prefix: bytes, suffix: bytes) -> None:
    """Use these instead of swift.conf's (tools and tests)."""
    global _secrets
    _secrets = (prefix, suffix)


def hash_secrets() -> tuple[bytes, bytes]:
    """(prefix, suffix) of the cluster, read once from swift.conf; ConfigError if it has neither."""
    global _secrets
    if _secrets is None:
        section = read_swift_conf().get("swift-hash", {})
        prefix = section.get("swift_hash_path_prefix", "").encode()
        suffix = section.get("swift_hash_path_suffix", "").encode()
        if not prefix and not suffix:
            raise ConfigError(
                f"{os.environ.get('SWIFT_CONF', SWIFT_CONF)}: [swift-hash] swift_hash_path_suffix"
                " and swift_hash_path_prefix are both missing")
        _secrets = (prefix, suffix)
    return _secrets


def validate_configuration() -> None:
    """Fail early, with ConfigError, when swift.conf cannot serve."""
    hash_secrets()


def hash_bytes(account: str, container: str | None = None, obj: str | None = None) -> bytes:
    """The 16 bytes that decide where an account, a container or an object lives."""
    if obj and not container:
        raise ValueError("container is required if object is provided")
    prefix, suffix = hash_secrets()
    path = "/" + account
    if container:
        path += "/" + container
        if obj:
            path += "/" + obj
    return md5(prefix + path.encode("utf-8", "surrogateescape") + suffix,
               usedforsecurity=False).digest()


def hash_path(account: str, container: str | None = None, obj: str | None = None) -> str:
    """`hash_bytes` in 32 hexadecimal digits: the name of the directory."""
    return hash_bytes(account, container, obj).hex()


def storage_directory(datadir: str, partition: str | int, name_hash: str) -> str:
    """`<datadir>/<partition>/<suffix>/<hash>`, relative to the device."""
    return f"{datadir}/{partition}/{name_hash[-3:]}/{name_hash}"


def is_hash(name: str) -> bool:
    """Whether `name` can be the name of a hash directory."""
    return len(name) == 32 and _is_hex(name)


def is_suffix(name: str) -> bool:
    """Whether `name` can be the name of a suffix directory."""
    return len(name) == 3 and _is_hex(name)


def _is_hex(name: str) -> bool:
    return not name.strip("0123456789abcdef")


def policy_datadir(base: str, index: int) -> str:
    """`objects` for policy 0, `objects-1` for policy 1; likewise async_pending and tmp."""
    return f"{base}-{index}" if index else base
