# SPDX-License-Identifier: Apache-2.0
"""What tools that ask every server do about one that does not answer in time."""
import json
from collections import Counter
from types import SimpleNamespace

import pytest

from swift.cli import reconciler_enqueue
from swift.common import node_client, storage_policy
from swift.common.exceptions import ConnectionTimeout, ResponseTimeout, expired
from swift.common.node_client import NodeAnswer
from swift.common.ring import Ring, RingBuilder
from swift.operations import dispersion
from swift.operations.account_audit import AccountAudit
from swift.operations.dispersion import Report

SWIFT_CONF = "[swift-hash]\nswift_hash_path_suffix = tests\n"


@pytest.fixture
def etc(tmp_path, monkeypatch):
    """Rings of three devices, all of whose servers are asked by `node_client`."""
    (tmp_path / "swift.conf").write_text(SWIFT_CONF)
    for name in ("account", "container", "object"):
        builder = RingBuilder(2, 3, 0)
        for n in range(3):
            builder.add_dev(dict(region=1, zone=n, ip="10.0.0.1", port=6200 + n, device=f"d{n}",
                                 weight=1))
        builder.rebalance(seed=name)
        builder.get_ring().save(str(tmp_path / f"{name}.ring.gz"))
    monkeypatch.setenv("SWIFT_DIR", str(tmp_path))
    monkeypatch.setattr(storage_policy, "_policies", None)
    return tmp_path


@pytest.fixture
def silent(monkeypatch):
    """The server of port 6201 never answers, that of 6202 not even takes the connection."""
    def request(host, port, *_args, **_kwargs):
        if port == 6200:
            return NodeAnswer(201, {"etag": "e"}, b"")
        raise expired(ResponseTimeout if port == 6201 else ConnectionTimeout, 5)
    monkeypatch.setattr(node_client, "request", request)
    monkeypatch.setattr(dispersion, "sleep", lambda seconds: None)


def reported(etc, kind, told):
    names = [f"dispersion_{n}" for n in range(20)]
    report = Report(SimpleNamespace(account="a"), storage_policy.policies().default, 1, 2,
                    told.append)
    ring = Ring(str(etc), ring_name=kind)
    return report._ask_all(kind, ring, ("c",) if kind == "object" else (), names)


def test_dispersion_counts_what_does_not_answer_as_missing(etc, silent):
    told: list[str] = []
    found = reported(etc, "object", told)
    assert (found["copies_found"], found["copies_expected"]) == (4, 12)
    assert found["missing_2"] == 4 and found["retries"] == 8
    assert Counter(line.split(":")[2].split("/")[0] for line in told) == {"6201": 4, "6202": 4}


def test_objects_that_miss_nothing_are_counted_as_well(etc, monkeypatch, capsys):
    """OpenStack Swift's report has this number of objects, and not of containers."""
    monkeypatch.setattr(node_client, "request", lambda *_, **__: NodeAnswer(200, {}, b""))
    results = {kind: (reported(etc, kind, []), Ring(str(etc), ring_name=kind))
               for kind in ("container", "object")}
    assert dispersion.show(results, True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["object"]["missing_0"] == 4 and "missing_0" not in shown["container"]
    assert dispersion.show(results, False) == 0
    assert "missing" not in capsys.readouterr().out


def test_nothing_to_ask_for_is_reported_too(etc, capsys):
    assert dispersion.show({"object": (None, Ring(str(etc), ring_name="object"))}, True) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"object": None} and "No objects" in err


def test_an_audit_goes_on_without_them(etc, silent):
    said: list[str] = []
    audit = AccountAudit(str(etc), said.append, 2, False)
    audit.audit("a", "c", "o")
    audit.wait()
    assert audit.counts["object exceptions"] == audit.counts["container exceptions"] == \
        audit.counts["account exceptions"] == 2
    assert audit.counts["objects checked"] == 1


def test_an_entry_two_servers_did_not_take_is_refused(etc, silent, capsys):
    assert reconciler_enqueue.main(["0", "/a/c/o", "1700000000.00000"]) == 1
    err = capsys.readouterr().err
    assert "6201" in err and "6202" in err and "too few" in err
