# SPDX-License-Identifier: Apache-2.0
"""The fake hypervisor keeps the contract, and its guests outlive it."""

import dataclasses
import json
import uuid

import pytest

from nova import exception
from nova.compute.states import PowerState
from nova.image.model import Image
from nova.virt.driver import AttachedVolume, BootImages, InstanceSpec, RebootType
from nova.virt.fake import FakeDriver
from nova.volume.model import VolumeConnection

IMAGES = BootImages(Image(id=str(uuid.uuid4())))


def spec(**changes):
    values = {"id": str(uuid.uuid4()), "project_id": "p", "user_id": "u", "display_name": "one",
              "hostname": "one", "vcpus": 1, "memory_mb": 128, "root_gb": 1}
    return InstanceSpec(**{**values, **changes})


@pytest.fixture
def driver(tmp_path):
    made = FakeDriver("host1", tmp_path / "guests")
    made.init_host()
    return made


def test_guests_survive_a_restart(driver):
    one = spec()
    driver.spawn(one, IMAGES, None)
    before = driver.get_info(one.id)
    again = FakeDriver("host1", driver.directory)
    again.init_host()
    assert again.list_instances() == {one.id: before}
    again.spawn(one, IMAGES, None)
    assert again.get_info(one.id).process_id == before.process_id


def test_destroy_is_idempotent(driver):
    one = spec()
    driver.spawn(one, IMAGES, None)
    driver.destroy(one.id)
    driver.destroy(one.id)
    assert driver.list_instances() == {}
    with pytest.raises(exception.InstanceNotFound):
        driver.get_info(one.id)


def test_power(driver):
    one = spec()
    driver.spawn(one, IMAGES, None)
    driver.power_off(one.id)
    driver.power_off(one.id)
    assert driver.get_info(one.id).power_state == PowerState.SHUTDOWN
    driver.power_on(one)
    first = driver.get_info(one.id).process_id
    driver.power_on(one)
    assert driver.get_info(one.id).process_id == first
    driver.reboot(one, RebootType.HARD)
    assert driver.get_info(one.id).process_id != first


def test_deaf_guest_is_stopped_after_the_timeout_and_not_before(driver):
    one = spec()
    driver.spawn(one, IMAGES, None)
    driver.knobs.deaf = True
    driver.power_off(one.id, timeout=5, keep_waiting=lambda: False)
    assert driver.get_info(one.id).running
    driver.power_off(one.id, timeout=0.1)
    assert not driver.get_info(one.id).running


@pytest.mark.parametrize("name, error", [
    ("HypervisorError", exception.HypervisorError),
    ("ImageUnacceptable", exception.ImageUnacceptable),
    ("SecretInside", RuntimeError)])
def test_ordered_failures(driver, name, error):
    driver.knobs = dataclasses.replace(driver.knobs, spawn_error=name, spawn_failures=1,
                                       spawn_leaves_remains=True)
    one = spec()
    with pytest.raises(error):
        driver.spawn(one, IMAGES, None)
    assert not driver.get_info(one.id).running
    driver.destroy(one.id)
    driver.spawn(one, IMAGES, None)
    assert driver.get_info(one.id).running


def test_knobs_file_reaches_another_process(driver):
    other = FakeDriver("host1", driver.directory)
    driver.set_knobs(list_error="HypervisorError")
    with pytest.raises(exception.HypervisorError):
        other.list_instances()


def test_id_cannot_name_another_file(driver):
    with pytest.raises(ValueError):
        driver.destroy("../../etc/passwd")


def test_audit_names_both_sides(driver):
    here, gone = spec(), spec()
    driver.spawn(here, IMAGES, None)
    problems = {problem.as_tuple()[:2] for problem in driver.audit([gone.id])}
    assert problems == {("guest", here.id), ("guest", gone.id)}


def volume(device="vdb", **more):
    one = str(uuid.uuid4())
    return AttachedVolume(VolumeConnection(one, "file", 1, path=f"/volume-{one}"), device, **more)


def test_volumes_come_and_go(driver):
    one, first, second = spec(), volume(), volume("vdc")
    driver.spawn(dataclasses.replace(one, volumes=(first,)), BootImages(), None)
    for _ in range(2):
        driver.attach_volume(one.id, second)
    again = FakeDriver("host1", driver.directory)
    assert again.volumes_in_use() == {
        one.id: {first.volume_id: "vdb", second.volume_id: "vdc"}}
    for _ in range(2):
        again.detach_volume(one.id, first.volume_id)
    assert driver.volumes_in_use() == {one.id: {second.volume_id: "vdc"}}
    with pytest.raises(exception.HypervisorError):
        driver.attach_volume(one.id, volume("vdc"))
    driver.power_off(one.id)
    assert driver.volumes_in_use() == {}
    driver.detach_volume(str(uuid.uuid4()), second.volume_id)


def test_greedy_guest_keeps_its_volume_until_it_is_off(driver):
    one, first = spec(), volume()
    driver.spawn(dataclasses.replace(one, volumes=(first,)), IMAGES, None)
    driver.knobs.greedy = True
    with pytest.raises(exception.HypervisorError):
        driver.detach_volume(one.id, first.volume_id, timeout=0.1)
    assert driver.volumes_in_use() == {one.id: {first.volume_id: "vdb"}}
    driver.power_off(one.id)
    driver.detach_volume(one.id, first.volume_id)


def test_a_guest_of_an_earlier_release_has_no_volumes(driver):
    one, first = spec(), volume()
    driver.spawn(one, IMAGES, None)
    path = driver.directory / f"{one.id}.guest"
    guest = json.loads(path.read_bytes())
    del guest["volumes"]
    path.write_text(json.dumps(guest))
    driver.attach_volume(one.id, first)
    assert driver.volumes_in_use() == {one.id: {first.volume_id: "vdb"}}
