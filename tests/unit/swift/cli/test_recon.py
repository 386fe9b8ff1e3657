# SPDX-License-Identifier: Apache-2.0
"""swift-recon's sums, from answers that servers might give."""
import time

import pytest

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
        for host, ago in zip(HOSTS, (7200, 5, 86400 * 3), strict=True)})
    made.figures("sharding")
    assert "[attempted] low: 3, high: 3, avg: 3.0, total: 9, Failed: 0.0%, no_result: 0, " \
           "reported: 3" in made.said
    oldest, newest = made.said[-2:]
    assert oldest.startswith("Oldest") and oldest.endswith("(3 days ago) by 10.0.0.2:6200.")
    assert newest.startswith("Most recent") and "(5 seconds ago) by 10.0.0.1:6201." in newest


@pytest.mark.parametrize("size, text", [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12 kB"),
                                        (10 ** 27, "1000 YB")])
def test_sizes_for_people(size, text):
    assert size_for_people(size) == text
