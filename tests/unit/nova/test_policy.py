# SPDX-License-Identifier: Apache-2.0
"""Policy: what is not allowed is denied, and so is what nobody defined."""

import threading

import pytest
from oslo_policy import policy as oslo_policy

from nova import policy
from nova.context import RequestContext


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(policy, "_defaults", {rule.name: rule for rule in policy.BASE})
    policy.reset()
    for name, check in (("t:look", policy.READER), ("t:change", policy.MEMBER),
                        ("t:rule_all", policy.ADMIN)):
        policy.register(name, check, name)
    yield
    policy.reset()


def caller(*roles, is_admin=False):
    return RequestContext(user_id="u", project_id="p", roles=list(roles), is_admin=is_admin,
                          overwrite=False)


@pytest.mark.parametrize("context, allowed", [
    (caller(), set()), (caller("reader"), {"t:look"}), (caller("stranger"), set()),
    (caller("member"), {"t:look", "t:change"}), (caller("admin"), set()),
    (caller(is_admin=True), {"t:look", "t:change", "t:rule_all"}),
], ids=["nobody", "reader", "stranger", "member", "role", "admin"])
def test_defaults(context, allowed):
    rules = {"t:look", "t:change", "t:rule_all"}
    assert {rule for rule in rules if policy.allows(context, rule)} == allowed


def test_security_t15_a_rule_nobody_defined_is_an_error_not_a_yes():
    """T15: asking an undefined rule raises, for an administrator too."""
    for context in (caller("member"), caller(is_admin=True)):
        with pytest.raises(oslo_policy.PolicyNotRegistered):
            policy.authorize(context, "t:look_")


@pytest.mark.parametrize("check", ["", "@", "  "])
def test_security_t20_no_default_is_the_empty_check(check):
    """T20: a default that lets everybody in cannot be defined."""
    with pytest.raises(ValueError):
        policy.register("t:open", check, "open")


def test_security_t19_target_is_never_what_the_caller_sent():
    """T19: without a target from the database it is the caller's own project."""
    policy.register("t:own", "project_id:%(project_id)s", "own")
    assert policy.allows(caller("member"), "t:own")
    assert not policy.allows(caller("member"), "t:own", {"project_id": "other"})


def test_security_t26_parallel_first_questions_never_pass_for_want_of_rules():
    """T26: 100 first requests on a cold process, none let through and none an error."""
    outcomes = []

    def ask():
        try:
            outcomes.append(policy.allows(caller("reader"), "t:rule_all"))
        except Exception as error:      # counted below
            outcomes.append(error)

    policy.reset()
    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [False] * 100


def test_operators_file_changes_a_rule(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text('"t:change": "rule:admin"\n')
    policy.CONF([], project="nova", default_config_files=[])
    policy.CONF.set_override("policy_file", str(path), "oslo_policy")
    try:
        policy.reset()
        assert not policy.allows(caller("member"), "t:change")
        assert policy.allows(caller("member"), "t:look")
    finally:
        policy.CONF.clear_override("policy_file", "oslo_policy")


def test_one_rule_is_defined_once():
    policy.register("t:look", policy.READER, "the same again")
    with pytest.raises(ValueError, match="twice"):
        policy.register("t:look", policy.ADMIN, "another")
