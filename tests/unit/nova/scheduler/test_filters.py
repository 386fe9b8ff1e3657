# SPDX-License-Identifier: Apache-2.0
"""Filters, weighers and drivers: a snapshot in, hosts or reasons out."""

import time
import uuid

import pytest

from nova.exception import NoValidHost
from nova.scheduler import drivers, filters, weighers
from nova.scheduler.host_state import HostState, PlacementRequest


def host(name="h1", **changes):
    values = {"hypervisor_type": "QEMU", "cpu_arch": "x86_64", "vcpus_limit": 8,
              "memory_mb_limit": 4096, "disk_gb_limit": 100}
    return HostState(name, **{**values, **changes})


def request(**changes):
    values = {"instance_id": str(uuid.uuid4()), "project_id": "p", "vcpus": 1, "memory_mb": 512,
              "disk_gb": 10}
    return PlacementRequest(**{**values, **changes})


@pytest.mark.parametrize("name, state, asked, good", [
    ("Ram", {"memory_mb_used": 3584}, {}, True),
    ("Ram", {"memory_mb_used": 3585}, {}, False),
    ("Core", {"vcpus_used": 7}, {}, True),
    ("Core", {"vcpus_used": 8}, {}, False),
    ("Core", {"vcpus_used": 9}, {"vcpus": 0}, False),
    ("Disk", {"disk_gb_used": 90}, {}, True),
    ("Disk", {"disk_gb_used": 91}, {}, False),
    ("ComputeUp", {}, {}, True),
    ("ComputeUp", {"up": False}, {}, False),
    ("ComputeUp", {"disabled": True}, {}, False),
    ("AvailabilityZone", {}, {}, True),
    ("AvailabilityZone", {}, {"availability_zone": "nova"}, True),
    ("AvailabilityZone", {}, {"availability_zone": "other"}, False),
    ("ForcedHost", {}, {"forced_host": "h1"}, True),
    ("ForcedHost", {}, {"forced_host": "h2"}, False),
    ("RetryRefused", {}, {"refused_hosts": frozenset({"h1"})}, False),
    ("RetryRefused", {}, {"refused_hosts": frozenset({"h2"})}, True),
    ("SameHost", {}, {"same_host": frozenset({"h1", "h2"})}, True),
    ("SameHost", {}, {"same_host": frozenset()}, False),
    ("DifferentHost", {}, {"different_host": frozenset({"h1"})}, False),
    ("DifferentHost", {}, {"different_host": frozenset()}, True),
    ("ImageProperties", {}, {"image_properties": {"architecture": "amd64"}}, True),
    ("ImageProperties", {}, {"image_properties": {"hw_architecture": "aarch64"}}, False),
    ("ImageProperties", {}, {"image_properties": {"img_hv_type": "kvm"}}, True),
    ("ImageProperties", {}, {"image_properties": {"hypervisor_type": "xen"}}, False),
    ("ImageProperties", {"cpu_arch": None}, {"image_properties": {"architecture": "arm"}}, True),
])
def test_each_filter(name, state, asked, good):
    [one] = filters.load([name])
    assert (one.refuse(host(**state), request(**asked)) is None) is good


def test_refusals_are_counted_by_filter_and_the_user_sees_no_host():
    hosts = [host("down", up=False), host("small", memory_mb_limit=1),
             host("small2", memory_mb_limit=2), host("busy", vcpus_used=8)]
    with pytest.raises(NoValidHost) as caught:
        drivers.load("host_aware").select(hosts, request())
    error = caught.value
    assert error.details["refusals"] == {"ComputeUp": 1, "Ram": 2, "Core": 1}
    assert str(error) == ("No valid host was found. Of 4 hosts these filters refused: "
                          "ComputeUp 1, Ram 2, Core 1.")
    assert "small: 512 MiB of memory asked, 1 free" in error.details["operator"]


def test_no_hosts_at_all():
    for name in ("host_aware", "chance"):
        with pytest.raises(NoValidHost, match="There are no compute hosts"):
            drivers.load(name).select([], request())


def test_a_filter_of_somebody_elses():
    [one] = filters.load(["nova.scheduler.filters.capacity.Ram"])
    assert one.name == "Ram"
    with pytest.raises((ImportError, ValueError)):
        filters.load(["NoSuchFilter"])


def test_most_free_is_first_and_a_negative_factor_turns_it_round():
    hosts = [host("a", memory_mb_used=100), host("b"), host("c", memory_mb_used=4000)]
    spread = weighers.order(hosts, request(), weighers.load(["FreeMemory"]))
    packed = weighers.order(hosts, request(), weighers.load(["FreeMemory=-1"]))
    assert [one.host for one in spread] == ["b", "a", "c"]
    assert [one.host for one in packed] == ["c", "a", "b"]
    with pytest.raises(ValueError):
        weighers.load(["FreeMemory=much"])


@pytest.mark.parametrize("name, field", [
    ("FreeCores", "vcpus_used"), ("FreeDisk", "disk_gb_used"), ("FewestInstances", "instances")])
def test_other_weighers(name, field):
    hosts = [host("full", **{field: 5}), host("empty")]
    assert weighers.order(hosts, request(), weighers.load([name]))[0].host == "empty"


def test_equal_hosts_are_drawn_by_the_instances_id():
    hosts = [host(f"h{number}") for number in range(10)]
    asked = [request() for _ in range(40)]
    driver = drivers.load("host_aware")
    first = [driver.select(hosts, one)[0].host for one in asked]
    assert first == [driver.select(list(reversed(hosts)), one)[0].host for one in asked]
    assert len(set(first)) > 3


def test_chance_looks_at_no_numbers_but_at_what_is_up():
    hosts = [host("full", memory_mb_used=4096), host("down", up=False)]
    asked = request()
    found = drivers.load("chance").select(hosts, asked)
    assert [one.host for one in found] == ["full"]


def test_consume():
    one, asked = host(), request(vcpus=2)
    one.consume(asked)
    assert (one.free_vcpus, one.free_memory_mb, one.free_disk_gb, one.instances) == (
        6, 3584, 90, 1)


def test_three_hundred_hosts_are_cheap():
    """Placing 20 instances on 300 hosts costs less than 0.5 s of processor."""
    hosts = [host(f"h{number}", memory_mb_limit=65536, vcpus_limit=64) for number in range(300)]
    driver = drivers.load("host_aware")
    started = time.process_time()
    for _ in range(20):
        asked = request()
        driver.select(hosts, asked)[0].consume(asked)
    assert time.process_time() - started < 0.5
    assert sum(one.instances for one in hosts) == 20
