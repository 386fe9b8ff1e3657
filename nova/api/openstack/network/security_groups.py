# SPDX-License-Identifier: Apache-2.0
"""Security groups and their rules.  A rule that could not be carried out is never taken."""

from typing import Any

from nova import exception, quota
from nova.api.openstack.network import bodies, listing
from nova.api.openstack.network.bodies import DESCRIPTION, FLAG, OPTIONAL_ID, OWNER
from nova.api.openstack.validation import UUID, integer, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import security_groups
from nova.db.models import SecurityGroupRule
from nova.db.security_groups import GroupView
from nova.network import rules
from nova.network.api import API, scope

_NAME = string(255)
CREATE = bodies.create("security_group", "security_groups", {
    "name": _NAME, "description": DESCRIPTION, "stateful": FLAG, **OWNER}, ("name",))
UPDATE = bodies.update("security_group", {
    "name": _NAME, "description": DESCRIPTION, "stateful": FLAG})
_PORT = {"anyOf": [integer(-1, 65535), {"type": "null"}]}
CREATE_RULE = bodies.create("security_group_rule", "security_group_rules", {
    "security_group_id": UUID, "direction": {"type": "string", "maxLength": 16},
    "ethertype": {"type": ["string", "null"], "maxLength": 16},
    "protocol": {"type": ["string", "integer", "null"], "maxLength": 64},
    "port_range_min": _PORT, "port_range_max": _PORT, "remote_ip_prefix": OPTIONAL_ID,
    "remote_group_id": OPTIONAL_ID, "remote_address_group_id": {}, "description": DESCRIPTION,
    **OWNER}, ("security_group_id", "direction"))
_KNOWN = ("id", "name", "description", "project_id", "stateful", "shared")
_KNOWN_RULE = ("id", "security_group_id", "direction", "ethertype", "protocol", "port_range_min",
               "port_range_max", "remote_ip_prefix", "remote_group_id", "description",
               "project_id")


def rule_view(rule: SecurityGroupRule) -> dict[str, Any]:
    """Return a rule as the API shows it."""
    return {
        "id": rule.id, "security_group_id": rule.group_id, "tenant_id": rule.project_id,
        "project_id": rule.project_id, "direction": rule.direction, "ethertype": rule.ethertype,
        "protocol": rule.protocol, "port_range_min": rule.port_min,
        "port_range_max": rule.port_max, "remote_ip_prefix": rule.remote_cidr,
        "normalized_cidr": rule.remote_cidr, "remote_group_id": rule.remote_group_id,
        "remote_address_group_id": None, "description": rule.description, **bodies.times(rule)}


def group_view(view: GroupView) -> dict[str, Any]:
    """Return a group with its rules as the API shows it."""
    group = view.group
    return {
        "id": group.id, "name": group.name, "description": group.description,
        "tenant_id": group.project_id, "project_id": group.project_id, "stateful": True,
        "shared": False, "security_group_rules": [rule_view(rule) for rule in view.rules],
        **bodies.times(group)}


class SecurityGroups(Resource):
    """``/security-groups``"""

    def __init__(self, api: API) -> None:
        self.api = api

    @route("GET", "/security-groups", policy="network:security_groups:list")
    def index(self, req: Request) -> dict[str, Any]:
        found = security_groups.find(
            scope(req.context), ids=listing.wanted_ids(req), own_project=req.context.project_id)
        return listing.answer(req, "security_groups", [group_view(view) for view in found],
                              _KNOWN)

    @route("GET", "/security-groups/{group_id}", policy="network:security_groups:show")
    def show(self, req: Request, group_id: str) -> dict[str, Any]:
        view = group_of(req, group_id)
        return {"security_group": listing.fields_of(req, group_view(view))}

    @route("POST", "/security-groups", status=201, body=CREATE,
           policy="network:security_groups:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return bodies.make(
            body, "security_group", "security_groups", lambda values: self._create(req, values),
            lambda view: security_groups.delete_group(view["id"]))

    def _create(self, req: Request, asked: dict[str, Any]) -> dict[str, Any]:
        values = dict(asked)
        project_id = bodies.owner_of(req, values, "network:other_projects")
        _refuse_stateless(values)
        return group_view(security_groups.create(
            project_id, values["name"], values.get("description", ""),
            guard=quota.guard(project_id, {"security_groups": 1})))

    @route("PUT", "/security-groups/{group_id}", body=UPDATE,
           policy="network:security_groups:update")
    def update(self, req: Request, group_id: str, body: dict[str, Any]) -> dict[str, Any]:
        view = group_of(req, group_id)
        values = dict(body["security_group"])
        _refuse_stateless(values)
        name = values.get("name", view.group.name)
        if name != view.group.name:
            if view.group.default_of:
                raise exception.Conflict("The name of the default security group stays.")
            if name.lower() == security_groups.DEFAULT:
                raise exception.Conflict("There is one group named default, made by itself.")
        _write_down(view)
        security_groups.change(group_id, values)
        return {"security_group": group_view(group_of(req, group_id))}

    @route("DELETE", "/security-groups/{group_id}", status=204,
           policy="network:security_groups:delete")
    def delete(self, req: Request, group_id: str) -> None:
        view = group_of(req, group_id)
        if view.group.default_of and not req.context.is_admin:
            raise exception.Conflict("The default security group cannot be deleted.")
        affected = security_groups.affected([group_id], members=False, referring=True)
        security_groups.delete_group(group_id)
        self.api.refresh_hosts(req.context, affected)


class SecurityGroupRules(Resource):
    """``/security-group-rules``"""

    def __init__(self, api: API) -> None:
        self.api = api

    @route("GET", "/security-group-rules", policy="network:security_group_rules:list")
    def index(self, req: Request) -> dict[str, Any]:
        groups = security_groups.find(
            scope(req.context), ids=listing.wanted_ids(req, "security_group_id"),
            own_project=req.context.project_id)
        views = [rule_view(rule) for view in groups for rule in view.rules]
        return listing.answer(req, "security_group_rules", views, _KNOWN_RULE)

    @route("GET", "/security-group-rules/{rule_id}", policy="network:security_group_rules:show")
    def show(self, req: Request, rule_id: str) -> dict[str, Any]:
        return {"security_group_rule": listing.fields_of(
            req, rule_view(self._find(req, rule_id)))}

    @staticmethod
    def _find(req: Request, rule_id: str) -> SecurityGroupRule:
        for rule in security_groups.find_rules(scope(req.context), [rule_id]):
            return rule
        for view in security_groups.find(req.context.project_id, names=[security_groups.DEFAULT]):
            for rule in view.rules:
                if rule.id == rule_id:
                    return rule
        raise exception.SecurityGroupRuleNotFound(rule_id=rule_id)

    @route("POST", "/security-group-rules", status=201, body=CREATE_RULE,
           policy="network:security_group_rules:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        asked = body.get("security_group_rules") or [body["security_group_rule"]]
        checked = [self._check(req, dict(values)) for values in asked]
        groups = {group_id for group_id, _ in checked}
        if len(groups) > 1:
            raise exception.BadRequest("security_group_id: rules made together have one group.")
        [group_id] = groups
        view = group_of(req, group_id)
        _write_down(view)
        made = security_groups.add_rules(
            group_id, [rule for _, rule in checked],
            guard=quota.guard(view.group.project_id, {"security_group_rules": len(checked)}))
        self.api.refresh_instances(req.context, members=[group_id])
        shown = [rule_view(rule) for rule in made]
        return {"security_group_rules": shown} if "security_group_rules" in body \
            else {"security_group_rule": shown[0]}

    @staticmethod
    def _check(req: Request, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return (group, columns) of a rule that makes sense and refers to nobody else's group."""
        group = group_of(req, values["security_group_id"]).group
        bodies.owner_of(req, values, "network:other_projects")
        bodies.only(values, "remote_address_group_id", None, what="Address groups")
        if values.get("remote_group_id"):
            remote = [view for view in security_groups.find(
                group.project_id, ids=[values["remote_group_id"]])]
            if not remote:
                raise exception.SecurityGroupNotFound(group_id=values["remote_group_id"])
            _write_down(remote[0])
        return group.id, {"project_id": group.project_id,
                          "description": values.get("description", ""),
                          **rules.columns_of(values)}

    @route("DELETE", "/security-group-rules/{rule_id}", status=204,
           policy="network:security_group_rules:delete")
    def delete(self, req: Request, rule_id: str) -> None:
        rule = self._find(req, rule_id)
        _write_down(security_groups.get(rule.group_id, own_project=rule.project_id))
        security_groups.delete_rule(rule_id)
        self.api.refresh_instances(req.context, members=[rule.group_id])


def group_of(req: Request, group_id: str) -> GroupView:
    """Return a group the caller may see, its own default one included."""
    return security_groups.get(group_id, scope(req.context),
                               own_project=req.context.project_id)


def _write_down(view: GroupView) -> None:
    """Have a default group's rows, which a look does not make."""
    if view.group.default_of:
        security_groups.ensure_default(view.group.default_of)


def _refuse_stateless(values: dict[str, Any]) -> None:
    bodies.only(values, "stateful", True, "true", "True", 1, "1",
                what="A security group that is not stateful")
