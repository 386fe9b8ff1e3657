# SPDX-License-Identifier: Apache-2.0
"""Limits of projects (parallel creates: tests/integration/nova/db/test_parallel.py)."""

import pytest

from nova import db, quota
from nova.db import quotas
from nova.db.models import ProjectLock, SecurityGroup
from nova.exception import OverQuota

pytestmark = pytest.mark.usefixtures("nova_db")


def test_limits_are_the_defaults_but_for_what_a_project_was_given():
    assert quota.limits("p") == quota.defaults()
    quotas.set_limits("p", {"cores": -1, "instances": 3, "no_longer_known": 4})
    assert quota.limits("p") == {**quota.defaults(), "cores": -1, "instances": 3}
    assert quota.limits("q") == quota.defaults()


def test_guard_counts_rows_of_the_project_alone():
    quotas.set_limits("p", {"security_groups": 2})
    for project in ("p", "p", "q", "q", "q"):
        with db.writer() as session:
            quota.guard(project, {"security_groups": 1})(session)
            session.add(SecurityGroup(project_id=project, name="g"))
    with pytest.raises(OverQuota) as caught, db.writer() as session:
        quota.guard("p", {"security_groups": 1})(session)
    assert caught.value.details == {"resource": "security_groups", "requested": 1, "used": 2,
                                    "limit": 2}
    assert quota.usage("p")["security_groups"] == 2
    with db.writer() as session:
        quota.guard("p", {"security_groups": 0})(session)
        assert session.get(ProjectLock, "p").generation >= 2


def test_guard_for_what_is_not_counted_is_a_mistake():
    with pytest.raises(ValueError, match="metadata_items"):
        quota.guard("p", {"metadata_items": 1})


def test_headroom_is_the_scarcest_resource():
    quotas.set_limits("p", {"instances": 10, "cores": 7, "ram": -1})
    assert quota.headroom("p", {"instances": 1, "cores": 2, "ram": 512}) == 3
    quotas.set_limits("p", {"instances": -1, "cores": -1})
    assert quota.headroom("p", {"instances": 1, "cores": 2, "ram": 512}) > 1000


def test_check_count():
    quota.check_count("metadata_items", 5, 5)
    quota.check_count("metadata_items", 500, quota.UNLIMITED)
    with pytest.raises(OverQuota, match="metadata_items"):
        quota.check_count("metadata_items", 6, 5)
