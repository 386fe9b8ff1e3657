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
    ("get_store_details", ADMIN, "Show how stores are set up",
     (("GET", "/v2/info/stores/detail"),)),
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

    def _ask(self, rule: str, target: dict[str, Any], context: RequestContext) -> bool:
        if rule not in self._enforcer.registered_rules:
            raise exceptions.ConfigurationError(f"policy rule {rule} does not exist")
        # Looking for a changed policy file costs as much as all else here: once a second will do.
        moment = time.monotonic()
        self._enforcer.use_conf = moment >= self._fresh_until
        if self._enforcer.use_conf:
            self._fresh_until = moment + 1.0
        return bool(self._enforcer.enforce(rule, target, context.credentials()))
