# SPDX-License-Identifier: Apache-2.0
"""Rules of security groups one by one: DescribeSecurityGroupRules, and their ids elsewhere.

What is one rule to EC2 may be two of ours, which have one id then: that of the first.
"""

from collections.abc import Collection, Sequence
from typing import Any

from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.db import ec2_ids, security_groups
from nova.db.models import SecurityGroupRule
from nova.db.security_groups import GroupView

ANYWHERE = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
_NAMES = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "ipv6-icmp": "icmpv6"}
Key = tuple[Any, ...]


def key_of(rule: Any) -> Key:
    """Return what makes a rule the same to EC2; a source group stands for both IP versions."""
    remote = rule.remote_group_id or rule.remote_cidr or ANYWHERE[rule.ethertype]
    return (rule.direction, _NAMES.get(rule.protocol or "", rule.protocol), rule.port_min,
            rule.port_max, remote)


def _firsts(view: GroupView) -> dict[Key, SecurityGroupRule]:
    found: dict[Key, SecurityGroupRule] = {}
    for rule in sorted(view.rules, key=lambda rule: rule.id):
        found.setdefault(key_of(rule), rule)
    return found


def views(found: Sequence[GroupView], only: Collection[Key] | None = None) -> list[dict[str, Any]]:
    """Return the rules of groups as the shape has them, or those of some keys ``only``."""
    chosen = [(view, key, rule) for view in found for key, rule in _firsts(view).items()
              if only is None or key in only]
    ids = ec2_ids.ids_of("sgr", [rule.id for _, _, rule in chosen])
    groups = ec2_ids.ids_of("sg", sorted(
        {view.group.id for view, _, _ in chosen}
        | {rule.remote_group_id for _, _, rule in chosen if rule.remote_group_id}))
    return [_view(view, key, rule, ids, groups) for view, key, rule in chosen]


def _view(view: GroupView, key: Key, rule: SecurityGroupRule, ids: dict[str, str],
          groups: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "SecurityGroupRuleId": ids[rule.id], "GroupId": groups[view.group.id],
        "GroupOwnerId": view.group.project_id, "IsEgress": rule.direction == "egress",
        "IpProtocol": key[1] or "-1", "FromPort": -1 if rule.port_min is None else rule.port_min,
        "ToPort": -1 if rule.port_max is None else rule.port_max, "Tags": []}
    if rule.description:
        found["Description"] = rule.description
    if rule.remote_group_id:
        found["ReferencedGroupInfo"] = {"GroupId": groups[rule.remote_group_id],
                                        "UserId": view.group.project_id}
    else:
        found["CidrIpv6" if rule.ethertype == "IPv6" else "CidrIpv4"] = key[4]
    return found


def keys_of_ids(view: GroupView, wanted: Sequence[str]) -> set[Key]:
    """Return the keys of a group's rules by their ids; NotFound for another group's, too."""
    asked = listing.uuids_of("sgr", wanted)
    known = {rule.id: key for key, rule in _firsts(view).items()}
    if missing := [one for one, uuid in asked.items() if uuid not in known]:
        raise listing.not_found("sgr", missing)
    return {known[uuid] for uuid in asked.values()}


@action("DescribeSecurityGroupRules", policy="network:security_group_rules:list",
        takes=("SecurityGroupRuleIds", "Filters", "MaxResults", "NextToken"))
def describe_rules(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "group-id": lambda one: one["GroupId"],
        "security-group-rule-id": lambda one: one["SecurityGroupRuleId"]})
    found = views(security_groups.find(call.project_id))
    if wanted := call.params.get("SecurityGroupRuleIds"):
        listing.uuids_of("sgr", wanted)
        known = {one["SecurityGroupRuleId"] for one in found}
        if missing := [one for one in wanted if one not in known]:
            raise listing.not_found("sgr", missing)
        found = [one for one in found if one["SecurityGroupRuleId"] in wanted]
    shown, token = listing.page([one for one in found if filters.met(one)], call.params,
                                lambda one: one["SecurityGroupRuleId"])
    return {"SecurityGroupRules": shown, "NextToken": token}
