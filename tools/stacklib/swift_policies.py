# SPDX-License-Identifier: Apache-2.0
"""Storage policies of the stack's object storage.

    choose(cloud, ["gold", "deep:ec:4+2"])    # remembered in the stack, in this order
    configuration(cloud)                      # what swift.conf says of them
    rings(cloud)                              # [("account", 3), ... ("object-2", 6)]

Objects lie under the number of their policy, so a policy that is there keeps its number, kind and
fragments; there can only be more. Number 0 is Policy-0, the default: three replicas.
"""
import re

from swift.common.exceptions import ConfigError
from swift.common.storage_policy import StoragePolicies, parse_policies

from .layout import Cloud
from .progress import StackError

REPLICAS = 3
# Intel's library: right for any K+M, and several times as fast as liberasurecode's own code
EC_TYPE = "isa_l_rs_cauchy"


def choose(cloud: Cloud, asked: list[str]) -> None:
    """Add what was asked for (NAME:replication or NAME:ec:K+M) to the stack's policies.

    :raises StackError: a policy of that name is another, or swift cannot have it
    """
    if not asked:
        return
    if not cloud.has("swift"):
        raise StackError("--policy is of swift, and this stack has none")
    known = {_name(text).lower(): text for text in cloud.policies}
    for text in asked:
        there = known.setdefault(_name(text).lower(), text)
        if there.partition(":")[2] != text.partition(":")[2]:
            raise StackError(f"--policy {text}: this stack has {there}, and a policy cannot be "
                             "changed")
    cloud.policies = list(known.values())
    parsed(cloud)


def parsed(cloud: Cloud) -> StoragePolicies:
    """The policies as swift reads them.

    :raises StackError: it would refuse them
    """
    try:
        return parse_policies(sections(cloud))
    except ConfigError as error:
        raise StackError(f"--policy: {error}") from None


def sections(cloud: Cloud) -> dict[str, dict[str, str]]:
    """The policies' sections of swift.conf; none while there is only Policy-0."""
    if not cloud.policies:
        return {}
    found = {"storage-policy:0": {"name": "Policy-0", "default": "yes"}}
    for index, text in enumerate(cloud.policies, 1):
        options = found[f"storage-policy:{index}"] = {"name": _name(text)}
        if fragments := re.search(r":ec:(\d+)\+(\d+)$", text):
            options.update(policy_type="erasure_coding", ec_type=EC_TYPE,
                           ec_num_data_fragments=fragments[1],
                           ec_num_parity_fragments=fragments[2])
    return found


def configuration(cloud: Cloud) -> str:
    """The sections as text."""
    return "".join(f"\n[{name}]\n" + "".join(f"{option} = {value}\n" for option, value
                                             in options.items())
                   for name, options in sections(cloud).items())


def rings(cloud: Cloud) -> list[tuple[str, int]]:
    """(name, replicas) of each ring."""
    return [("account", REPLICAS), ("container", REPLICAS),
            *((policy.ring_name, policy.coding.replicas if policy.coding else REPLICAS)
              for policy in parsed(cloud))]


def coded(cloud: Cloud) -> bool:
    """Whether fragments have to be looked after."""
    return any(policy.coding for policy in parsed(cloud))


def _name(text: str) -> str:
    return text.partition(":")[0]
