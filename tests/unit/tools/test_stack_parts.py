# SPDX-License-Identifier: Apache-2.0
"""The parts of tools/stack that need no daemon."""
import grp
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from stacklib import (
    arguments,
    cli,
    env,
    glance_config,
    nova_config,
    outside,
    packages,
    probe,
    supervise,
    swift_config,
    swift_policies,
)
from stacklib.layout import PORTS, Cloud
from stacklib.progress import StackError

from swift.common.conf import read_sections
from swift.common.ring import Ring
from swift.common.storage_policy import parse_policies


@pytest.fixture
def cloud(tmp_path):
    return Cloud(data=tmp_path / "data", port_base=20000)


def test_services_bring_what_they_need_in_starting_order(cloud):
    cloud.add_services(["nova"])
    assert cloud.services == ["keystone", "glance", "nova"]
    cloud.add_services(["swift"])
    assert cloud.services == ["keystone", "swift", "glance", "nova"]


def test_swift_needs_nothing(cloud):
    cloud.add_services(["swift"])
    assert cloud.services == ["swift"]
    assert set(cloud.ports()) == {"object-store", "object", "container", "account"}


def test_a_cloud_is_the_same_after_loading(cloud):
    cloud.add_services(["glance"])
    cloud.facts["bridge"] = "br101"
    secret = cloud.secret("admin")
    cloud.save()
    again = Cloud.load(cloud.data)
    assert again == cloud
    assert again.secret("admin") == secret
    assert (cloud.data / "secrets.json").stat().st_mode & 0o077 == 0


def test_secrets_differ(cloud):
    assert cloud.secret("admin") != cloud.secret("demo")


def test_no_stack_is_said_without_a_traceback(tmp_path):
    with pytest.raises(StackError, match="no stack in"):
        Cloud.load(tmp_path)


def test_every_port_is_shifted(cloud):
    assert {name: cloud.port(name) - 20000 for name in PORTS} == PORTS


@pytest.mark.parametrize("line", [
    ["up", "--port-base", "60000"], ["up", "--port-base", "-1"], ["up", "cinder"],
    ["up", "--compute", "xen"], ["up", "--broker", "redis://x"], ["up", "--db", "sqlite:///x"],
    ["up", "--policy", "a b"], ["up", "--policy", "x:ec"], ["up", "--policy", "x:ec:4"],
    ["up", "--policy", ":ec:2+1"], ["up", "--policy", "x:copies:2"],
    ["up", "--computes", "0"], ["up", "--address", "here"], ["up", "--computes", "65"],
    ["env", "csh"], [], ["dance"],
])
def test_wrong_command_lines_end_with_the_usage(line, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments.parse(line)
    assert ended.value.code == 2
    assert "usage: tools/stack" in capsys.readouterr().err


def test_data_directory_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SNAKESTACK_DATA", str(tmp_path))
    assert arguments.parse(["down"]).data == tmp_path
    assert arguments.parse(["down", "--data", "/elsewhere"]).data == Path("/elsewhere")


def test_supervisor_takes_every_value_literally(cloud):
    daemon = supervise.Daemon("one", "swift", ["/bin/echo", "100%", "two words"], None,
                              {"NAME": "50%"})
    text = supervise.render(cloud, [daemon])
    assert "command = /bin/echo 100%% 'two words'" in text
    assert 'NAME="50%%"' in text
    assert f'{supervise.MARK}="{cloud.data}"' in text


def test_a_deep_data_directory_has_a_short_socket(tmp_path):
    deep = Cloud(data=tmp_path / ("x" * 120))
    assert len(str(supervise.socket_path(deep))) <= supervise.SOCKET_PATH_MAX
    assert supervise.socket_path(deep) == supervise.socket_path(deep)
    assert supervise.socket_path(deep).parent.stat().st_mode & 0o077 == 0


def test_the_users_choice_of_data_does_not_mark_a_process_as_ours():
    """Ending orphans must not end a shell's programs because $SNAKESTACK_DATA is set there."""
    assert supervise.MARK != "SNAKESTACK_DATA"


def test_waiting_ends_with_its_limit():
    with pytest.raises(StackError, match="the moon: no answer in 0 s"):
        probe.wait("the moon", lambda: False, 0.1)


def test_waiting_ends_when_there_is_no_hope():
    with pytest.raises(StackError, match="exploded"):
        probe.wait("the rocket", lambda: False, 60, lambda: "exploded")


@pytest.mark.parametrize("mode, after", [(0o600, 0o660), (0o620, 0o660), (0o660, 0o660),
                                         (0o666, 0o666)])
def test_kvm_is_given_to_its_group_unless_it_is_open(mode, after, tmp_path, monkeypatch):
    """One that QEMU's user may not open has libvirt probe QEMU anew at every single call."""
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(mode)
    monkeypatch.setattr(probe.os, "geteuid", lambda: 0)
    probe.open_kvm(device, grp.getgrgid(device.stat().st_gid).gr_name)
    assert device.stat().st_mode & 0o777 == after


def test_no_kvm_is_left_alone(tmp_path):
    probe.open_kvm(tmp_path / "kvm")
    assert not (tmp_path / "kvm").exists()


def test_swift_alone_knows_tempauth_and_no_fixed_password(cloud):
    cloud.add_services(["swift"])
    text = swift_config.proxy_configuration(cloud, "nobody")
    assert "authtoken" not in text
    assert "reseller_prefix = AUTH\n" in text
    assert f"user_test_tester = {cloud.secret('tempauth_tester')} .admin" in text


def test_swift_with_keystone_keeps_the_two_kinds_of_accounts_apart(cloud):
    cloud.add_services(["swift", "keystone"])
    text = swift_config.proxy_configuration(cloud, "nobody")
    pipeline = next(line for line in text.splitlines() if line.startswith("pipeline ="))
    words = pipeline.split()
    assert words.index("tempauth") < words.index("authtoken") < words.index("keystoneauth")
    tempauth = text.split("[filter:tempauth]")[1].split("[")[0]
    assert "reseller_prefix = TEMPAUTH" in tempauth


def test_security_k14_a_revoked_token_works_no_longer_than_a_minute(cloud):
    """K14: what Keystone said of a token is asked again after 60 seconds, in all three services."""
    cloud.add_services(["swift", "keystone"])
    swift = swift_config.proxy_configuration(cloud, "nobody")
    for text in (swift, glance_config.authtoken(cloud, "nova"),
                 glance_config.authtoken(cloud, "glance")):
        [seconds] = re.findall(r"^token_cache_time = (\d+)$", text, re.M)
        assert int(seconds) <= 60


def test_policies_get_rings_devices_and_a_reconstructor(cloud):
    cloud.add_services(["swift"])
    swift_config.prepare(cloud)
    etc = swift_config.folder(cloud)
    before = (etc / "object.ring.gz").read_bytes()
    assert "storage-policy" not in (etc / "swift.conf").read_text()
    assert "reconstructor" not in (etc / "object-server.conf").read_text()
    restarted = [supervise.configuration(cloud, daemon) for daemon in swift_config.daemons(cloud)]

    asked = arguments.parse(["up", "--policy", "gold", "--policy", "deep:ec:3+2"]).policy
    swift_policies.choose(cloud, asked)
    cloud.save()
    cloud = Cloud.load(cloud.data)
    swift_config.prepare(cloud)
    assert (etc / "object.ring.gz").read_bytes() == before
    rings = {name: Ring(str(etc), ring_name=name) for name in ("object-1", "object-2")}
    assert {name: (ring.replica_count, len(ring.devs)) for name, ring in rings.items()} == {
        "object-1": (3, 4), "object-2": (5, 5)}
    assert {dev["port"] for dev in rings["object-2"].devs} == {cloud.port("object")}
    assert (swift_config.devices(cloud) / "d5").is_dir()
    found = parse_policies(read_sections(str(etc / "swift.conf")))
    assert [(policy.name, policy.policy_type, policy.is_default) for policy in found] == [
        ("Policy-0", "replication", True), ("gold", "replication", False),
        ("deep", "erasure_coding", False)]
    assert "[object-reconstructor]" in (etc / "object-server.conf").read_text()
    assert "[container-reconciler]" in (etc / "container-server.conf").read_text()
    # each reads swift.conf once: all of them are started anew
    assert not set(restarted) & {supervise.configuration(cloud, daemon)
                                 for daemon in swift_config.daemons(cloud)}


def test_a_stack_has_every_daemon_of_containers(cloud):
    cloud.add_services(["swift"])
    swift_config.prepare(cloud)
    found = read_sections(str(swift_config.folder(cloud) / "container-server.conf"))
    assert found.keys() >= {"container-auditor", "container-replicator", "container-updater",
                            "container-sharder", "container-sync"}


def test_policies_keep_what_they_are(cloud):
    cloud.add_services(["swift"])
    swift_policies.choose(cloud, ["gold:replication", "deep:ec:4+2"])
    swift_policies.choose(cloud, ["new:ec:2+1", "deep:ec:4+2"])
    assert cloud.policies == ["gold:replication", "deep:ec:4+2", "new:ec:2+1"]
    for asked, said in (("deep:ec:4+3", "cannot be changed"), ("GOLD:ec:2+1", "cannot be changed"),
                        ("policy-0:replication", "used twice"), ("wide:ec:30+9", "more than 32"),
                        ("none:ec:0+1", "at least 1")):
        with pytest.raises(StackError, match=said):
            swift_policies.choose(Cloud(data=cloud.data, services=["swift"],
                                        policies=list(cloud.policies)), [asked])
    with pytest.raises(StackError, match="has none"):
        swift_policies.choose(Cloud(data=cloud.data, services=["keystone"]), ["gold:replication"])


def fake_routes(monkeypatch, *destinations):
    routes = json.dumps([{"dst": text} for text in destinations]).encode()
    monkeypatch.setattr(nova_config.subprocess, "run",
                        lambda *_, **__: subprocess.CompletedProcess([], 0, routes))


def test_a_second_stack_takes_the_next_network(cloud, monkeypatch):
    fake_routes(monkeypatch, "default", "10.0.0.0/24", "10.1.0.0/16", "192.168.1.0/24")
    monkeypatch.setattr(nova_config, "bridge_exists", lambda number: number == 2)
    nova_config.choose_network(cloud)
    assert (cloud.facts["cidr"], cloud.facts["bridge"]) == ("10.3.0.0/24", "br103")
    assert cloud.facts["prefix"] == "nova3"
    assert len("nova255") <= len("nova") + 3


def test_the_network_stays_once_chosen(cloud, monkeypatch):
    fake_routes(monkeypatch, "default")
    monkeypatch.setattr(nova_config, "bridge_exists", lambda number: False)
    nova_config.choose_network(cloud)
    fake_routes(monkeypatch, "default", "10.0.0.0/24")
    nova_config.choose_network(cloud)
    assert cloud.facts["cidr"] == "10.0.0.0/24"


def test_openrc_can_be_evaluated_by_a_shell(cloud):
    cloud.add_services(["keystone"])
    text = env.render(cloud, "openrc", "demo")
    shown = subprocess.run(["sh", "-c", f"{text}\necho $OS_AUTH_URL $OS_PASSWORD"],
                           capture_output=True, text=True, check=True, timeout=10)
    assert shown.stdout.split() == ["http://127.0.0.1:25000/v3", cloud.secret("demo")]


def test_clouds_yaml_has_both_users(cloud):
    cloud.add_services(["keystone"])
    clouds = json.loads(env.render(cloud, "clouds", "demo"))["clouds"]
    assert clouds["snakestack"]["auth"]["username"] == "demo"
    assert clouds["snakestack-admin"]["auth"]["password"] == cloud.secret("admin")


def test_what_needs_keystone_says_so(cloud):
    cloud.add_services(["swift"])
    with pytest.raises(StackError, match="needs? Keystone"):
        env.render(cloud, "clouds", "demo")


def test_aws_variables_of_object_storage_alone(cloud):
    with pytest.raises(StackError, match="object storage"):
        env.render(cloud, "aws", "demo")
    cloud.add_services(["swift"])
    lines = env.render(cloud, "aws", "demo").splitlines()
    values = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert values["AWS_ACCESS_KEY_ID"] == "test:tester"
    assert values["AWS_ENDPOINT_URL_S3"] == cloud.url("object-store")


def test_an_environment_is_made_once(monkeypatch, tmp_path):
    calls = []

    def run(command, **_):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    venv = tmp_path / "venv"
    assert packages.make_venv(venv, "stamp", ["one"])
    assert not packages.make_venv(venv, "stamp", ["one"])
    assert packages.make_venv(venv, "other", ["two"])
    assert [command[-1] for command in calls if "pip" in command] == ["one", "two"]


def test_a_failed_install_is_repeated(monkeypatch, tmp_path):
    monkeypatch.setattr(packages.subprocess, "run",
                        lambda command, **_: subprocess.CompletedProcess(
                            command, int("pip" in command), "", "no such package"))
    for _ in range(2):
        with pytest.raises(packages.InstallError, match="no such package"):
            packages.make_venv(tmp_path / "venv", "stamp", ["one"])


def test_missing_packages_are_named_to_who_may_not_install_them(monkeypatch):
    monkeypatch.setattr(packages, "missing", lambda names: ["frobnicate"])
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    with pytest.raises(packages.InstallError, match="apt-get install frobnicate"):
        packages.apt_install(["frobnicate"])


MYSQL = "mysql+pymysql://us:pa$s@db:3306/"


def options(**more):
    none = dict.fromkeys(("broker", "db", "computes", "compute", "volumes", "address"))
    return SimpleNamespace(**{**none, **more})


def test_a_server_gets_a_database_for_each_service(cloud):
    cloud.add_services(["nova"])
    cli.choose_workers(cloud, options(db=MYSQL))
    urls = {name: outside.database_url(cloud, name, Path("/x")) for name in ("nova", "glance")}
    prefix = cloud.facts["databases"]
    # oslo.config would read a dollar sign as a reference
    assert urls["nova"] == f"mysql+pymysql://us:pa%24s@db:3306/{prefix}_nova?charset=utf8mb4"
    assert urls["glance"].partition("?")[0].endswith(f"/{prefix}_glance")
    again = Cloud(data=cloud.data)
    assert outside.database_url(again, "nova", Path("/x")) == "sqlite:////x"


def test_without_a_broker_all_of_nova_is_one_daemon(cloud):
    cloud.facts["host"] = "node"
    assert [row[0] for row in nova_config.workers(cloud)] == ["nova-all"]
    cli.choose_workers(cloud, options(broker="amqp://b", computes=2, compute="fake"))
    assert [(row[0], row[2]) for row in nova_config.workers(cloud)] == [
        ("nova-network", "node"), ("nova-scheduler", "node"), ("nova-volume", "node"),
        ("nova-compute-1", "node"), ("nova-compute-2", "node-2"), ("nova-api", "node")]


@pytest.mark.parametrize("given, said", [
    ({"computes": 2}, "needs --broker"),
    ({"computes": 2, "broker": "amqp://b", "compute": "libvirt"}, "one libvirtd is one host"),
    ({"db": "mysql+pymysql://u:secret@h/nova"}, "names a server"),
    ({"db": "mysql+pymysql://u:secret@h:port/"}, "is no URL")])
def test_what_does_not_fit_together_is_refused(cloud, given, said):
    with pytest.raises(StackError, match=said) as refused:
        cli.choose_workers(cloud, options(**given))
    assert "secret" not in str(refused.value)


def test_iscsi_volumes_bring_a_target_of_the_stack(cloud):
    cloud.add_services(["nova"])
    assert "iscsi" not in cloud.ports() and "tgtd" not in [
        daemon.name for daemon in nova_config.daemons(cloud)]
    cli.choose_workers(cloud, options(volumes="iscsi"))
    assert "iscsi" in cloud.ports()
    first = nova_config.daemons(cloud)[0]
    assert (first.name, first.stop_signal) == ("tgtd", "KILL")
    assert first.environment == {"TGT_IPC_SOCKET": str(nova_config.tgt_socket(cloud))}
    cloud.save()
    with pytest.raises(StackError, match="--volumes is iscsi"):
        cli.choose_workers(Cloud.load(cloud.data), options(volumes="file"))


def test_a_stack_keeps_its_servers(cloud):
    cli.choose_workers(cloud, options(broker="amqp://u:secret@one/"))
    cloud.save()
    again = Cloud.load(cloud.data)
    with pytest.raises(StackError, match="give another --data") as refused:
        cli.choose_workers(again, options(broker="amqp://two/"))
    assert "secret" not in str(refused.value)
    again.computes = 3
    with pytest.raises(StackError, match="can only be more"):
        cli.choose_workers(again, options(computes=2))
