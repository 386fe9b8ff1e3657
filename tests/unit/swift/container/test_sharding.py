# SPDX-License-Identifier: Apache-2.0
"""Databases that are sharded: their files, what they say they hold, and what servers answer."""
import json
import logging
import os
import sqlite3
from types import SimpleNamespace

import pytest
from wsgi_call import call

from swift.common.shards import ShardRange, State
from swift.container.backend import ContainerBroker
from swift.container.fresh_db import begin_sharding, finish_sharding
from swift.container.shard_broker import COLLAPSED, NOT_FOUND, SHARDED, SHARDING, UNSHARDED
from swift.container.shard_table import Which
from swift.container.sync import ContainerSync

T = "1600000000.00000"
EPOCH = "1600000100.00000"


def rows(*names, deleted=0):
    return [{"name": name, "created_at": T, "size": 3, "content_type": "t/p", "etag": "e",
             "deleted": deleted, "storage_policy_index": 0} for name in names]


def halves(state=State.ACTIVE, **more):
    return [ShardRange(".shards_a/c-x-1-0", T, "", "m", state=state, object_count=2,
                       bytes_used=6, **more),
            ShardRange(".shards_a/c-x-1-1", T, "m", "", state=state, object_count=1,
                       bytes_used=3, **more)]


def shard(broker, *names):
    """Fill it, give it two shards and a fresh file."""
    broker.merge_items(rows(*names))
    broker.merge_shard_ranges(halves(State.CLEAVED))
    broker.enable_sharding(EPOCH)
    assert begin_sharding(broker)


@pytest.mark.parametrize("why", ["", "versions", "shards"])
def test_what_container_sync_cannot_send_is_told(broker, tmp_path, caplog, why):
    """Rows in shards are in none of the databases it looks at: that must not look like success."""
    broker.update_metadata({"X-Container-Sync-To": ("http://127.0.0.1:1/v1/a/c", T),
                            "X-Container-Sync-Key": ("k", T)})
    if why == "versions":
        broker.update_metadata({"X-Container-Sysmeta-Versions-Container": ("%00v", T)})
    if why == "shards":
        shard(broker, "a", "b", "z")
    daemon = ContainerSync({"swift_dir": str(tmp_path), "bind_ip": "127.0.0.1"},
                           logging.getLogger("container-sync"))
    node = {"id": 0, "device": "sda", "ip": "127.0.0.1", "port": 6201}
    daemon._ring = SimpleNamespace(get_part_nodes=lambda _: [node])
    daemon.sync(broker.db_file, "sda", 1)
    assert [why in record.message for record in caplog.records] == ([True] if why else [])


def test_states_and_files(broker):
    assert broker.db_state() == UNSHARDED
    broker.update_metadata({"X-Container-Meta-A": ("1", T)})
    broker.merge_syncs([{"remote_id": "peer", "sync_point": 2}])
    shard(broker, "a", "b", "z")
    assert broker.db_state() == SHARDING and len(broker.files) == 2
    assert broker.db_file.endswith(f"_{EPOCH}.db") and broker.epoch == EPOCH
    assert (broker.stat()["object_count"], broker.stat()["bytes_used"]) == (3, 9)
    assert not broker.empty() and broker.items_since(-1, 10) == []
    assert broker.metadata()["X-Container-Meta-A"][0] == "1"
    assert broker.sync_point("peer") == 2 and broker.max_row() == 3
    assert not begin_sharding(broker)
    # A row that comes now has a number of its own, and goes to the fresh file.
    broker.put_object("late", T, 1, "t/p", "e")
    assert [row["ROWID"] for row in broker.items_since(-1, 10)] == [4]
    assert not finish_sharding(broker, 2) and broker.db_state() == SHARDING
    assert finish_sharding(broker, 3) and broker.db_state() == SHARDED
    assert [name for name in os.listdir(broker.db_dir) if name.endswith(".db")] == [
        os.path.basename(broker.db_file)]
    assert broker.stat()["object_count"] == 0                # neither shard is active
    broker.merge_shard_ranges(halves(State.ACTIVE))
    assert (broker.stat()["object_count"], broker.stat()["bytes_used"]) == (3, 9)
    assert not broker.empty()
    again = ContainerBroker(broker.files[0].replace(f"_{EPOCH}", ""))
    assert again.db_state() == SHARDED and again.path == "a/c"
    for half in halves():
        half.set_deleted(EPOCH)
        broker.merge_shard_ranges([half])
    assert broker.db_state() == COLLAPSED


def test_no_database(tmp_path):
    assert ContainerBroker(str(tmp_path / ("0" * 32 + ".db")), "a", "c").db_state() == NOT_FOUND


def test_pending_rows_go_to_the_fresh_file(broker):
    """A server that has the retiring file open when it is retired loses no row."""
    other = ContainerBroker(broker.db_file, "a", "c")
    other.put_object("a", T, 3, "t/p", "e")
    shard(broker)
    assert [row["name"] for row in broker.oldest().items_since(-1, 10)] == ["a"]
    other.put_object("b", T, 3, "t/p", "e")
    other.find_files()
    other.commit_pending()
    assert finish_sharding(broker, 1)
    assert [row["name"] for row in broker.items_since(-1, 10)] == ["b"]


def test_a_write_to_a_file_that_was_removed_meanwhile_is_repeated(broker):
    other = ContainerBroker(broker.db_file, "a", "c")
    shard(broker)
    assert finish_sharding(broker, -1)
    other.merge_items(rows("x"))
    assert [row["name"] for row in broker.items_since(-1, 10)] == ["x"]


def test_a_deleted_shard_still_knows_its_root(broker):
    broker.set_sysmeta("Quoted-Root", "a/r%C3%B6ot")
    assert not broker.is_root() and broker.root_path() == "a/röot"
    broker.delete_db("1700000000.00000")
    assert broker.root_path() == "a/röot"


def test_ranges_of_older_releases_are_read_and_completed(broker):
    with sqlite3.connect(broker.db_file) as conn:
        conn.executescript("DROP TABLE shard_range; CREATE TABLE shard_range (ROWID INTEGER PRIMARY"
                           " KEY AUTOINCREMENT, name TEXT, timestamp TEXT, lower TEXT, upper TEXT,"
                           " object_count INTEGER, bytes_used INTEGER, meta_timestamp TEXT,"
                           " deleted INTEGER, state INTEGER, state_timestamp TEXT, epoch TEXT);"
                           f"INSERT INTO shard_range VALUES (1, 's/c', '{T}', '', '', 1, 1, '{T}',"
                           f" 0, 40, '{T}', NULL)")
    [found] = broker.shard_ranges()
    assert (found.reported, found.tombstones) == (0, -1)
    broker.merge_shard_ranges([found.copy(timestamp=EPOCH, tombstones=4)])
    assert broker.shard_ranges()[0].tombstones == 4
    with sqlite3.connect(broker.db_file) as conn:
        conn.execute("DROP TABLE shard_range")
    assert broker.shard_ranges() == [] and not broker.has_other_ranges()
    broker.merge_shard_ranges([found])
    assert len(broker.shard_ranges()) == 1


def test_reclaim_forgets_deleted_ranges_but_not_the_own_one(broker):
    own = ShardRange("a/c", T, deleted=1)
    broker.merge_shard_ranges([own, *halves(deleted=1)])
    broker.reclaim("1700000000.00000", "1700000000")
    assert [found.name for found in broker.shard_ranges(Which(deleted=True, own=True))] == ["a/c"]


# -- the server --------------------------------------------------------------

def req(app, method, path="/sda/1/a/c", query="", body=b"", **headers):
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(app, method, path + query, {"X-Timestamp": T, **more}, body)


def put_ranges(app, ranges, path="/sda/1/a/c", **headers):
    return req(app, "PUT", path, body=json.dumps([one.row() for one in ranges]).encode(),
               X_Backend_Record_Type="shard", **headers)


def get_ranges(app, query="", **headers):
    status, answered, body = req(app, "GET", query=f"?format=json{query}",
                                 X_Backend_Record_Type="shard", **headers)
    assert status == 200, body
    assert answered["x-backend-record-type"] == "shard"
    return [row["name"][-1] if row["name"] != "a/c" else "own" for row in json.loads(body)]


def broker_of(app):
    return ContainerBroker(app.db_file("sda", "1", "a", "c"), "a", "c")


def test_ranges_put_and_got(app):
    req(app, "PUT")
    assert put_ranges(app, halves(State.CREATED))[0] == 202
    assert get_ranges(app) == ["0", "1"] and get_ranges(app, "&reverse=true") == ["1", "0"]
    assert get_ranges(app, "&includes=m") == ["0"] and get_ranges(app, "&marker=m") == ["1"]
    assert get_ranges(app, "&end_marker=m") == ["0"]
    assert get_ranges(app, "&states=active") == []
    assert get_ranges(app, "&states=updating") == ["0", "1"]
    assert get_ranges(app, "&states=listing") == ["own"]
    assert get_ranges(app, "&states=auditing") == ["0", "1"]
    put_ranges(app, [halves()[0].copy(timestamp=EPOCH, deleted=1), halves(State.ACTIVE)[1],
                     ShardRange("a/c", T, state=State.SHARDING, epoch=EPOCH)])
    assert get_ranges(app) == ["1"]
    assert get_ranges(app, X_Backend_Include_Deleted="true") == ["0", "1"]
    assert get_ranges(app, "&states=auditing") == ["1", "own"]
    assert get_ranges(app, "&states=listing") == ["1"]


def test_namespaces_are_just_bounds(app):
    req(app, "PUT")
    put_ranges(app, halves())
    _, headers, body = req(app, "GET", query="?format=json", X_Backend_Record_Type="shard",
                           X_Backend_Record_Shard_Format="namespace")
    assert headers["x-backend-record-shard-format"] == "namespace"
    assert json.loads(body)[0] == {"name": ".shards_a/c-x-1-0", "lower": "", "upper": "m"}
    assert req(app, "GET", query="?format=json&states=auditing", X_Backend_Record_Type="shard",
               X_Backend_Record_Shard_Format="namespace")[0] == 400
    assert req(app, "GET", query="?format=json&states=asleep",
               X_Backend_Record_Type="shard")[0] == 400


def test_auto_lists_objects_until_it_is_sharded(app):
    req(app, "PUT")
    broker = broker_of(app)
    shard(broker, "a", "b", "z")
    _, headers, body = req(app, "GET", query="?format=json&marker=b",
                           X_Backend_Record_Type="auto",
                           X_Backend_Override_Shard_Name_Filter="sharded")
    assert headers["x-backend-sharding-state"] == "sharding"
    assert headers["x-container-object-count"] == "3"
    assert "x-backend-override-shard-name-filter" not in headers and len(json.loads(body)) == 2
    _, headers, body = req(app, "GET", query="?format=json", X_Backend_Record_Type="object")
    assert [row["name"] for row in json.loads(body)] == ["a", "b", "z"]
    finish_sharding(broker, 3)
    _, headers, body = req(app, "GET", query="?format=json&marker=q", X_Backend_Record_Type="auto",
                           X_Backend_Override_Shard_Name_Filter="sharded")
    assert headers["x-backend-override-shard-name-filter"] == "true"
    assert headers["x-backend-sharding-state"] == "sharded" and len(json.loads(body)) == 2


def test_a_half_found_container_fills_up_with_itself(app):
    """While only the first shards are cleaved, the rest of the listing is in the container."""
    req(app, "PUT")
    broker = broker_of(app)
    shard(broker, "a", "b", "z")
    broker.merge_shard_ranges([halves(State.CLEAVED)[1].copy(timestamp=EPOCH, state=State.FOUND)])
    _, _, body = req(app, "GET", query="?format=json&states=listing",
                     X_Backend_Record_Type="auto")
    assert [(row["name"], row["lower"], row["upper"]) for row in json.loads(body)] == [
        (".shards_a/c-x-1-0", "", "m"), ("a/c", "m", "")]
    _, _, body = req(app, "GET", query="?format=json&states=listing&end_marker=c",
                     X_Backend_Record_Type="auto")
    assert len(json.loads(body)) == 1


ROW = {"X_Size": "3", "X_Content_Type": "t/p", "X_Etag": "e"}


def test_rows_are_sent_on_to_their_shard(app):
    req(app, "PUT")
    put_ranges(app, halves(State.CREATED))
    row = {**ROW, "X_Backend_Accept_Redirect": "true"}
    status, headers, _ = req(app, "PUT", "/sda/1/a/c/q", **row)
    assert (status, headers["location"]) == (301, "/.shards_a/c-x-1-1/q")
    assert headers["x-backend-redirect-timestamp"] == T
    assert req(app, "DELETE", "/sda/1/a/c/b", X_Backend_Accept_Redirect="true")[0] == 301
    assert req(app, "PUT", "/sda/1/a/c/q ", **row)[0] == 201          # an old sender
    status, headers, _ = req(app, "PUT", "/sda/1/a/c/q \xc3\xbc", **row,
                             X_Backend_Accept_Quoted_Location="true")
    assert (status, headers["location"]) == (301, "/.shards_a/c-x-1-1/q%20%C3%BC")
    assert req(app, "PUT", "/sda/1/a/c/q", **ROW)[0] == 201


def test_shards_are_made_only_on_purpose(app):
    path = "/sda/1/.shards_a/c"
    assert req(app, "PUT", path + "/o", **ROW)[0] == 404
    assert put_ranges(app, halves(), path)[0] == 404
    assert put_ranges(app, halves(), path, X_Backend_Auto_Create="true")[0] == 400
    made = {"X_Backend_Auto_Create": "true", "X_Backend_Storage_Policy_Index": "1",
            "X_Container_Sysmeta_Shard_Quoted_Root": "a/c"}
    assert put_ranges(app, halves(), path, **made)[0] == 201
    assert put_ranges(app, halves(), path, **made)[0] == 202
    status, headers, _ = req(app, "HEAD", path)
    assert status == 204 and headers["x-backend-storage-policy-index"] == "1"
    assert headers["x-container-sysmeta-shard-quoted-root"] == "a/c"
    assert req(app, "PUT", "/sda/1/.other/c/o", **ROW)[0] == 201


def test_update_takes_rows_in_bulk(app):
    assert req(app, "UPDATE", body=b"[]")[0] == 404
    req(app, "PUT")
    assert req(app, "UPDATE", body=json.dumps(rows("a", "b")).encode())[0] == 202
    assert req(app, "GET")[2] == b"a\nb\n"


@pytest.mark.parametrize("body", [
    b"", b"{}", b"7", b"null", b"[1]", b'[{"name": "a"}]', b"\xff", b"[" * 5000,
    json.dumps([{**halves()[0].row(), "state": 99}]).encode(),
    json.dumps([{**rows("a")[0], "name": 3}]).encode(),
    json.dumps([{**rows("a")[0], "created_at": "soon"}]).encode(),
    json.dumps([{**rows("a")[0], "size": None}]).encode()])
def test_bodies_that_mean_nothing_are_refused(app, body):
    req(app, "PUT")
    assert req(app, "PUT", body=body, X_Backend_Record_Type="shard")[0] in (400, 202)
    assert req(app, "UPDATE", body=body)[0] in (400, 202)
    assert req(app, "GET")[0] == 204 and get_ranges(app) == []


# -- replication -------------------------------------------------------------

def test_a_deeply_nested_body_is_refused(app):
    assert call(app, "REPLICATE", f"/sda/1/{'0' * 32}", {}, b"[" * 5000)[0] == 400


def replicate(app, op, *args):
    name_hash = os.path.basename(os.path.dirname(app.db_file("sda", "1", "a", "c")))
    return req(app, "REPLICATE", f"/sda/1/{name_hash}", body=json.dumps([op, *args]).encode())


def test_peers_exchange_ranges(app):
    req(app, "PUT")
    own = ShardRange("a/c", T, state=State.SHARDING, epoch=EPOCH)
    sent = [one.row() for one in [own, *halves()]]
    assert replicate(app, "merge_shard_ranges", sent, "id")[0] == 202
    found = json.loads(replicate(app, "get_shard_ranges")[2])
    assert sorted(found, key=str) == sorted(sent, key=str)
    anew = ShardRange("a/c", EPOCH, state=State.ACTIVE)
    assert replicate(app, "merge_shard_ranges", [anew.row()], "id")[0] == 202
    assert broker_of(app).own_range().epoch == EPOCH
    assert replicate(app, "merge_shard_ranges", [{"name": "x"}], "id")[0] == 400


def test_a_file_with_an_epoch_arrives(app, broker):
    shard(broker, "a")
    assert finish_sharding(broker, 1)
    target = app.db_file("sda", "1", "a", "c")
    device = app.device_path("sda")
    os.makedirs(device + "/tmp", exist_ok=True)
    name_hash = os.path.basename(target)[:-3]
    for name, status in (("../x", 400), ("f" * 32 + ".db", 400),
                         (f"{name_hash}_{EPOCH}.db", 204), (f"{name_hash}_{EPOCH}.db", 404)):
        if os.path.exists(broker.db_file):
            os.rename(broker.db_file, device + "/tmp/some-id")
        assert replicate(app, "complete_rsync", "some-id", name)[0] == status, name
    assert broker_of(app).db_state() == SHARDED
    assert replicate(app, "rsync_then_merge", "some-id", name)[0] == 404
