# SPDX-License-Identifier: Apache-2.0
"""Storage policies: which object ring and directories an object belongs to, from swift.conf."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from swift.common.conf import config_list, config_true, read_swift_conf
from swift.common.exceptions import ConfigError

_NAME = re.compile(r"[A-Za-z0-9-]+\Z")
_DEFAULT_NAME = "Policy-0"


@dataclass(frozen=True)
class StoragePolicy:
    """One policy. `ring_name` names its ring file, `datadir` its directory on each device."""

    index: int
    name: str
    is_default: bool = False
    is_deprecated: bool = False
    aliases: tuple[str, ...] = ()
    policy_type: str = "replication"
    options: dict[str, str] = field(default_factory=dict, compare=False, hash=False)

    @property
    def _suffix(self) -> str:
        return f"-{self.index}" if self.index else ""

    @property
    def ring_name(self) -> str:
        return "object" + self._suffix

    @property
    def datadir(self) -> str:
        return "objects" + self._suffix

    @property
    def asyncdir(self) -> str:
        return "async_pending" + self._suffix

    @property
    def tmpdir(self) -> str:
        return "tmp" + self._suffix

    @property
    def names(self) -> tuple[str, ...]:
        """The name and all aliases."""
        return (self.name, *self.aliases)


class StoragePolicies:
    """All policies; look up by index or by name (case does not matter)."""

    def __init__(self, policies: list[StoragePolicy]) -> None:
        self._by_index = {policy.index: policy for policy in policies}
        self._by_name = {name.lower(): policy for policy in policies for name in policy.names}
        self.default = next(policy for policy in policies if policy.is_default)

    def __iter__(self) -> Iterator[StoragePolicy]:
        return iter(self._by_index.values())

    def __len__(self) -> int:
        return len(self._by_index)

    def by_index(self, index: int | str | None) -> StoragePolicy | None:
        """The policy of an index as headers carry it; empty or None is policy 0."""
        if index is None or index == "":
            return self._by_index.get(0)
        try:
            return self._by_index.get(int(index))
        except ValueError:
            return None

    def by_name(self, name: str) -> StoragePolicy | None:
        """The policy with this name or alias."""
        return self._by_name.get(name.lower())


def parse_policies(sections: dict[str, dict[str, str]]) -> StoragePolicies:
    """Policies of swift.conf's sections [storage-policy:N]; ConfigError when they contradict."""
    policies = [_parse_policy(name, section) for name, section in sections.items()
                if name.startswith("storage-policy:")]
    if not policies:
        policies = [StoragePolicy(0, _DEFAULT_NAME, is_default=True)]
    if not any(policy.index == 0 for policy in policies):
        raise ConfigError("swift.conf: a storage policy of index 0 is missing")
    defaults = [policy for policy in policies if policy.is_default]
    if len(defaults) > 1:
        raise ConfigError("swift.conf: more than one default storage policy")
    if not defaults:
        if len(policies) > 1:
            raise ConfigError("swift.conf: no default storage policy")
        only = policies[0]
        policies = [StoragePolicy(only.index, only.name, True, False, only.aliases,
                                  only.policy_type, only.options)]
    names: set[str] = set()
    for policy in policies:
        for name in policy.names:
            if name.lower() in names:
                raise ConfigError(f"swift.conf: storage policy name {name!r} is used twice")
            names.add(name.lower())
    return StoragePolicies(sorted(policies, key=lambda policy: policy.index))


def _parse_policy(section: str, options: dict[str, str]) -> StoragePolicy:
    where = f"swift.conf: [{section}]"
    try:
        index = int(section.partition(":")[2])
    except ValueError:
        raise ConfigError(f"{where} does not end in a number") from None
    name = options.get("name", _DEFAULT_NAME if index == 0 else "")
    if not _NAME.match(name):
        raise ConfigError(f"{where} name: {name!r} is empty or has more than letters, digits and -")
    default = config_true(options.get("default", ""))
    deprecated = config_true(options.get("deprecated", ""))
    if default and deprecated:
        raise ConfigError(f"{where}: a deprecated policy cannot be the default")
    kind = options.get("policy_type", "replication")
    if kind not in ("replication", "erasure_coding"):
        raise ConfigError(f"{where} policy_type: {kind!r} is unknown")
    return StoragePolicy(index, name, default, deprecated,
                         tuple(config_list(options.get("aliases", ""))), kind, dict(options))


_policies: StoragePolicies | None = None


def policies() -> StoragePolicies:
    """The policies of swift.conf, read once."""
    global _policies
    if _policies is None:
        _policies = parse_policies(read_swift_conf())
    return _policies


def set_policies(value: StoragePolicies | None) -> None:
    """Use these (tests); None reads swift.conf again."""
    global _policies
    _policies = value
