# SPDX-License-Identifier: Apache-2.0
"""swift-manage-shard-ranges on a database."""
import io
import json
import time

import pytest

from swift.cli.manage_shard_ranges import main
from swift.common.shards import ShardRange, State
from swift.container.backend import ContainerBroker
from swift.container.fresh_db import begin_sharding, finish_sharding
from swift.container.shard_table import Which

T = "1600000000.00000"


@pytest.fixture
def broker(tmp_path):
    """A database with ten objects."""
    path = tmp_path / "sda/containers/1/abc/" / ("0" * 32)
    path.mkdir(parents=True)
    made = ContainerBroker(str(path / f"{'0' * 32}.db"), "a", "c", keep=False)
    made.initialize("0000000001.00000", 0)
    made.merge_items([{"name": f"o{number}", "created_at": T, "size": 1, "content_type": "t/p",
                       "etag": "e", "deleted": 0, "storage_policy_index": 0}
                      for number in range(10)])
    return made


@pytest.fixture
def run(broker, capsys, monkeypatch):
    """(exit code, JSON on standard output or its text, standard error) of a sub-command."""
    def call(*args, answers="", before=()):
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        code = main([*before, broker.db_file, *args])
        out, err = capsys.readouterr()
        try:
            return code, json.loads(out), err
        except ValueError:
            return code, out, err
    return call


def test_find_show_and_replace(run, broker, tmp_path):
    code, found, err = run("find", "4", "--minimum-shard-size", "1")
    assert code == 0 and found == [
        {"index": 0, "lower": "", "upper": "o3", "object_count": 4},
        {"index": 1, "lower": "o3", "upper": "o7", "object_count": 4},
        {"index": 2, "lower": "o7", "upper": "", "object_count": 2}]
    assert "10 objects" in err and broker.shard_ranges() == []
    assert run("find", "4", "--minimum-shard-size", "3")[1][-1]["object_count"] == 6
    assert run("find", "20")[1] == []
    assert run("show")[1] == ""
    path = tmp_path / "ranges"
    path.write_text(json.dumps(found))
    assert run("replace", str(path))[0] == 0
    assert [one["state"] for one in run("show")[1]] == ["found"] * 3
    assert run("show", "--brief")[1] == [["", "o3"], ["o3", "o7"], ["o7", ""]]
    assert [one["lower"] for one in run("show", "--includes", "o5")[1]] == ["o3"]
    assert run("show", "--includes", "o%35", "-Q")[1][0]["lower"] == "o3"
    # What is there is deleted only when the operator says so.
    assert run("replace", str(path))[0] == 3 and run("replace", str(path), answers="q\n")[0] == 3
    assert run("replace", str(path), answers="s\nyes\n")[0] == 0
    assert len(run("show", "-d")[1]) == 6
    assert run("delete", "--force")[0] == 0 and run("show")[1] == ""


def test_find_and_replace_and_enable(run, broker):
    code, _, err = run("find_and_replace", "4", "--minimum-shard-size", "1", "--enable")
    assert code == 0 and "sharding" in err
    own = broker.own_range()
    assert (own.state, own.object_count, own.bytes_used) == (State.SHARDING, 10, 10)
    assert own.epoch and broker.metadata()["X-Container-Sysmeta-Sharding"][0] == "True"
    names = [shard.name for shard in broker.shard_ranges()]
    assert all(name.startswith(".shards_a/c-") for name in names)
    assert "nothing to do" in run("enable")[2] and broker.own_range().epoch == own.epoch
    assert begin_sharding(broker)
    code, out, _ = run("info")
    assert "db_state = sharding" in out and "Cleaving context" in out and "object_count = 10" in out


def test_what_does_not_fit_is_refused(run, broker, tmp_path):
    path = tmp_path / "ranges"
    for text in ("", "{}", "[1]", '[{"lower": ""}]', json.dumps([
            {"index": 0, "lower": "", "upper": "m", "object_count": 1}])):
        path.write_text(text)
        assert run("replace", str(path))[0] in (1, 2)
    assert run("replace", str(tmp_path / "none"))[0] == 2
    assert run("merge", str(path), "-y")[0] == 2
    assert run("enable")[0] == 1 and run("compact", "-y")[0] == 1
    assert main([str(tmp_path / "none.db"), "show"]) == 1
    assert main([str(path), "show"]) == 1
    assert path.exists() and broker.exists()                # nothing is put into quarantine
    assert run("find", "4", before=["--config", str(tmp_path / "none")])[0] == 1
    for bad in (["find", "0"], ["nonsense"], [], ["repair", "-y", "-n"],
                ["repair", "--min-shard-age", "-1"]):
        with pytest.raises(SystemExit) as exc:
            run(*bad)
        assert exc.value.code == 2


def give(broker, *bounds, state=State.ACTIVE, count=5, stamp=T, **more):
    made = [ShardRange(f".shards_a/c-x-{stamp}-{number}", stamp, *text.split("-"), state=state,
                       object_count=count, **more) for number, text in enumerate(bounds)]
    broker.merge_shard_ranges(made)
    return made


def test_merge_takes_what_is_newer(run, broker, tmp_path):
    old, _ = give(broker, "-m", "m-")
    path = tmp_path / "ranges"
    path.write_text(json.dumps([old.copy(object_count=9, meta_timestamp="1600000009.00000").row()]))
    assert run("merge", str(path), "-n")[0] == 3
    assert broker.shard_ranges()[0].object_count == 5
    assert run("merge", str(path), answers="yes\n")[0] == 0
    assert broker.shard_ranges()[0].object_count == 9
    path.write_text(json.dumps([old.copy(timestamp="1600000009.00000", upper="n").row()]))
    assert "overlap" in run("merge", str(path), "-y")[2]
    path.write_text(json.dumps([old.copy(timestamp="1600000010.00000", deleted=1).row()]))
    assert "gaps" in run("merge", str(path), "-y")[2]


@pytest.fixture
def sharded(broker):
    """The database, sharded, without shards yet."""
    broker.enable_sharding(T)
    assert begin_sharding(broker) and finish_sharding(broker, 10)
    return broker


def test_compact(run, sharded):
    give(sharded, "-m", "m-", count=5)
    assert "no shards small enough" in run("compact", "--shrink-threshold", "2",
                                           "--expansion-limit", "20")[2]
    args = ("compact", "--shrink-threshold", "6", "--expansion-limit", "20")
    assert run(*args, "-n")[0] == 3 and run(*args)[0] == 3
    assert run(*args, "-y")[0] == 0
    donor, acceptor = sorted(sharded.shard_ranges(), key=lambda shard: shard.upper, reverse=True)
    assert (donor.state, acceptor.state) == (State.SHRINKING, State.ACTIVE)
    assert (acceptor.lower, acceptor.upper) == ("", "")


def test_repair_overlaps(run, sharded, tmp_path):
    kept = give(sharded, "-k", "k-t", "t-", count=50)
    give(sharded, "-m", "m-", stamp="1600000001.00000")
    code, _, err = run("repair", "-y", before=["-v"])
    assert code == 0 and "2 shard ranges overlap" in err
    states = {shard.name: shard.state for shard in sharded.shard_ranges()}
    assert {name for name, state in states.items() if state == State.ACTIVE} == {
        shard.name for shard in kept}
    assert sorted(set(states.values())) == [State.ACTIVE, State.SHRINKING]
    assert "shrinking" in run("repair", "-y")[2] and run("repair", "-y")[0] == 1
    path = tmp_path / "ranges"
    path.write_text(json.dumps([shard.row() | {"state": "active"}
                                for shard in sharded.shard_ranges(Which())]))
    assert main([str(path), "analyze"]) == 0


def test_repair_leaves_young_ranges_and_families_alone(run, sharded):
    give(sharded, "-k", "k-t", "t-", count=50)
    give(sharded, "-m", "m-", stamp=f"{int(time.time())}.00000")
    assert "nothing to do" in run("repair", "-y")[2]
    assert run("repair", "-n", "--min-shard-age", "0")[0] == 3


def test_repair_gaps(run, sharded):
    give(sharded, "-k", "m-t")
    assert run("repair", "-y")[0] == 1
    assert run("repair", "--gaps", "-n")[0] == 3
    assert run("repair", "--gaps", "-y", "--max-expanding", "1")[0] == 0
    assert [(one.lower, one.upper) for one in sharded.shard_ranges()] == [("", "k"), ("k", "t")]
    assert run("repair", "--gaps", "-y")[0] == 0
    assert [(one.lower, one.upper) for one in sharded.shard_ranges()] == [("", "k"), ("k", "")]
    assert "no gaps" in run("repair", "--gaps")[2]


def test_a_shard_is_not_repaired(run, sharded):
    sharded.set_sysmeta("Quoted-Root", "a/other")
    assert run("repair", "-y")[0] == run("compact", "-y")[0] == 1


def test_sizes_of_a_configuration(broker, capsys, tmp_path):
    path = tmp_path / "container.conf"
    path.write_text("[container-sharder]\nshard_container_threshold = 8\nminimum_shard_size = 1\n"
                    "shrink_threshold = 1\n")
    assert main(["--config", str(path), broker.db_file, "find"]) == 0
    assert [one["object_count"] for one in json.loads(capsys.readouterr()[0])] == [4, 4, 2]
    assert main(["--config", str(path), __file__, "analyze"]) == 2    # no list of ranges
