# SPDX-License-Identifier: Apache-2.0
"""Updates that wait on disk, and container servers that send them on to shards."""
import pytest

from swift.common import safe_pickle
from swift.common.storage_policy import StoragePolicy
from swift.common.timestamp import Timestamp
from swift.obj.updater import ObjectUpdater, Redirect

POLICY = StoragePolicy(0, "zero")
T1, T2 = Timestamp("1600000001.00000"), Timestamp("1600000002.00000")


class Ring:
    def get_nodes(self, account, container):
        return 7, [{"id": n, "ip": "127.0.0.1", "port": 1, "device": f"d{n}"} for n in range(3)]


class Updater(ObjectUpdater):
    """Servers answer what `says` has for the container: a verdict for each node."""

    def __init__(self, says):
        super().__init__({"log_address": "/none", "log_level": "CRITICAL"})
        self._ring = Ring()
        self.says, self.sent = says, []

    def _send(self, node, part, op, where, obj, headers):
        self.sent.append(("/".join(where), node["id"]))
        assert headers["X-Backend-Accept-Redirect"] == "true"
        return self.says["/".join(where)][node["id"]]


@pytest.fixture
def waiting(tmp_path):
    """An update of a/c/o that waits."""
    path = tmp_path / "async_pending/abc/0-1"
    path.parent.mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    path.write_bytes(safe_pickle.dumps({
        "op": "PUT", "account": "a", "container": "c", "obj": "o", "db_state": None,
        "headers": {"X-Timestamp": T1.internal, "X-Size": "1"}}))
    return path


def deliver(updater, waiting):
    outcome = updater.process(str(waiting), str(waiting.parents[2]), POLICY)
    return outcome, safe_pickle.loads(waiting.read_bytes()) if waiting.exists() else None


def test_who_has_it_is_not_asked_again(waiting):
    updater = Updater({"a/c": [True, False, True]})
    outcome, left = deliver(updater, waiting)
    assert outcome == "failures" and left["successes"] == [0, 2]
    updater.says["a/c"][1] = True
    updater.sent.clear()
    assert deliver(updater, waiting) == ("successes", None) and updater.sent == [("a/c", 1)]


def test_a_shard_gets_it_at_once(waiting):
    old, new = Redirect(".shards_a/old", T1), Redirect(".shards_a/new", T2)
    updater = Updater({"a/c": [old, new, True], ".shards_a/new": [True, True, True]})
    assert deliver(updater, waiting) == ("successes", None)
    assert [where for where, _ in updater.sent] == ["a/c"] * 3 + [".shards_a/new"] * 3


def test_a_shard_that_fails_is_remembered(waiting):
    shard = Redirect(".shards_a/s", T1)
    updater = Updater({"a/c": [True, shard, shard], ".shards_a/s": [True, False, True]})
    outcome, left = deliver(updater, waiting)
    assert outcome == "failures"
    assert (left["container_path"], left["successes"]) == (".shards_a/s", [0, 2])
    updater.says[".shards_a/s"][1] = True
    updater.sent.clear()
    assert deliver(updater, waiting)[0] == "successes" and updater.sent == [(".shards_a/s", 1)]


def test_bug_shards_that_send_it_back_and_forth(waiting):
    one, two = Redirect(".shards_a/1", T1), Redirect(".shards_a/2", T1)
    updater = Updater({"a/c": [one] * 3, ".shards_a/1": [two] * 3, ".shards_a/2": [one] * 3})
    assert deliver(updater, waiting)[1]["redirect_history"] == [".shards_a/1", ".shards_a/2"]
    _, left = deliver(updater, waiting)
    assert left["container_path"] == ".shards_a/1"        # by way of the root, once more
    updater.says[".shards_a/1"] = [True] * 3
    assert deliver(updater, waiting)[0] == "successes"


@pytest.mark.parametrize("location, quoted, path", [
    ("/.shards_a/c-1/o", "true", ".shards_a/c-1"),
    ("http://x:1/.shards_a/c%201/o/p", "true", ".shards_a/c 1"),
    ("/.shards_a/c%201/o", "false", ".shards_a/c%201"),
])
def test_where_a_redirect_leads(location, quoted, path):
    assert Redirect.of({"location": location, "x-backend-location-is-quoted": quoted,
                        "x-backend-redirect-timestamp": T1.internal}) == Redirect(path, T1)


@pytest.mark.parametrize("headers", [
    {}, {"location": "/a"}, {"location": "/a/c/o"}, {"location": "//c/o",
                                                     "x-backend-redirect-timestamp": "1"},
    {"location": "/a/c/o", "x-backend-redirect-timestamp": "soon"}])
def test_a_redirect_to_nowhere_is_no_redirect(headers):
    with pytest.raises(ValueError):
        Redirect.of(headers)


def test_devices_are_divided_among_processes(tmp_path):
    """Each is somebody's, and nobody has two; no more processes than devices."""
    for device in ("d0", "d1", "d2"):
        (tmp_path / device).mkdir()

    def updater(workers, share=(0, 1)):
        made = ObjectUpdater({"devices": str(tmp_path), "updater_workers": workers})
        made.share = share
        return made

    assert [updater(count).worker_count() for count in ("0", "1", "2", "9")] == [1, 1, 2, 3]
    assert updater("1").shared_devices() == ["d0", "d1", "d2"]
    assert [updater("2", (n, 2)).shared_devices() for n in (0, 1)] == [["d0", "d2"], ["d1"]]
