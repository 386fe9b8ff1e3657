# SPDX-License-Identifier: Apache-2.0
"""Security groups through compute's own, old paths: what they let in, by the project's names.

What they let out is the Network API's alone.
"""

from typing import Any

from nova import exception, quota
from nova.api.openstack.validation import UUID, Schema, integer, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.compute.api import API
from nova.db import security_groups
from nova.db.models import SecurityGroupRule
from nova.db.security_groups import GroupView
from nova.network import rules

_GROUP = obj({"name": string(255, 1, format="stripped-name"), "description": string(255)},
             ("name", "description"))
GROUP = Schema(obj({"security_group": _GROUP}, ("security_group",)))
_PORT = {"anyOf": [integer(-1, 65535), {"type": "null"}]}
_NULL_OR_TEXT = {"type": ["string", "null"], "maxLength": 255}
RULE = Schema(obj({"security_group_rule": obj({
    "parent_group_id": UUID, "ip_protocol": _NULL_OR_TEXT, "from_port": _PORT, "to_port": _PORT,
    "cidr": _NULL_OR_TEXT, "group_id": {"anyOf": [UUID, {"type": "null"}]},
}, ("parent_group_id",))}, ("security_group_rule",)))


def _rule_view(rule: SecurityGroupRule, names: dict[str, str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": rule.id, "parent_group_id": rule.group_id, "ip_protocol": rule.protocol,
        "from_port": rule.port_min, "to_port": rule.port_max, "group": {}, "ip_range": {}}
    if rule.remote_group_id:
        answer["group"] = {"name": names.get(rule.remote_group_id, ""),
                           "tenant_id": rule.project_id}
    else:
        anywhere = "::/0" if rule.ethertype == "IPv6" else "0.0.0.0/0"
        answer["ip_range"] = {"cidr": rule.remote_cidr or anywhere}
    return answer


def _names(views: list[GroupView]) -> dict[str, str]:
    """Return the names of all groups that rules of these refer to, in one query at most."""
    names = {view.group.id: view.group.name for view in views}
    asked = {rule.remote_group_id for view in views for rule in view.rules
             if rule.remote_group_id and rule.remote_group_id not in names}
    if asked:
        names.update((view.group.id, view.group.name)
                     for view in security_groups.find(ids=sorted(asked)))
    return names


def group_views(views: list[GroupView]) -> list[dict[str, Any]]:
    """Return groups with what they let in."""
    names = _names(views)
    return [{"id": view.group.id, "name": view.group.name,
             "description": view.group.description, "tenant_id": view.group.project_id,
             "rules": [_rule_view(rule, names) for rule in view.rules
                       if rule.direction == "ingress"]} for view in views]


class SecurityGroups(Resource):
    """``/os-security-groups`` and ``/os-security-group-rules``"""

    def __init__(self, compute: API) -> None:
        self._network = compute.network

    @route("GET", "/os-security-groups", policy="compute:security_groups:list")
    def index(self, req: Request) -> dict[str, Any]:
        everybody = req.last("all_tenants") in ("1", "true", "True") and req.context.is_admin
        found = security_groups.find(None if everybody else req.project_id,
                                     own_project=req.project_id)
        return {"security_groups": group_views(found)}

    @route("GET", "/os-security-groups/{group_id}", policy="compute:security_groups:show")
    def show(self, req: Request, group_id: str) -> dict[str, Any]:
        return {"security_group": group_views([_find(req, group_id)])[0]}

    @route("POST", "/os-security-groups", body=GROUP, policy="compute:security_groups:change")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["security_group"]
        try:
            view = security_groups.create(
                req.project_id, wanted["name"], wanted["description"],
                guard=quota.guard(req.project_id, {"security_groups": 1}))
        except exception.AlreadyExists as error:
            raise exception.BadRequest(f"security_group.name: {error}") from None
        return {"security_group": group_views([view])[0]}

    @route("PUT", "/os-security-groups/{group_id}", body=GROUP,
           policy="compute:security_groups:change")
    def update(self, req: Request, group_id: str, body: dict[str, Any]) -> dict[str, Any]:
        view = _find(req, group_id)
        name = body["security_group"]["name"]
        if name != view.group.name and security_groups.DEFAULT in (name.lower(),
                                                                   view.group.name):
            raise exception.BadRequest("security_group.name: the default group keeps its name.")
        _write_down(view)
        security_groups.change(group_id, {
            "name": name, "description": body["security_group"]["description"]})
        return {"security_group": group_views([_find(req, group_id)])[0]}

    @route("DELETE", "/os-security-groups/{group_id}", status=202,
           policy="compute:security_groups:change")
    def delete(self, req: Request, group_id: str) -> None:
        view = _find(req, group_id)
        if view.group.default_of and not req.context.is_admin:
            raise exception.BadRequest("The default security group cannot be deleted.")
        affected = security_groups.affected([group_id], members=False, referring=True)
        try:
            security_groups.delete_group(group_id)
        except exception.InUse as error:
            raise exception.BadRequest(str(error)) from None
        self._network.refresh_hosts(req.context, affected)

    # ------------------------------------------------------------ rules

    @route("POST", "/os-security-group-rules", body=RULE, policy="compute:security_groups:change")
    def create_rule(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["security_group_rule"]
        view = _find(req, wanted["parent_group_id"])
        columns = _columns(wanted)
        if columns["remote_group_id"]:
            _write_down(_find(req, columns["remote_group_id"]))
        _write_down(view)
        try:
            [rule] = security_groups.add_rules(
                view.group.id, [{"project_id": view.group.project_id, "description": "",
                                 **columns}],
                guard=quota.guard(view.group.project_id, {"security_group_rules": 1}))
        except exception.AlreadyExists as error:
            raise exception.BadRequest(f"security_group_rule: {error}") from None
        self._network.refresh_instances(req.context, members=[view.group.id])
        [shown] = group_views([_find(req, view.group.id)])
        return {"security_group_rule": next(
            one for one in shown["rules"] if one["id"] == rule.id)}

    @route("DELETE", "/os-security-group-rules/{rule_id}", status=202,
           policy="compute:security_groups:change")
    def delete_rule(self, req: Request, rule_id: str) -> None:
        for view in security_groups.find(req.project_id):
            if any(rule.id == rule_id for rule in view.rules):
                break
        else:
            raise exception.SecurityGroupRuleNotFound(rule_id=rule_id[:64])
        _write_down(view)
        security_groups.delete_rule(rule_id)
        self._network.refresh_instances(req.context, members=[view.group.id])


def _find(req: Request, group_id: str) -> GroupView:
    return security_groups.get(group_id, req.project_id)


def _write_down(view: GroupView) -> None:
    """Have a default group's rows, which a look does not make."""
    if view.group.default_of:
        security_groups.ensure_default(view.group.default_of)


def _columns(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return a rule's columns; -1 has always meant "any" here."""
    ports = [None if value in (None, -1, "-1") else int(value)
             for value in (wanted.get("from_port"), wanted.get("to_port"))]
    cidr = wanted.get("cidr")
    return rules.columns_of({
        "direction": "ingress", "protocol": wanted.get("ip_protocol"),
        "ethertype": "IPv6" if cidr and ":" in cidr else "IPv4",
        "port_range_min": ports[0], "port_range_max": ports[1],
        "remote_ip_prefix": cidr or None, "remote_group_id": wanted.get("group_id")})
