# SPDX-License-Identifier: Apache-2.0
"""Tables of swift-ring-builder. Columns are those of OpenStack Swift's, for scripts cut them."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from swift.common.ring import RingBuilder, devices

_SEARCH = "Devices:    id  region  zone      ip address  port  replication ip  " \
    "replication port      name weight partitions balance meta"
_RULE = "-" * 74
Device = dict[str, Any]


def sorted_devices(devs: Iterable[Device]) -> list[Device]:
    """In the order an operator looks for them."""
    return sorted(devs, key=lambda d: (d["region"], d["zone"], d["ip"], d["device"]))


def overview(builder: RingBuilder) -> Iterator[str]:
    """All devices, with flags; the columns are as wide as they have to be."""
    gone = {d["id"] for d in builder._remove_devs}
    per_weight = builder._replicas_per_weight()
    rows = [("id", "region", "zone", "ip address:port", "replication ip:port", "name", "weight",
             "partitions", "balance", "flags")]
    metas = ["meta"]
    for d in sorted_devices(builder.all_devs()):
        rows.append((
            str(d["id"]), str(d["region"]), str(d["zone"]),
            f"{devices.bracket(d['ip'])}:{d['port']}",
            f"{devices.bracket(d['replication_ip'])}:{d['replication_port']}", d["device"],
            f"{d['weight']:.2f}", str(d["parts"]), f"{builder.balance_of(d, per_weight):.2f}",
            "DEL" if d["id"] in gone else ""))
        metas.append(d.get("meta", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, meta in zip(rows, metas, strict=True):
        head = "Devices:   " if row is rows[0] else " " * 11
        yield head + " ".join(text.rjust(width) for text, width in zip(
            row, widths, strict=True)) + f" {meta}"
    if len(rows) == 1:
        yield "There are no devices in this ring."


def found(builder: RingBuilder, devs: Iterable[Device]) -> Iterator[str]:
    """Some devices, addresses and ports in columns of their own."""
    per_weight = builder._replicas_per_weight()
    yield _SEARCH
    for d in devs:
        yield (f"        {d['id']:6d} {d['region']:7d} {d['zone']:5d} {d['ip']:>15} {d['port']:5d} "
               f"{d['replication_ip']:>15} {d['replication_port']:17d} {d['device']:>9} "
               f"{d['weight']:6.2f} {d['parts']:10d} "
               f"{builder.balance_of(d, per_weight):7.2f} {d.get('meta', '')}")


def tier_name(builder: RingBuilder, key: tuple) -> str:
    """r1z2-10.0.0.1/sda of the key of a device, and what is above it of shorter ones."""
    text = f"r{key[0]}" + (f"z{key[1]}" if len(key) > 1 else "")
    return text + (f"-{key[2]}" if len(key) > 2 else "") + (
        f"/{builder.devs[key[3]]['device']}" if len(key) > 3 else "")


def tiers(rows: list[tuple[str, tuple]], replicas: int) -> Iterator[str]:
    """How many partitions have 0, 1, ... replicas in a tier; `rows` as `dispersion` has them."""
    if not rows:
        return
    yield _RULE
    yield f"{'Tier':<28} {'Parts':>7} {'%':>6} {'Max':>6}" + "".join(
        f" {n:>5}" for n in range(replicas + 1))
    yield _RULE
    for name, (bad, parts, top, counts) in rows:
        yield (f"{name:<28} {parts:>7} {100 * bad / max(1, parts):6.2f} {top:>6}"
               + "".join(f" {count:>5}" for count in counts))
