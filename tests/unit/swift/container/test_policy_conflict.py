# SPDX-License-Identifier: Apache-2.0
"""Which of two storage policies a container has, and how misplaced objects are queued."""
import json
import os

import pytest
from wsgi_call import call

from swift.common.timestamp import Timestamp
from swift.container.backend import ContainerBroker
from swift.container.misplaced_queue import (
    Misplaced,
    entry_name,
    entry_of_row,
    queue_container,
)
from swift.container.policy_conflict import other_is_right, settled_policy


def info(policy, put=10, deleted=0, changed=10, count=0):
    return {"storage_policy_index": policy, "put_timestamp": Timestamp(put).internal,
            "delete_timestamp": Timestamp(deleted).internal, "count": count,
            "status_changed_at": Timestamp(changed).internal}


@pytest.mark.parametrize("right, wrong", [
    (info(0), info(1, 11, changed=11)),                        # the one that was there first
    (info(0, 11, changed=11), info(1, 10, 12, 12)),            # what exists, not what is deleted
    (info(0, 10, 14, 14), info(1, 9, 13, 13)),                 # of deleted ones the later deletion
    (info(0, 20, 15, 20), info(1, 10, changed=10)),            # what was made anew
    (info(0, 20, 15, 20), info(1, 21, 15, 21)),                # made anew in both: the first
    (info(0, 30, 25, 30), info(1, 20, 15, 20)),                # made before the last deletion
    (info(0, 10, 12, 10, count=1), info(1, 11, changed=11)),   # what has objects is not deleted
])
def test_both_replicas_agree_which_is_right(right, wrong):
    assert other_is_right(wrong, right) and not other_is_right(right, wrong)


def test_nothing_to_decide():
    assert not other_is_right(info(1), info(1, 5, changed=5))
    assert not other_is_right(info(1), {"put_timestamp": "1"})
    assert settled_policy([]) is None and settled_policy([{"x-timestamp": "1"}]) is None


def test_the_policy_replicas_will_settle_on():
    heads = [{"x-backend-storage-policy-index": str(index),
              "x-backend-put-timestamp": Timestamp(put).internal,
              "x-backend-status-changed-at": Timestamp(put).internal}
             for index, put in ((1, 12), (0, 11), (1, 13))]
    assert settled_policy(heads) == 0


def test_entries_of_the_queue():
    row = {"name": "ö/b", "created_at": "1600000000.00000+5f5e100", "deleted": 0,
           "storage_policy_index": 1}
    assert queue_container(row["created_at"]) == "1599998400"
    entry = entry_of_row(row, "a", "c")
    assert entry["name"] == entry_name(1, "a", "c", "ö/b") == "1:/a/c/ö/b"
    found = Misplaced.of({"name": entry["name"], "hash": entry["etag"],
                          "content_type": entry["content_type"],
                          "last_modified": Timestamp(1600000000).isoformat})
    assert (found.policy, found.path, found.op) == (1, "/a/c/ö/b", "PUT")
    assert found.time == Timestamp(1600000000) == found.queued
    assert entry_of_row({**row, "deleted": 1}, "a", "c")["content_type"] == "application/x-delete"


@pytest.mark.parametrize("change", [
    {"name": "x:/a/c/o"}, {"name": "1:/a/c"}, {"name": "/a/c/o"}, {"content_type": "text/plain"},
    {"hash": "e"}, {"last_modified": "soon"}])
def test_an_entry_that_is_none(change):
    good = {"name": "1:/a/c/o", "hash": "1600000000.00000", "content_type": "application/x-put",
            "last_modified": "2020-09-13T12:26:40.000000"}
    assert Misplaced.of(good).policy == 1
    with pytest.raises(ValueError):
        Misplaced.of({**good, **change})


def test_misplaced_rows_and_their_point(broker):
    for policy in (0, 1):
        broker.put_object(f"o{policy}", Timestamp(5).internal, 1, "t", "e", 0, policy)
    assert [row["name"] for row in broker.misplaced_since(-1, 10)] == ["o1"]
    assert broker.has_other_policies()
    broker.set_reconciler_point(2)
    broker.set_policy_index(1, Timestamp(9).internal)
    stat = broker.stat()
    assert (stat["storage_policy_index"], stat["reconciler_sync_point"]) == (1, -1)
    assert [row["name"] for row in broker.misplaced_since(-1, 10)] == ["o0"]


def test_sync_settles_on_the_older_policy(app):
    call(app, "PUT", "/sda/1/a/c", {"X-Timestamp": Timestamp(20).internal,
                                    "X-Backend-Storage-Policy-Index": "1"})
    path = app.db_file("sda", "1", "a", "c")
    broker = ContainerBroker(path, "a", "c")
    for changed, policy in ((30, 1), (10, 0)):
        body = json.dumps(["sync", 1, "0" * 32, f"id{changed}", Timestamp(changed).internal,
                           Timestamp(changed).internal, "0", "", Timestamp(changed).internal, 0,
                           0]).encode()
        name_hash = os.path.basename(os.path.dirname(path))
        assert call(app, "REPLICATE", f"/sda/1/{name_hash}", {}, body)[0] == 200
        assert broker.stat()["storage_policy_index"] == policy
