# SPDX-License-Identifier: Apache-2.0
"""Who may do what: oslo.policy with every default in code.

A rule is checked against the caller's identity and a target with the image's ``project_id``,
``owner`` and ``visibility``.  Whether the caller may know of the image at all is not asked here but
by the registry, in the query.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import opts as policy_opts
from oslo_policy import policy

from glance import exceptions
from glance.context import RequestContext

LOG = logging.getLogger(__name__)

ADMIN = "rule:admin_required"
MEMBER = "rule:admin_required or (role:member and project_id:%(project_id)s)"
ANYONE = "@"
SERVICE = "rule:admin_required or role:service"

_SPACE = "namespaces/{namespace}"
# name, default, description, method, path below /v2/metadefs
_METADEFS: tuple[tuple[str, str, str, str, str], ...] = (
    ("get_metadef_namespaces", ANYONE, "List namespaces", "GET", "namespaces"),
    ("get_metadef_namespace", ANYONE, "Show a namespace", "GET", _SPACE),
    ("add_metadef_namespace", ADMIN, "Create a namespace", "POST", "namespaces"),
    ("modify_metadef_namespace", ADMIN, "Change a namespace", "PUT", _SPACE),
    ("delete_metadef_namespace", ADMIN, "Delete a namespace", "DELETE", _SPACE),
    ("list_metadef_resource_types", ANYONE, "List resource types", "GET", "resource_types"),
    ("get_metadef_resource_type", ANYONE, "List resource types of a namespace", "GET",
     f"{_SPACE}/resource_types"),
    ("add_metadef_resource_type_association", ADMIN, "Add a resource type to a namespace", "POST",
     f"{_SPACE}/resource_types"),
    ("remove_metadef_resource_type_association", ADMIN, "Take a resource type from a namespace",
     "DELETE", f"{_SPACE}/resource_types/{{name}}"),
    *((f"{verb}_metadef_{kind}", default, f"{what} {kind} definitions", method,
       f"{_SPACE}/{several}/{{name}}")
      for kind, several in (("property", "properties"), ("object", "objects"), ("tag", "tags"))
      for verb, default, what, method in (
          ("get", ANYONE, "Show", "GET"), ("add", ADMIN, "Add", "POST"),
          ("modify", ADMIN, "Change", "PUT"), ("delete", ADMIN, "Delete", "DELETE"))),
    *((f"get_metadef_{several}", ANYONE, f"List {several} of a namespace", "GET",
       f"{_SPACE}/{several}") for several in ("properties", "objects", "tags")),
    ("add_metadef_tags", ADMIN, "Replace all tags of a namespace", "POST", f"{_SPACE}/tags"),
)

# name, default, description, (method, path) pairs
_TABLE: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    ("add_image", MEMBER, "Create an image", (("POST", "/v2/images"), ("POST", "/v1/images"))),
    ("get_images", ANYONE, "List images", (("GET", "/v2/images"), ("GET", "/v1/images"))),
    ("get_image", ANYONE, "Show an image",
     (("GET", "/v2/images/{image_id}"), ("HEAD", "/v1/images/{image_id}"))),
    ("modify_image", MEMBER, "Change an image",
     (("PATCH", "/v2/images/{image_id}"), ("PUT", "/v1/images/{image_id}"))),
    ("delete_image", MEMBER, "Delete an image",
     (("DELETE", "/v2/images/{image_id}"), ("DELETE", "/v1/images/{image_id}"))),
    ("publicize_image", ADMIN, "Make an image public", (("PATCH", "/v2/images/{image_id}"),)),
    ("communitize_image", MEMBER, "Make an image a community image",
     (("PATCH", "/v2/images/{image_id}"),)),
    ("upload_image", MEMBER, "Upload image data",
     (("PUT", "/v2/images/{image_id}/file"), ("PUT", "/v1/images/{image_id}"))),
    ("download_image", ANYONE, "Download image data",
     (("GET", "/v2/images/{image_id}/file"), ("GET", "/v1/images/{image_id}"))),
    ("deactivate", MEMBER, "Stop downloads of an image",
     (("POST", "/v2/images/{image_id}/actions/deactivate"),)),
    ("reactivate", MEMBER, "Allow downloads of an image again",
     (("POST", "/v2/images/{image_id}/actions/reactivate"),)),
    ("download_deactivated", ADMIN, "Download a deactivated image",
     (("GET", "/v2/images/{image_id}/file"),)),
    ("get_members", ANYONE, "List who an image is shared with",
     (("GET", "/v2/images/{image_id}/members"),)),
    ("get_member", ANYONE, "Show a membership",
     (("GET", "/v2/images/{image_id}/members/{member_id}"),)),
    ("add_member", MEMBER, "Share an image", (("POST", "/v2/images/{image_id}/members"),)),
    ("modify_member", ANYONE, "Accept or reject an image; only the member itself can",
     (("PUT", "/v2/images/{image_id}/members/{member_id}"),)),
    ("delete_member", MEMBER, "Stop sharing an image",
     (("DELETE", "/v2/images/{image_id}/members/{member_id}"),)),
    ("set_owner", ADMIN, "Create an image for, or give it to, another project",
     (("POST", "/v2/images"), ("PATCH", "/v2/images/{image_id}"))),
    ("set_image_location", SERVICE, "Say where the data of an image lies",
     (("PATCH", "/v2/images/{image_id}"), ("POST", "/v2/images/{image_id}/locations"))),
    ("get_image_location", SERVICE, "See where the data of an image lies",
     (("GET", "/v2/images/{image_id}"), ("GET", "/v2/images/{image_id}/locations"))),
    ("delete_image_location", ADMIN, "Remove one of several copies of an image's data",
     (("PATCH", "/v2/images/{image_id}"), ("DELETE", "/v2/stores/{store_id}/{image_id}"))),
    ("import_image", MEMBER, "Stage image data, import it, or have it fetched",
     (("PUT", "/v2/images/{image_id}/stage"), ("POST", "/v2/images/{image_id}/import"))),
    ("copy_image", ADMIN, "Copy an image's data to further stores",
     (("POST", "/v2/images/{image_id}/import"),)),
    ("copy_from", MEMBER, "Have image data fetched, API version 1", (("POST", "/v1/images"),)),
    ("tasks_api_access", ADMIN, "Use the tasks API",
     (("POST", "/v2/tasks"), ("GET", "/v2/tasks"), ("GET", "/v2/tasks/{task_id}"))),
    ("manage_image_cache", ADMIN, "See and change what is in the image cache",
     (("GET", "/v2/cache"), ("PUT", "/v2/cache/{image_id}"), ("DELETE", "/v2/cache"))),
    ("get_store_details", ADMIN, "Show how stores are set up",
     (("GET", "/v2/info/stores/detail"),)),
    *((name, default, description, ((method, f"/v2/metadefs/{path}"),))
      for name, default, description, method, path in _METADEFS),
)

RULES: list[policy.RuleDefault] = [
    policy.RuleDefault("admin_required", "role:admin",
                       "What the rules below mean by an administrator; that the role admin sees "
                       "the images of every project is fixed"),
    *(policy.DocumentedRuleDefault(
        name, default, description,
        [{"method": method, "path": path} for method, path in operations])
      for name, default, description, operations in _TABLE),
]


def list_rules() -> list[policy.RuleDefault]:
    """For oslopolicy-sample-generator."""
    return RULES


class Policy:
    """The rules in force: the defaults, as changed by the operator's policy file."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        policy_opts.set_defaults(conf, policy_file="glance-policy.yaml")
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.register_defaults(RULES)
        self._enforcer.suppress_default_change_warnings = True
        self._fresh_until = 0.0

    def allows(self, context: RequestContext, action: str,
               image: Mapping[str, Any] | None = None) -> bool:
        """Whether the caller may do `action`, to `image` where there is one."""
        if context.internal:
            return True
        if image is None:
            target: dict[str, Any] = {"project_id": context.project_id,
                                      "owner": context.project_id}
        else:
            target = {"project_id": image["owner"], "owner": image["owner"],
                      "visibility": image["visibility"], "image_id": image["id"]}
        return self._ask(action, target, context)

    def check(self, context: RequestContext, action: str,
              image: Mapping[str, Any] | None = None) -> None:
        """Raise `Forbidden`, naming the action, unless the caller may do it."""
        if not self.allows(context, action, image):
            raise exceptions.Forbidden(f"you are not allowed to {action} here")

    def passes(self, context: RequestContext, rule: str) -> bool:
        """Whether the caller passes a rule of the operator's own; False if there is none."""
        target = {"project_id": context.project_id, "owner": context.project_id}
        return bool(self._enforcer.enforce(rule, target, context.credentials()))

    def _ask(self, rule: str, target: dict[str, Any], context: RequestContext) -> bool:
        if rule not in self._enforcer.registered_rules:
            raise exceptions.ConfigurationError(f"policy rule {rule} does not exist")
        # Looking for a changed policy file costs as much as all else here: once a second will do.
        moment = time.monotonic()
        self._enforcer.use_conf = moment >= self._fresh_until
        if self._enforcer.use_conf:
            self._fresh_until = moment + 1.0
        return bool(self._enforcer.enforce(rule, target, context.credentials()))
