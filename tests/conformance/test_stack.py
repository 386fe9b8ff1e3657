# SPDX-License-Identifier: Apache-2.0
"""The default stack through the clients everybody has: openstack, swift, openstacksdk, ssh."""
import json
import os
import re
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

CONSOLE_TIMEOUT = 90
VOLUME_TIMEOUT = 120


def test_up_ends_with_a_guest_at_its_banner(stack):
    assert "snakestack guest" in stack.first_up
    assert re.search(r"log in: +ssh -i \S+ root@10\.\d+\.0\.\d+", stack.first_up)
    rows = stack.openstack("server", "list")
    assert [(row["Name"], row["Status"]) for row in rows] == [("first", "ACTIVE")]
    assert len(stack.host.qemu_pids()) == 1
    assert "login:" in stack.do("console", "log", "show", "first")


def test_status_says_what_runs(stack):
    found = stack.status()
    assert all(row["answers"] for row in found["daemons"].values()), found
    assert found["compute"] == "libvirt"
    assert len(found["guests"]) == 1


def test_images(stack, tmp_path):
    content = b"\x00snake" * 50_000
    source = tmp_path / "image.raw"
    source.write_bytes(content)
    made = stack.openstack("image", "create", "--file", str(source), "--disk-format", "raw",
                           "--container-format", "bare", "--property", "colour=green", "picture")
    assert made["status"] == "active"
    assert "picture" in [row["Name"] for row in stack.openstack("image", "list")]
    shown = stack.openstack("image", "show", "picture")
    assert shown["size"] == len(content)
    assert shown["properties"]["colour"] == "green"
    stack.do("image", "save", "--file", str(tmp_path / "copy"), "picture")
    assert (tmp_path / "copy").read_bytes() == content
    stack.do("image", "delete", "picture")
    assert "picture" not in [row["Name"] for row in stack.openstack("image", "list")]


def wait_console(stack, name, text):
    deadline = time.monotonic() + CONSOLE_TIMEOUT
    while text not in (console := stack.do("console", "log", "show", name)):
        assert time.monotonic() < deadline, f"no {text!r} in {CONSOLE_TIMEOUT} s:\n{console}"
        time.sleep(1)


def test_a_server_from_key_pair_to_ssh_on_its_floating_ip(stack, tmp_path):
    key = tmp_path / "key"
    key.write_text(stack.do("keypair", "create", "mine"))
    key.chmod(0o600)
    stack.do("security", "group", "create", "web")
    stack.do("security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "22",
             "web")
    user_data = tmp_path / "user-data"
    user_data.write_text("#!/bin/sh\necho user-data was here\n")
    stack.do("server", "create", "--image", "snakestack-guest", "--flavor", "m1.nano",
             "--key-name", "mine", "--security-group", "web", "--user-data", str(user_data),
             "--wait", "web1")
    shown = stack.openstack("server", "show", "web1")
    assert shown["status"] == "ACTIVE"
    floating = stack.openstack("floating", "ip", "create", pool(stack))["floating_ip_address"]
    stack.do("server", "add", "floating", "ip", "web1", floating)
    wait_console(stack, "web1", "user-data was here")
    assert stack.wait_ssh(key, floating, "hostname").strip() == "web1"
    # the group lets in nothing but ssh
    refused = stack.host.client.run(["busybox", "ping", "-c", "1", "-W", "3", floating])
    assert refused.returncode != 0

    stack.do("server", "stop", "web1")
    wait_status(stack, "web1", "SHUTOFF")
    stack.do("server", "start", "web1")
    wait_status(stack, "web1", "ACTIVE")
    stack.wait_ssh(key, floating, "true")
    stack.do("server", "reboot", "--hard", "--wait", "web1")
    assert stack.wait_ssh(key, floating, "hostname").strip() == "web1"

    stack.do("server", "delete", "--wait", "web1")
    assert "web1" not in [row["Name"] for row in stack.openstack("server", "list")]
    stack.do("floating", "ip", "delete", floating)
    stack.do("security", "group", "delete", "web")
    stack.do("keypair", "delete", "mine")
    assert len(stack.host.qemu_pids()) == 1


def pool(stack) -> str:
    """Name of the network floating addresses come from."""
    rows = stack.openstack("network", "list", "--external")
    return rows[0]["Name"]


def wait_status(stack, name, wanted, timeout=90):
    deadline = time.monotonic() + timeout
    while (status := stack.openstack("server", "show", name)["status"]) != wanted:
        assert status != "ERROR" and time.monotonic() < deadline, f"{name} is {status}"
        time.sleep(1)


def test_network_lists(stack):
    networks = stack.openstack("network", "list")
    subnets = stack.openstack("subnet", "list")
    ports = stack.openstack("port", "list")
    assert networks and subnets and ports
    first = stack.openstack("server", "show", "first")
    address = next(iter(first["addresses"].values()))[0]
    assert address in json.dumps(ports)


def wait_volume(stack, name, status):
    deadline = time.monotonic() + VOLUME_TIMEOUT
    while (found := stack.openstack("volume", "show", name))["status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return found


@pytest.mark.whole
def test_volumes_of_a_real_server(stack):
    """Made, copied, attached to the running first server and taken from it, booted from."""
    assert stack.openstack("volume", "create", "--size", "1", "data")["size"] == 1
    wait_volume(stack, "data", "available")
    stack.client("openstack", "server", "add", "volume", "first", "data")
    [attached] = wait_volume(stack, "data", "in-use")["attachments"]
    [shown] = stack.openstack("server", "volume", "list", "first")
    assert (shown["Device"], shown["Server ID"]) == (attached["device"], attached["server_id"])
    stack.client("openstack", "server", "remove", "volume", "first", "data")
    wait_volume(stack, "data", "available")
    stack.client("openstack", "volume", "snapshot", "create", "--volume", "data", "then")
    server = stack.openstack("server", "create", "--image", "snakestack-guest",
                             "--boot-from-volume", "1", "--flavor", "m1.nano", "--wait", "booted")
    assert server["status"] == "ACTIVE"
    [root] = server["volumes_attached"]
    stack.client("openstack", "server", "delete", "--wait", "booted")
    stack.client("openstack", "volume", "snapshot", "delete", "then")
    stack.client("openstack", "volume", "delete", root["id"], attached["volume_id"])


def test_containers_and_objects(stack, tmp_path):
    (tmp_path / "note.txt").write_text("remember\n")
    stack.do("container", "create", "box")
    stack.do("object", "create", "box", str(tmp_path / "note.txt"), "--name", "note")
    assert containers(stack) == ["box"]
    assert [row["Name"] for row in stack.openstack("object", "list", "box")] == ["note"]
    stack.do("object", "save", "--file", str(tmp_path / "back"), "box", "note")
    assert (tmp_path / "back").read_text() == "remember\n"
    assert stack.openstack("object", "show", "box", "note")["content-length"] == "9"
    stack.do("container", "delete", "--recursive", "box")
    assert containers(stack) == []


def containers(stack):
    """Their names; what S3's clients deleted before has left none."""
    return [row["Name"] for row in stack.openstack("container", "list")]


def test_swift_client(stack, tmp_path):
    def swift(*arguments):
        return stack.client("swift", *arguments, cwd=tmp_path).stdout

    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_text("1")
    (tmp_path / "a/two").write_bytes(b"2" * 3_000_000)
    swift("upload", "things", "a")
    assert swift("list", "things").split() == ["a/one", "a/two"]
    swift("post", "-m", "Colour:green", "things", "a/one")
    assert "Meta Colour: green" in swift("stat", "things", "a/one")
    swift("download", "things", "a/two", "-o", "copy")
    assert (tmp_path / "copy").read_bytes() == b"2" * 3_000_000
    assert re.search(r"Containers: +1", swift("stat"))
    swift("delete", "things")
    assert swift("list") == ""


S3 = """
import boto3
s3 = boto3.client("s3")
s3.create_bucket(Bucket="by-key", CreateBucketConfiguration={
    "LocationConstraint": s3.meta.region_name})
s3.put_object(Bucket="by-key", Key="k", Body=b"x" * 100_000)
assert s3.get_object(Bucket="by-key", Key="k")["Body"].read() == b"x" * 100_000
s3.delete_objects(Bucket="by-key", Delete={"Objects": [{"Key": "k"}]})
s3.delete_bucket(Bucket="by-key")
print(s3.list_buckets()["Owner"]["ID"])
"""


def test_s3_with_a_key_of_keystone(stack):
    """What `env aws` prints is all that boto3 needs."""
    lines = stack.command("env", "aws").stdout.splitlines()
    values = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    done = stack.host.run([sys.executable, "-W", "ignore", "-c", S3], check=True, timeout=120,
                          env={**os.environ, **{n: v.strip("'") for n, v in values.items()}})
    assert done.stdout.strip() == "demo:demo"


def test_openstacksdk(stack, tmp_path):
    """The same by the library, in a process of its own on the host."""
    clouds = stack.command("env", "clouds").stdout
    (tmp_path / "clouds.yaml").write_text(clouds)
    script = tmp_path / "script.py"
    script.write_text(SDK_SCRIPT)
    done = stack.client("env", f"OS_CLIENT_CONFIG_FILE={tmp_path}/clouds.yaml", "python",
                        str(script))
    assert done.stdout.split() == ["ok"]


SDK_SCRIPT = '''
import openstack
c = openstack.connect(cloud="snakestack")
image = c.image.find_image("snakestack-guest", ignore_missing=False)
flavor = c.compute.find_flavor("m1.nano", ignore_missing=False)
server = c.create_server("by-sdk", image=image.id, flavor=flavor.id, wait=True, timeout=120,
                         auto_ip=False)
assert server.status == "ACTIVE", server
assert c.compute.get_server(server.id).addresses
assert isinstance(c.get_server_console(server), str)
assert c.delete_server(server.id, wait=True, timeout=120)
assert list(c.network.networks()) and list(c.network.subnets()) and list(c.network.ports())
c.object_store.create_container("sdk")
c.object_store.upload_object("sdk", "name", data=b"content")
assert c.object_store.download_object("name", container="sdk") == b"content"
c.object_store.delete_object("name", container="sdk")
c.object_store.delete_container("sdk")
print("ok")
'''


def state(stack) -> tuple:
    """What must be the same after a restart."""
    servers = sorted((row["ID"], row["Name"], row["Status"])
                     for row in stack.openstack("server", "list"))
    images = sorted((row["ID"], row["Name"]) for row in stack.openstack("image", "list"))
    objects = stack.client("swift", "list", "keep").stdout
    return servers, images, objects


@pytest.fixture
def kept_object(stack, tmp_path):
    (tmp_path / "thing").write_text("kept")
    stack.client("swift", "upload", "keep", "thing", cwd=tmp_path)
    yield
    stack.client("swift", "delete", "keep")


def test_down_and_up_is_the_same_cloud(stack, kept_object):
    before, qemu = state(stack), stack.host.qemu_pids()
    stack.command("down")
    assert stack.host.qemu_pids() == qemu
    stack.up()
    assert state(stack) == before
    assert stack.host.qemu_pids() == qemu


@pytest.mark.kill
def test_kill_everything_and_up_leaves_guests_alone(stack, kept_object):
    before, qemu = state(stack), stack.host.qemu_pids()
    rows = stack.status()["daemons"]
    pids = [row["pid"] for row in rows.values()]
    assert len(pids) >= 6 and all(pids)
    # the supervisor first, or it would start again what we kill
    for pid in reversed(pids):
        subprocess.run(["kill", "-9", str(pid)], check=False)
    stack.up()
    assert state(stack) == before
    assert stack.host.qemu_pids() == qemu
    assert "login:" in stack.do("console", "log", "show", "first")


def test_audit_finds_nothing(stack):
    """After everything above: no guest, tap, rule, lease or file without its row, nor reverse."""
    done = stack.client("python", "-m", "nova.cmd.manage.main", "--config-file",
                        str(stack.data / "etc/nova/nova.conf"), "audit", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
