# SPDX-License-Identifier: Apache-2.0
"""Security groups: Create-, Describe-, DeleteSecurityGroup(s), Authorize- and Revoke-.

One rule of EC2's can be two of ours: a source that is a group means both IPv4 and IPv6.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from nova import exception, quota
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, invalid, unsupported
from nova.api.ec2.group_rules import ANYWHERE, key_of, keys_of_ids
from nova.api.ec2.group_rules import views as views_of_rules
from nova.api.ec2.lifecycle import groups_named
from nova.api.ec2.tagging import tags_for
from nova.db import ec2_ids, networks, security_groups
from nova.db.models import SecurityGroup, SecurityGroupRule
from nova.db.security_groups import GroupView
from nova.network import rules


def _permissions(call: Call, view: GroupView, direction: str,
                 ids: Mapping[str, str]) -> list[dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    seen: set[tuple[Any, ...]] = set()
    for rule in view.rules:
        key = key_of(rule)
        if rule.direction != direction or key in seen:
            continue
        seen.add(key)
        one = found.setdefault(key[1:4], {
            "IpProtocol": key[1] or "-1", "UserIdGroupPairs": [], "IpRanges": [],
            "Ipv6Ranges": [], "PrefixListIds": []})
        if key[1]:
            one["FromPort"] = -1 if rule.port_min is None else rule.port_min
            one["ToPort"] = -1 if rule.port_max is None else rule.port_max
        text = {"Description": rule.description} if rule.description else {}
        if rule.remote_group_id:
            one["UserIdGroupPairs"].append({
                "UserId": view.group.project_id, "GroupId": ids[rule.remote_group_id], **text})
        elif rule.ethertype == "IPv6":
            one["Ipv6Ranges"].append({"CidrIpv6": key[4], **text})
        else:
            one["IpRanges"].append({"CidrIp": key[4], **text})
    return list(found.values())


def _views(call: Call, found: Sequence[GroupView]) -> list[dict[str, Any]]:
    remote = {rule.remote_group_id for view in found for rule in view.rules}
    ids = ec2_ids.ids_of("sg", sorted({view.group.id for view in found}
                                      | {one for one in remote if one}))
    return [{
        "GroupId": ids[view.group.id], "GroupName": view.group.name,
        "Description": view.group.description, "OwnerId": view.group.project_id,
        "Tags": listing.tag_list(view.group.tags or {}),
        "IpPermissions": _permissions(call, view, "ingress", ids),
        "IpPermissionsEgress": _permissions(call, view, "egress", ids)} for view in found]


FILTERS = {
    "group-id": lambda one: one["GroupId"], "group-name": lambda one: one["GroupName"],
    "description": lambda one: one["Description"], "owner-id": lambda one: one["OwnerId"],
    "ip-permission.protocol": lambda one: [p["IpProtocol"] for p in one["IpPermissions"]],
    "ip-permission.from-port": lambda one: [p.get("FromPort") for p in one["IpPermissions"]],
    "ip-permission.to-port": lambda one: [p.get("ToPort") for p in one["IpPermissions"]],
    "ip-permission.cidr": lambda one: [
        r["CidrIp"] for p in one["IpPermissions"] for r in p["IpRanges"]],
    "ip-permission.group-id": lambda one: [
        r["GroupId"] for p in one["IpPermissions"] for r in p["UserIdGroupPairs"]],
    "tags": lambda one: {tag["Key"]: tag["Value"] for tag in one["Tags"]},
}


@action("DescribeSecurityGroups", policy="network:security_groups:list",
        takes=("GroupIds", "GroupNames", "Filters", "MaxResults", "NextToken"))
def describe_groups(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), FILTERS)
    found = security_groups.find(call.project_id)
    ids, names = call.params.get("GroupIds") or [], call.params.get("GroupNames") or []
    if ids or names:
        wanted = groups_named(call, ids, names)
        found = [view for view in found if view.group.id in wanted]
    shown, token = listing.page([view for view in _views(call, found) if filters.met(view)],
                                call.params, lambda one: one["GroupId"])
    return {"SecurityGroups": shown, "NextToken": token}


@action("CreateSecurityGroup", policy="network:security_groups:create",
        takes=("GroupName", "Description", "VpcId", "TagSpecifications"))
def create_group(call: Call) -> dict[str, Any]:
    name, text = call.params["GroupName"], call.params["Description"]
    if not 1 <= len(name) <= 255 or name.startswith("sg-"):
        raise invalid("GroupName", name, "1 to 255 characters that do not start with sg-.")
    if len(text) > 255:
        raise invalid("GroupDescription", text, "At most 255 characters.")
    if vpc := call.params.get("VpcId"):
        uuid = listing.uuids_of("vpc", [vpc])[vpc]
        if uuid not in {row.id for row in networks.find(call.project_id, external=False)}:
            raise listing.not_found("vpc", [vpc])
    tags = tags_for(call.params, "security-group")
    check = quota.guard(call.project_id, {"security_groups": 1})
    duplicate = Ec2Error("InvalidGroup.Duplicate",
                         f"The security group {ascii(name)} already exists")

    def guard(session: Session) -> None:
        check(session)      # locks the project: two of one name follow each other
        if session.scalar(select(SecurityGroup.id).where(
                SecurityGroup.project_id == call.project_id, SecurityGroup.name == name)):
            raise duplicate
    try:
        made = security_groups.create(call.project_id, name, text, guard=guard, tags=tags)
    except exception.AlreadyExists:
        raise duplicate from None
    return {"GroupId": ec2_ids.id_of("sg", made.group.id), "Tags": listing.tag_list(tags)}


def _one(call: Call) -> GroupView:
    group_id, name = call.params.get("GroupId"), call.params.get("GroupName")
    if bool(group_id) == bool(name):
        raise Ec2Error("MissingParameter", "The request must contain one of GroupId and GroupName")
    [wanted] = groups_named(call, [group_id] if group_id else [], [name] if name else [])
    return security_groups.get(wanted, call.project_id)


@action("DeleteSecurityGroup", policy="network:security_groups:delete",
        takes=("GroupId", "GroupName"))
def delete_group(call: Call) -> dict[str, Any]:
    view = _one(call)
    if view.group.default_of:
        raise Ec2Error("CannotDelete", "The default security group cannot be deleted.")
    for other in security_groups.find(call.project_id):
        if other.group.id != view.group.id and any(
                rule.remote_group_id == view.group.id for rule in other.rules):
            raise Ec2Error("DependencyViolation",
                           f"A rule of the group {ascii(other.group.name)} refers to it.")
    security_groups.delete_group(view.group.id)
    return {"Return": True, "GroupId": ec2_ids.id_of("sg", view.group.id)}


# ---------------------------------------------------------------- rules

def _asked(call: Call, direction: str) -> Iterator[dict[str, Any]]:
    """Yield the rules of a request, as :func:`nova.network.rules.columns_of` wants them."""
    params, several = call.params, call.params.get("IpPermissions")
    flat = {name: params[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in params}
    if params.get("SourceSecurityGroupName"):
        if params.get("SourceSecurityGroupOwnerId", call.project_id) != call.project_id:
            raise Ec2Error("InvalidGroup.NotFound", "Only groups of one's own can be a source.")
        flat["UserIdGroupPairs"] = [{"GroupName": params["SourceSecurityGroupName"]}]
    if params.get("CidrIp"):
        flat["IpRanges"] = [{"CidrIp": params["CidrIp"]}]
    if bool(flat) == bool(several):
        raise Ec2Error("MissingParameter", "The request must contain either IpPermissions or "
                                           "the parts of one")
    for one in several or [flat]:
        yield from _rules(call, one, direction)


def _rules(call: Call, asked: Mapping[str, Any], direction: str) -> Iterator[dict[str, Any]]:
    if asked.get("PrefixListIds"):
        raise unsupported("A prefix list")
    protocol = str(asked.get("IpProtocol") or "").lower()
    if not protocol:
        raise Ec2Error("MissingParameter", "The request must contain the parameter IpProtocol")
    every = protocol in ("-1", "all")
    low, high = (None if every or asked.get(name) in (None, -1) else asked[name]
                 for name in ("FromPort", "ToPort"))
    common = {"direction": direction, "protocol": None if every else protocol,
              "port_range_min": low, "port_range_max": high}
    remotes = [
        *({"ethertype": "IPv4", "remote_ip_prefix": r.get("CidrIp") or ""} | _text(r)
          for r in asked.get("IpRanges") or ()),
        *({"ethertype": "IPv6", "remote_ip_prefix": r.get("CidrIpv6") or ""} | _text(r)
          for r in asked.get("Ipv6Ranges") or ()),
        *({"ethertype": version, "remote_group_id": _source(call, r)} | _text(r)
          for r in asked.get("UserIdGroupPairs") or ()
          for version in (("IPv6",) if protocol in ("58", "icmpv6") else
                          ("IPv4",) if protocol in ("1", "icmp") else ("IPv4", "IPv6")))]
    if not remotes:
        raise Ec2Error("MissingParameter", "A permission needs a range or a group")
    for remote in remotes:
        yield {**common, **remote}


def _text(remote: Mapping[str, Any]) -> dict[str, str]:
    text = remote.get("Description") or ""
    if len(text) > 255:
        raise invalid("Description", text, "At most 255 characters.")
    return {"description": text}


def _source(call: Call, pair: Mapping[str, Any]) -> str:
    if pair.get("UserId", call.project_id) != call.project_id:
        raise Ec2Error("InvalidGroup.NotFound", "Only groups of one's own can be a source.")
    if any(pair.get(name) for name in ("VpcPeeringConnectionId", "PeeringStatus")):
        raise unsupported("A peering connection")
    group_id, name = pair.get("GroupId"), pair.get("GroupName")
    if bool(group_id) == bool(name):
        raise Ec2Error("MissingParameter", "A source has one of GroupId and GroupName")
    return groups_named(call, [group_id] if group_id else [], [name] if name else [])[0]


def _columns(call: Call, view: GroupView, direction: str) -> list[SecurityGroupRule]:
    found = []
    for values in _asked(call, direction):
        try:
            columns = rules.columns_of(values)
        except exception.BadRequest as error:
            raise Ec2Error("InvalidParameterValue", str(error)) from None
        if columns["remote_cidr"] == ANYWHERE[columns["ethertype"]]:
            columns["remote_cidr"] = None
        found.append(SecurityGroupRule(project_id=view.group.project_id, group_id=view.group.id,
                                       description=values["description"], **columns))
    return found


_COLUMNS = ("project_id", "direction", "ethertype", "protocol", "port_min", "port_max",
            "remote_cidr", "remote_group_id", "description")


def _authorize(call: Call, direction: str) -> dict[str, Any]:
    view = _one(call)
    new = _columns(call, view, direction)
    duplicate = Ec2Error("InvalidPermission.Duplicate", "the specified rule already exists")
    there = {key_of(rule) for rule in view.rules}
    if any(key_of(rule) in there for rule in new):
        raise duplicate
    own_default = security_groups.default_id(call.project_id)
    if own_default in {view.group.id, *(rule.remote_group_id for rule in new)}:
        security_groups.ensure_default(call.project_id)
    try:
        security_groups.add_rules(
            view.group.id, [{name: getattr(rule, name) for name in _COLUMNS} for rule in new],
            guard=quota.guard(call.project_id, {"security_group_rules": len(new)}))
    except exception.AlreadyExists:
        raise duplicate from None
    call.compute.network.refresh_instances(call.context, members=[view.group.id])
    made = security_groups.get(view.group.id, call.project_id)
    return {"Return": True, "SecurityGroupRules": views_of_rules([made], set(map(key_of, new)))}


def _revoke(call: Call, direction: str) -> dict[str, Any]:
    view = _one(call)
    wanted = _revoked(call, view, direction)
    if wanted - {key_of(rule) for rule in view.rules}:
        raise Ec2Error("InvalidPermission.NotFound",
                       "The specified rule does not exist in this security group.")
    if view.group.default_of:
        security_groups.ensure_default(call.project_id)
    for rule in view.rules:
        if key_of(rule) in wanted:
            try:
                security_groups.delete_rule(rule.id)
            except exception.SecurityGroupRuleNotFound:     # gone meanwhile
                pass
    call.compute.network.refresh_instances(call.context, members=[view.group.id])
    return {"Return": True}


def _revoked(call: Call, view: GroupView, direction: str) -> set[tuple[Any, ...]]:
    """Return the rules of a request by their keys; it names them by their ids or describes them."""
    ids = call.params.get("SecurityGroupRuleIds")
    if not ids:
        return {key_of(rule) for rule in _columns(call, view, direction)}
    if any(call.params.get(name) for name in _DESCRIBED):
        raise Ec2Error("InvalidParameterCombination",
                       "Rules are named by their ids or described, not both.")
    wanted = keys_of_ids(view, ids)
    if any(key[0] != direction for key in wanted):
        raise Ec2Error("InvalidSecurityGroupRuleId.NotFound",
                       f"A rule of these is not of the {direction} kind.")
    return wanted


_DESCRIBED = ("IpPermissions", "IpProtocol", "FromPort", "ToPort", "CidrIp",
              "SourceSecurityGroupName", "SourceSecurityGroupOwnerId")
_PARTS = ("GroupId", "GroupName", *_DESCRIBED)
_EGRESS = ("GroupId", *_DESCRIBED)


@action("AuthorizeSecurityGroupIngress", policy="network:security_group_rules:create",
        takes=_PARTS)
def authorize_ingress(call: Call) -> dict[str, Any]:
    return _authorize(call, "ingress")


@action("AuthorizeSecurityGroupEgress", policy="network:security_group_rules:create",
        takes=_EGRESS)
def authorize_egress(call: Call) -> dict[str, Any]:
    return _authorize(call, "egress")


@action("RevokeSecurityGroupIngress", policy="network:security_group_rules:delete",
        takes=(*_PARTS, "SecurityGroupRuleIds"))
def revoke_ingress(call: Call) -> dict[str, Any]:
    return _revoke(call, "ingress")


@action("RevokeSecurityGroupEgress", policy="network:security_group_rules:delete",
        takes=(*_EGRESS, "SecurityGroupRuleIds"))
def revoke_egress(call: Call) -> dict[str, Any]:
    return _revoke(call, "egress")
