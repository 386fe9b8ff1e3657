# SPDX-License-Identifier: Apache-2.0
"""Storage policies: which object ring and directories an object belongs to, from swift.conf."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from swift.common.conf import config_int, config_list, config_true, read_swift_conf
from swift.common.ec import SEGMENT_SIZE, Coding
from swift.common.exceptions import ConfigError

_NAME = re.compile(r"[A-Za-z0-9-]+\Z")
_DEFAULT_NAME = "Policy-0"


@dataclass(frozen=True)
class StoragePolicy:
    """One policy. `ring_name` names its ring file, `datadir` its directory on each device.

    `coding` says how an erasure coding policy's objects are cut; None for replicated ones.
    """

    index: int
    name: str
    is_default: bool = False
    is_deprecated: bool = False
    aliases: tuple[str, ...] = ()
    policy_type: str = "replication"
    options: dict[str, str] = field(default_factory=dict, compare=False, hash=False)
    coding: Coding | None = field(default=None, compare=False, hash=False)

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

    def check_ring(self, replica_count: float) -> None:
        """ConfigError unless a ring has a place for every fragment, and no more."""
        if self.coding is not None and replica_count != self.coding.replicas:
            raise ConfigError(f"the ring of storage policy {self.name} must have exactly "
                                f"{self.coding.replicas} replicas, it has {replica_count:g}")


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
        policies = [replace(only, is_default=True, is_deprecated=False)]
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
    form = options.get("diskfile_module", "")
    if form not in ("", f"egg:swift#{kind}.fs"):
        # What another module stored would be taken for lost, and what we store not be found by it.
        raise ConfigError(f"{where} diskfile_module: {form!r}: objects lie on disks as "
                          f"egg:swift#{kind}.fs has them, in no other way")
    coding = _parse_coding(where, options, deprecated) if kind == "erasure_coding" else None
    return StoragePolicy(index, name, default, deprecated,
                         tuple(config_list(options.get("aliases", ""))), kind, dict(options),
                         coding)


def _parse_coding(where: str, options: dict[str, str], deprecated: bool) -> Coding:
    for name in ("ec_type", "ec_num_data_fragments", "ec_num_parity_fragments"):
        if not options.get(name):
            raise ConfigError(f"{where} {name} is missing")
    try:
        kind, parity = options["ec_type"], config_int(options, "ec_num_parity_fragments", 0, 1)
        if kind == "isa_l_rs_vand" and parity >= 5 and not deprecated:
            raise ConfigError("isa_l_rs_vand with 5 or more parity fragments cannot rebuild some "
                              "of them: such a policy must be deprecated")
        return Coding(kind, config_int(options, "ec_num_data_fragments", 0, 1), parity,
                      config_int(options, "ec_object_segment_size", SEGMENT_SIZE, 1),
                      config_int(options, "ec_duplication_factor", 1, 1))
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


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
