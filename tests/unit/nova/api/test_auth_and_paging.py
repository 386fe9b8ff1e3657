# SPDX-License-Identifier: Apache-2.0
"""Who calls, as the filters see it, and pages of lists."""

import pytest
import webob

from nova import exception
from nova.api.openstack import paging
from nova.api.openstack.auth import KeystoneContext, NoAuth
from nova.api.openstack.compute.links import parse_time
from nova.api.openstack.wsgi import Request

CONFIRMED = {"keystone.token_auth": object(), "HTTP_X_IDENTITY_STATUS": "Confirmed",
             "HTTP_X_USER_ID": "u", "HTTP_X_PROJECT_ID": "p", "HTTP_X_ROLES": "member,Admin ,",
             "HTTP_X_AUTH_TOKEN": "t", "openstack.request_id": "req-1"}


def seen(filter_class, **environ):
    """Return the context an application below a filter finds."""
    found = []

    def app(environ, start_response):
        found.append(environ.get("nova.context"))
        start_response("200 OK", [])
        return [b""]
    base = webob.Request.blank("/").environ
    webob.Request({**base, **environ}).get_response(filter_class(app))
    return found[0]


def test_a_confirmed_token_makes_a_context():
    context = seen(KeystoneContext, **CONFIRMED)
    assert (context.user_id, context.project_id, context.auth_token, context.request_id) \
        == ("u", "p", "t", "req-1")
    assert context.roles == ["member", "Admin"] and context.is_admin is True
    assert seen(KeystoneContext, **{**CONFIRMED, "HTTP_X_ROLES": "member"}).is_admin is False


@pytest.mark.parametrize("change", [
    {"HTTP_X_IDENTITY_STATUS": "Invalid"}, {"HTTP_X_PROJECT_ID": ""},
    {"keystone.token_auth": None}])
def test_without_project_or_confirmation_nobody_calls(change):
    """K13: and without the token filter's own object in the environment."""
    environ = {**CONFIRMED, **change}
    if change.get("keystone.token_auth", 1) is None:
        del environ["keystone.token_auth"]
    assert seen(KeystoneContext, **environ) is None


def test_a_context_from_outside_is_thrown_away():
    assert seen(KeystoneContext, **{"nova.context": object()}) is None
    assert seen(NoAuth, **{"nova.context": object()}) is None


def test_noauth():
    context = seen(NoAuth, HTTP_X_AUTH_TOKEN="alice:alpha", HTTP_X_ROLES="admin")
    assert (context.user_id, context.project_id, context.is_admin) == ("alice", "alpha", False)
    assert seen(NoAuth, HTTP_X_AUTH_TOKEN="admin:x").is_admin is True
    assert seen(NoAuth, HTTP_X_AUTH_TOKEN="alone").project_id == "alone"
    assert seen(NoAuth) is None
    assert seen(NoAuth, HTTP_X_AUTH_TOKEN="\xff:\xfe") is None
    assert seen(NoAuth, HTTP_X_AUTH_TOKEN="a" * 20000) is None


def request(query):
    return Request(webob.Request.blank(f"/things?{query}").environ)


def test_limits():
    assert paging.limit_of(request("")) == paging.MAX_LIMIT
    assert paging.limit_of(request("limit=5&limit=7")) == 7
    assert paging.limit_of(request("limit=99999")) == paging.MAX_LIMIT
    for bad in ("-1", "x", "", "1.5", "%D9%A1", "9" * 40):
        with pytest.raises(exception.BadRequest, match="limit"):
            paging.limit_of(request(f"limit={bad}"))
    assert paging.integer_of(request("n=2147483647"), "n") == 2147483647
    with pytest.raises(exception.BadRequest, match="n:"):
        paging.integer_of(request("n=2147483648"), "n")


def test_sorting():
    names = {"name": "display_name", "id": "id"}
    default = (("created_at", "desc"),)
    assert paging.sort_of(request(""), names, default) == default
    assert paging.sort_of(request("sort_dir=asc"), names, default) == (("created_at", "asc"),)
    assert paging.sort_of(request("sort_key=name&sort_key=id&sort_dir=asc"), names, default) \
        == (("display_name", "asc"), ("id", "asc"))
    assert paging.sort_of(request("sort_key=name"), names, default) == (("display_name", "desc"),)
    for bad in ("sort_key=x", "sort_dir=x", "sort_key=name&sort_dir=x"):
        with pytest.raises(exception.BadRequest, match="sort_"):
            paging.sort_of(request(bad), names, default)


def test_the_next_link_keeps_the_question():
    req = request("limit=2&name=%C3%A9&marker=old")
    link = paging.next_link(req, "/things", "new")
    assert link == {"rel": "next",
                    "href": "http://localhost/things?limit=2&name=%C3%A9&marker=new"}


def test_times():
    assert parse_time("2026-01-01T02:00:00+02:00", "t").isoformat() == "2026-01-01T00:00:00"
    assert parse_time("2026-01-01T00:00:00Z", "t").tzinfo is None
    for bad in ("", "now", "2026-13-01", "0001-01-01T00:00:00+23:59"):
        with pytest.raises(exception.BadRequest, match="^t:"):
            parse_time(bad, "t")
