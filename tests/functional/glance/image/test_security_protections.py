# SPDX-License-Identifier: Apache-2.0
"""G11: who may create, read, update and delete which custom properties."""

import pytest

from glance import exceptions
from glance.image.protections import Protections

RULES = """\
[x_secret_.*]
create = admin
read = admin
update = admin
delete = admin
[x_.*]
create = @
read = @
update = @
delete = !
[billing_code]
create = biller
read = biller, member
update = biller
delete = biller
[.*_nobody]
create = !
read = @
update = !
delete = !
"""


@pytest.fixture
def api(make_api, tmp_path):
    (tmp_path / "rules").write_text(RULES)
    return make_api(property_protection_file=tmp_path / "rules")


def test_the_first_rule_that_fits_decides(api):
    """A permissive rule behind a strict one, with overlapping expressions, opens nothing."""
    assert api.call("POST", "/v2/images", {"x_secret_a": "1"}).status_int == 403
    image = api.create(x_open="1")
    assert api.patch(image["id"], ("add", "/x_secret_a", "1")).status_int == 403
    assert api.patch(image["id"], ("replace", "/x_open", "2")).status_int == 200
    assert api.patch(image["id"], ("remove", "/x_open")).status_int == 403
    assert api.show(image["id"])["x_open"] == "2"


def test_what_no_rule_fits_is_nobodys(api):
    admin = api.as_("root:alpha:admin,member")
    for caller in (api, admin):
        assert caller.call("POST", "/v2/images", {"other": "1"}).status_int == 403
        assert caller.call("POST", "/v2/images", {"a_nobody": "1"}).status_int == 403
        assert caller.call("POST", "/v1/images", headers={
            "X-Image-Meta-Property-Other": "1"}).status_int == 403


def test_unknown_roles_are_denied(api):
    stranger = api.as_("eve:alpha:intern")
    image = api.as_("root:alpha:admin,biller,member").create(billing_code="7", x_secret_a="s")
    shown = stranger.show(image["id"])
    assert "billing_code" not in shown and "x_secret_a" not in shown
    assert api.show(image["id"])["billing_code"] == "7"


def test_hidden_properties_survive_what_others_do(api):
    """In both versions, also where everything that is not sent again is dropped."""
    admin = api.as_("root:alpha:admin,biller,member")
    image = admin.create(billing_code="7", x_secret_a="s", x_open="1")
    assert "x_secret_a" not in api.show(image["id"])
    headers = api.call("HEAD", f"/v1/images/{image['id']}").headers
    assert "x-image-meta-property-x_secret_a" not in headers
    assert api.patch(image["id"], ("replace", "/name", "new")).status_int == 200
    assert api.patch(image["id"], ("add", "/x_more", "1")).status_int == 200
    assert api.call("PUT", f"/v1/images/{image['id']}", headers={
        "X-Image-Meta-Property-X_open": "1", "X-Image-Meta-Property-X_more": "1",
        "X-Image-Meta-Property-Billing_code": "7"}).status_int == 200
    assert api.call("PUT", f"/v1/images/{image['id']}", headers={
        "X-Image-Meta-Property-X_secret_a": "mine"}).status_int == 403
    after = admin.show(image["id"])
    assert (after["x_secret_a"], after["billing_code"], after["x_open"]) == ("s", "7", "1")


def test_nobody_guesses_what_they_may_not_read(api):
    admin = api.as_("root:alpha:admin,member")
    image = admin.create(x_secret_a="s")
    assert admin.ids("?x_secret_a=s") == [image["id"]]
    assert api.ids("?x_secret_a=s") == []


def test_policy_rules_instead_of_roles(make_api, tmp_path):
    (tmp_path / "rules").write_text(
        "[a_.*]\ncreate = may_a\nread = @\nupdate = no_such_rule\ndelete = !\n")
    (tmp_path / "policy.yaml").write_text('"may_a": "role:member"\n')
    api = make_api(property_protection_file=tmp_path / "rules",
                   property_protection_rule_format="policies",
                   oslo_policy={"policy_file": tmp_path / "policy.yaml"})
    image = api.create(a_b="1")
    assert api.patch(image["id"], ("replace", "/a_b", "2")).status_int == 403
    assert api.as_("eve:alpha:reader").call("POST", "/v2/images", {"a_b": "1"}).status_int == 403


@pytest.mark.parametrize("text", ["[(]\ncreate = @\n", "[a]\ncreate = @,!\n", "nonsense", None])
def test_files_that_cannot_be(make_conf, tmp_path, text):
    if text is not None:
        (tmp_path / "rules").write_text(text)
    with pytest.raises(exceptions.ConfigurationError, match="property_protection_file"):
        Protections.from_conf(make_conf(DEFAULT={"property_protection_file": tmp_path / "rules"}),
                              lambda *_args: False)
