# SPDX-License-Identifier: Apache-2.0
"""Who may do what: defaults in code, changed by an operator's policy file.

    policy.register("servers:create", policy.MEMBER, "Create servers")      # at import time
    policy.authorize(context, "servers:create")                             # in a handler

A rule that is asked and was never registered is an error that denies, not a quiet yes.  Rules
say what a role may do; *whose* things it sees is the query's business: every query is scoped.
"""

import importlib
import threading
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import opts as policy_opts
from oslo_policy import policy

from nova.context import RequestContext

CONF = cfg.CONF

ADMIN = "rule:admin"        # sees and changes every project's
MEMBER = "rule:member"      # changes its own project's
READER = "rule:reader"      # looks at its own project's

BASE = [
    policy.RuleDefault("admin", "is_admin:True", "An administrator of the cloud"),
    policy.RuleDefault("member", "role:member or rule:admin",
                       "Someone who may change what the project has"),
    policy.RuleDefault("reader", "role:reader or role:member or rule:admin",
                       "Someone who may look at what the project has"),
]

_defaults: dict[str, policy.RuleDefault] = {rule.name: rule for rule in BASE}
_enforcer: policy.Enforcer | None = None
_lock = threading.Lock()


def register(name: str, check: str, description: str) -> None:
    """Define a rule and its default.  ValueError when the default lets everybody in."""
    if not check.strip() or check.strip() == "@":
        raise ValueError(f"{name}: a rule that is always true is none")
    rule = policy.RuleDefault(name, check, description)
    with _lock:
        known = _defaults.setdefault(name, rule)
        if known.check_str != check:
            raise ValueError(f"{name} is defined twice")
        if _enforcer is not None and name not in _enforcer.registered_rules:
            _enforcer.register_default(rule)


def rules() -> dict[str, policy.RuleDefault]:
    """Return every rule with its default, by name."""
    return dict(_defaults)


def enforcer() -> policy.Enforcer:
    """Return the one enforcer, never before its rules are loaded."""
    global _enforcer
    if _enforcer is None:
        with _lock:
            if _enforcer is None:
                made = policy.Enforcer(CONF)
                made.suppress_deprecation_warnings = True
                made.suppress_default_change_warnings = True
                made.register_defaults(list(_defaults.values()))
                try:
                    made.load_rules()
                except cfg.NotInitializedError:     # no daemon: a test, a tool
                    CONF([], project="nova", default_config_files=[])
                    made.load_rules()
                _enforcer = made
    return _enforcer


def reset() -> None:
    """Forget loaded rules; the next question loads them anew (SIGHUP, tests)."""
    global _enforcer
    with _lock:
        _enforcer = None


def authorize(context: RequestContext, rule: str, target: Mapping[str, Any] | None = None) -> None:
    """Let the caller pass or raise ``oslo_policy.policy.PolicyNotAuthorized``.

    ``target`` is made of what the database says, never of what the caller sent; without one it
    is the caller's own project.  PolicyNotRegistered for a rule nobody defined.
    """
    credentials = {
        "user_id": context.user_id, "project_id": context.project_id,
        "roles": list(context.roles), "is_admin": bool(context.is_admin)}
    if target is None:
        target = {"project_id": context.project_id, "user_id": context.user_id}
    enforcer().authorize(rule, dict(target), credentials, do_raise=True)


def allows(context: RequestContext, rule: str, target: Mapping[str, Any] | None = None) -> bool:
    """Tell whether :func:`authorize` would let the caller pass."""
    try:
        authorize(context, rule, target)
    except policy.PolicyNotAuthorized:
        return False
    return True


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return oslo.policy's options for the sample configuration."""
    return policy_opts.list_opts()


def list_rules() -> list[policy.RuleDefault]:
    """Return all rules for the sample policy file (oslopolicy-sample-generator)."""
    for api in ("compute", "network", "volume"):
        importlib.import_module(f"nova.api.openstack.{api}.policies")
    return [_defaults[name] for name in sorted(_defaults)]
