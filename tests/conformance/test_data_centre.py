# SPDX-License-Identifier: Apache-2.0
"""A cloud on four hosts: guests on different ones, each its own machine, as one network."""
import json
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy
from data_centre import DataCentre, remove
from stacklib import backing

pytestmark = [pytest.mark.whole, pytest.mark.guest, pytest.mark.timeout(900)]
SSH_TIMEOUT = 150   # seconds until a guest that was just created lets us in

BUDGET = 90         # seconds for the data centre to be up; printed, as machines differ

RUN = """
image = ec2.describe_images(Filters=[{{"Name": "name", "Values": ["guest"]}}])["Images"][0]
group = ec2.describe_security_groups(GroupNames=["web"])["SecurityGroups"][0]["GroupId"]
server = ec2.run_instances(
    ImageId=image["ImageId"], InstanceType="m1.nano", MinCount=1, MaxCount=1, KeyName="mine",
    SecurityGroupIds=[group], TagSpecifications=[{{
        "ResourceType": "instance", "Tags": [{{"Key": "Name", "Value": "two"}}]}}],
)["Instances"][0]["InstanceId"]
wait("instance_running", InstanceIds=[server])
given = ec2.allocate_address(Domain="vpc")
ec2.associate_address(InstanceId=server, AllocationId=given["AllocationId"])
[found] = ec2.describe_instances(InstanceIds=[server])["Reservations"][0]["Instances"]
[card] = found["NetworkInterfaces"]
print(json.dumps({{"id": server, "floating": found["PublicIpAddress"],
                  "fixed": found["PrivateIpAddress"], "mac": card["MacAddress"]}}))
"""
MOVE = """
server, name = {server!r}, {volume!r}
[volume] = ec2.describe_volumes(Filters=[{{"Name": "tag:Name", "Values": [name]}}])["Volumes"]
ec2.attach_volume(VolumeId=volume["VolumeId"], InstanceId=server, Device="/dev/vdb")
wait("volume_in_use", VolumeIds=[volume["VolumeId"]])
"""
AWAY = """
[volume] = ec2.describe_volumes(Filters=[{{"Name": "tag:Name", "Values": [{volume!r}]}}])["Volumes"]
ec2.detach_volume(VolumeId=volume["VolumeId"])
wait("volume_available", VolumeIds=[volume["VolumeId"]])
ec2.delete_volume(VolumeId=volume["VolumeId"])
wait("volume_deleted", VolumeIds=[volume["VolumeId"]])
"""
# At a place nobody would find by chance, past every cache.
WRITE = ("dd if=/dev/urandom of=/dev/vdb bs=64k count=16 seek=1000 conv=fsync 2>/dev/null; "
         "dd if=/dev/vdb bs=64k skip=1000 count=16 2>/dev/null | md5sum")
READ = "dd if=/dev/vdb bs=64k skip=1000 count=16 2>/dev/null | md5sum"


@pytest.fixture(scope="module")
def centre(amqp_url, guest_image):
    """The data centre; its hosts' files must be QEMU's to read."""
    backing.ensure("mariadb")
    name = f"snakestack_dc{int(time.time())}"
    engine = sqlalchemy.create_engine(backing.MYSQL_URL, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    folder = Path(tempfile.mkdtemp(prefix="snakestack-dc-"))
    folder.chmod(0o755)
    try:
        with DataCentre(folder, amqp_url, f"{backing.MYSQL_URL}{name}", guest_image) as made:
            print(f"data centre up: {made.seconds.pop('all'):.0f} s (budget {BUDGET} s), of which "
                  f"{made.seconds}")
            yield made
    finally:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name}"))
        engine.dispose()
        remove(folder)


@pytest.fixture(scope="module")
def guests(centre, guest_image):
    """Two guests, one made by `openstack` and one by boto3: addresses, and who is where."""
    key, ask = centre.cloud.data / "key", centre.openstack
    started = time.monotonic()
    ask("image", "create", "guest", "--file", guest_image / "disk.qcow2", "--disk-format", "qcow2",
        "--container-format", "bare")
    key.write_text(ask("keypair", "create", "mine"))
    key.chmod(0o600)
    ask("security", "group", "create", "web")
    ask("security", "group", "rule", "create", "web", "--protocol", "tcp", "--dst-port", "22",
        "--remote-ip", "0.0.0.0/0")
    server = ask("server", "create", "one", "--image", "guest", "--flavor", "m1.nano",
                 "--key-name", "mine", "--security-group", "web", "-f", "value", "-c", "id").strip()
    found = {"two": json.loads(centre.boto3(RUN.format()))}
    until(lambda: ask("server", "show", server, "-f", "value", "-c", "status").strip() == "ACTIVE",
          "server one")
    floating = ask("floating", "ip", "create", "public", "-f", "value",
                   "-c", "floating_ip_address").strip()
    ask("server", "add", "floating", "ip", server, floating)
    [port] = json.loads(ask("port", "list", "--server", server, "-f", "json"))
    found["one"] = {"id": server, "floating": floating, "mac": port["MAC Address"],
                    "fixed": port["Fixed IP Addresses"][0]["ip_address"]}
    print(f"two servers active: {time.monotonic() - started:.0f} s")
    return found


def ssh(centre, address, command):
    """Run a command in a guest from the public client; None while it refuses."""
    done = centre.client.run(
        ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
         "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR",
         "-i", str(centre.cloud.data / "key"), f"root@{address}", command])
    return done.stdout if done.returncode == 0 else None


def until(question, what, timeout=SSH_TIMEOUT):
    deadline = time.monotonic() + timeout
    while not (answer := question()):
        assert time.monotonic() < deadline, f"{what}: not in {timeout} s"
        time.sleep(1)
    return answer


def ping(centre, guest, address):
    """Whether a guest reaches an address."""
    return "0% packet loss" in (ssh(
        centre, guest["floating"], f"ping -c 2 -W 3 {address} | grep -w '0% packet loss'") or "")


def test_guests_on_two_hosts_are_one_network(centre, guests):
    one, two = guests["one"], guests["two"]
    assert [len(host.qemu_pids()) for host in centre.computes] == [1, 1]
    for name, guest in guests.items():
        # Its key and its name came from the metadata service on the network host.
        assert until(lambda guest=guest: ssh(centre, guest["floating"], "hostname"),
                     f"ssh to {name}").strip() == name
    # Nothing but ssh is let in, until the group says so: on both hosts, by one message to each.
    assert not ping(centre, one, two["fixed"])
    refused = centre.client.run(["busybox", "ping", "-c", "1", "-W", "3", one["floating"]])
    assert refused.returncode != 0
    centre.sdk("group = cloud.get_security_group('web')\n"
               "cloud.create_security_group_rule(group.id, protocol='icmp', "
               "remote_group_id=group.id)")
    until(lambda: ping(centre, one, two["fixed"]), "ping from one to two", 60)
    until(lambda: ping(centre, two, one["fixed"]), "ping from two to one", 60)
    # By each other's floating addresses as well, which the network host translates; their frames
    # leave it by the card they came in by, since iptables sees bridged packets there.
    assert centre.network.run(["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"],
                              check=True).stdout.strip() == "1"
    assert ssh(centre, one["floating"],
               f"(sleep 2) | nc -w 5 {two['floating']} 22 | head -c 3") == "SSH"


def test_what_a_guest_writes_a_guest_on_another_host_reads(centre, guests):
    """One volume, over iSCSI to either compute host; by `openstack` to one, by boto3 to two."""
    one, two, ask = guests["one"], guests["two"], centre.openstack

    def status():
        return ask("volume", "show", "shared", "-f", "value", "-c", "status").strip()
    ask("volume", "create", "shared", "--size", "1")
    until(lambda: status() == "available", "the volume", 60)
    ask("server", "add", "volume", one["id"], "shared")
    until(lambda: status() == "in-use", "the volume in one", 60)
    until(lambda: ssh(centre, one["floating"], "test -b /dev/vdb") is not None, "a disk in one")
    written = ssh(centre, one["floating"], WRITE)
    assert len(written.split()[0]) == 32
    portal = [line for host in centre.computes for line in host.run(
        ["ss", "-tnH", "state", "established", "dport", "=", ":3260"]).stdout.splitlines()]
    assert len(portal) == 1, "QEMU itself is the initiator, on the one host that has the volume"
    ask("server", "remove", "volume", one["id"], "shared")
    until(lambda: status() == "available", "the volume out of one", 90)
    centre.boto3(MOVE.format(server=two["id"], volume="shared"))
    until(lambda: ssh(centre, two["floating"], "test -b /dev/vdb") is not None, "a disk in two")
    assert ssh(centre, two["floating"], READ) == written
    assert ssh(centre, one["floating"], "test -b /dev/vdb") is None
    centre.boto3(AWAY.format(volume="shared"))
    assert json.loads(ask("volume", "list", "-f", "json")) == []
    assert not list(centre.network.workdir.glob("nova/volumes/volume-*"))


def test_guests_have_what_the_network_host_gives_and_no_more(centre, guests):
    one = guests["one"]
    until(lambda: ssh(centre, one["floating"], "true") is not None, "ssh to one")
    assert ping(centre, one, "10.77.0.1")
    for address, port in (("10.77.0.1", 8775), ("10.20.0.20", 8775), ("10.20.0.20", 3260),
                          ("10.20.0.10", 8774), ("10.20.0.10", 3306)):
        said = ssh(centre, one["floating"],
                   f"(sleep 1) | nc -w 3 {address} {port} >/dev/null 2>&1; echo $?")
        assert said.strip() == "1", (address, port)
    assert ssh(centre, one["floating"],
               "wget -q -O - http://169.254.169.254/latest/meta-data/hostname").startswith("one")
    # A guest says nothing in another's name, whichever host that one is on.
    neighbour = centre.computes[0].run(["ip", "-j", "link"]).stdout
    assert guests["two"]["mac"] not in neighbour


def test_compute_hosts_have_no_address_on_the_guests_wire(centre, guests):
    for host in centre.computes:
        shown = json.loads(host.run(["ip", "-j", "address", "show", "br100"], check=True).stdout)
        assert shown[0]["addr_info"] == []
        assert "dnsmasq" not in "".join(
            Path(f"/proc/{pid}/comm").read_text() for pid in host.pids()
            if Path(f"/proc/{pid}").exists())


def test_a_host_whose_worker_was_away_catches_up(centre, guests):
    """Rules that change while a compute worker is down are in force when it is back."""
    one, two = guests["one"], guests["two"]
    until(lambda: ssh(centre, two["floating"], "true") is not None, "ssh to two")
    name = next(name for name in centre.processes if name.startswith("nova-compute"))
    host = centre.processes[name].place[0]
    centre.stop(name)
    centre.sdk("group = cloud.get_security_group('web')\n"
               "cloud.create_security_group_rule(group.id, 80, 80, 'tcp', '0.0.0.0/0')")
    assert ssh(centre, one["floating"], "true") is not None, "guests run on without a worker"
    centre.start(name, host)
    until(lambda: centre.well(name), name, 60)
    until(lambda: "--dport 80" in host.run(["iptables-save"]).stdout, "the rule", 60)


def test_all_that_was_made_is_gone_again(centre, guests):
    centre.sdk("for server in cloud.list_servers():\n"
               "    cloud.delete_server(server.id, wait=True, timeout=120)\n"
               "for address in cloud.list_floating_ips():\n"
               "    cloud.delete_floating_ip(address.id)")
    until(lambda: not any(host.qemu_pids() for host in centre.computes), "no guests", 60)
    for host in centre.computes:
        assert "tap" not in host.run(["ip", "-o", "link"]).stdout
        assert not [line for line in host.run(["iptables-save"]).stdout.splitlines()
                    if "--comment" in line]
    # Each worker looks at its own host, whoever asks.
    assert "0 findings" in centre.manage("audit")
