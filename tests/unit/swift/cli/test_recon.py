# SPDX-License-Identifier: Apache-2.0
"""swift-recon's sums, from answers that servers might give."""
import socket
import time

import pytest

from swift.common import node_client
from swift.common.node_client import NodeAnswer
from swift.inspection.recon import Recon, size_for_people

HOSTS = [("10.0.0.1", 6200), ("10.0.0.1", 6201), ("10.0.0.2", 6200)]


@pytest.fixture
def recon(monkeypatch):
    """A Recon that keeps what it said, and is answered `answers`."""
    def make(kind, answers):
        said = []
        made = Recon(kind, HOSTS, said.append, 1)
        monkeypatch.setattr(made, "ask", lambda path, hosts=None: {
            host: answers[host] for host in (HOSTS if hosts is None else hosts)})
        made.said = said
        return made
    return make


def disk(name, used, avail, mounted=True):
    return {"device": name, "used": used, "avail": avail, "size": used + avail, "mounted": mounted}


def test_disk_usage_asks_each_host_once(recon):
    first = [disk("sda", 10 ** 12, 3 * 10 ** 12), disk("sdb", 10 ** 12, 10 ** 12)]
    made = recon("object", {HOSTS[0]: first, HOSTS[1]: first,
                            HOSTS[2]: [disk("sdc", 10 ** 11, 9 * 10 ** 11),
                                       disk("sdd", 0, 0, mounted=False)]})
    made.disk_usage(2, 1, True)
    assert made.said[1:5] == ["Distribution Graph:", " 10%    1 " + "*" * 69,
                              " 25%    1 " + "*" * 69, " 50%    1 " + "*" * 69]
    assert made.said[5:8] == ["Disk usage: space used: 2 TB of 7 TB",
                              "Disk usage: space free: 4 TB of 7 TB",
                              "Disk usage: lowest: 10.00%, highest: 50.00%, avg: 30.00%"]
    assert made.said[8:] == ["TOP 2", "50.00%  10.0.0.1        sdb",
                             "25.00%  10.0.0.1        sda", "LOWEST 1",
                             "10.00%  10.0.0.2        sdc"]


def test_a_host_without_disks_is_told(recon):
    made = recon("object", {HOSTS[1]: [], HOSTS[2]: [disk("sda", 1, 1)]})
    made.disk_usage()
    assert "-> 10.0.0.1:6201: Error. No drive info available." in made.said
    made = recon("object", dict.fromkeys(HOSTS, []))
    made.disk_usage()
    assert made.said[-1] == "No hosts returned valid data."


def test_who_ended_a_pass_first_and_last(recon):
    now = time.time()
    stats = {"attempted": 3, "failure": 1, "success": 2}
    made = recon("container", {host: {
        "sharding_time": 2.0, "sharding_last": now - ago, "sharding_stats": stats}
        for host, ago in zip(HOSTS, (7200, 119, 86400 * 4 - 60), strict=True)})
    made.figures("sharding")
    assert "[attempted] low: 3, high: 3, avg: 3.0, total: 9, Failed: 0.0%, no_result: 0, " \
           "reported: 3" in made.said
    oldest, newest = made.said[-2:]
    assert oldest.startswith("Oldest") and oldest.endswith("(3 days ago) by 10.0.0.2:6200.")
    assert newest.startswith("Most recent") and "(1 minutes ago) by 10.0.0.1:6201." in newest


def test_who_has_had_no_pass_yet_is_no_failure(recon):
    stats = {"attempted": 3, "failure": 1, "success": 2}
    made = recon("container", {
        HOSTS[0]: {"replication_time": 2.9, "replication_last": 1e9, "replication_stats": stats},
        HOSTS[1]: {"replication_time": None, "replication_last": None, "replication_stats": None},
        HOSTS[2]: {"replication_time": 1.9, "replication_last": 0, "replication_stats": stats}})
    made.figures("replication")
    assert "[replication_failure] low: 1, high: 1, avg: 1.0, total: 2, Failed: 0.0%, " \
           "no_result: 0, reported: 2" in made.said
    # as OpenStack Swift counts: whole seconds, those begun left away
    assert "[replication_time] low: 1, high: 2, avg: 2.4, total: 4, Failed: 33.3%, " \
           "no_result: 1, reported: 2" in made.said
    assert made.said[-2] == "Oldest completion was NEVER by 10.0.0.2:6200."
    assert made.said[-1].endswith("by 10.0.0.1:6200.")


def test_auditors_figures_are_named_as_scripts_know_them(recon):
    passes = {name: 1 for name in ("audit_time", "bytes_processed", "passes", "errors",
                                   "quarantined")}
    made = recon("object", dict.fromkeys(HOSTS, {"object_auditor_stats_ALL": passes}))
    made.figures("auditor")
    assert [line.partition("]")[0] for line in made.said[1:6]] == [
        f"[ALL_{name}_last_path" for name in passes]
    assert made.said[6] == "[ZBF_audit_time_last_path] - No hosts returned valid data."
    made = recon("account", {host: {"account_audits_since": 1e9 + n}
                             for n, host in enumerate(HOSTS)})
    made.figures("auditor")
    oldest, middle, newest = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1e9 + n))
                              for n in range(3))
    assert made.said[-1] == f"[last_pass] oldest: {oldest}, newest: {newest}, avg: {middle}"


def test_a_server_may_tell_its_release(monkeypatch):
    names = iter(["object-server/2.38.3", "object-server", "container-server/2.38.3"])
    monkeypatch.setattr(node_client, "request", lambda *_: NodeAnswer(
        200, {"server": next(names)}, b""))
    said: list[str] = []
    Recon("object", HOSTS, said.append, 1).server_type()
    assert said[1:] == ["!! 10.0.0.2:6200 is a container-server",
                        "2/3 hosts ok, 0 error[s] while checking hosts."]


def test_a_host_that_does_not_answer_is_told():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said: list[str] = []
        made = Recon("object", [silent.getsockname()], said.append, 0.2)
        made.versions()
        made.server_type()
    assert said[1].startswith(f"-> http://127.0.0.1:{silent_port(said)}/recon/version: ")
    assert said[2] == "Versions not matched (), 1 error[s] while checking hosts."
    assert said[4] == "0/1 hosts ok, 1 error[s] while checking hosts."


def silent_port(said):
    return said[1].split(":")[2].partition("/")[0]


@pytest.mark.parametrize("size, text", [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12 kB"),
                                        (10 ** 27, "1000 YB")])
def test_sizes_for_people(size, text):
    assert size_for_people(size) == text
