# SPDX-License-Identifier: Apache-2.0
"""What a guest reads about itself, and that it reads nothing about anybody else."""

import base64
import json
import time

import pytest
import webob
from oslo_config import cfg
from sqlalchemy import update

from nova import db
from nova.api.metadata.app import MetadataApplication
from nova.db import floating_ips, networks, ports, security_groups
from nova.db.models import FixedIp, Instance

CONF = cfg.CONF
BINARY = bytes(range(256))
KEY = "ssh-ed25519 AAAAC3Nz me@here"


@pytest.fixture
def network(nova_db):
    CONF([], project="nova", default_config_files=[])
    yield networks.create({"name": "private", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1",
                           "dhcp_server": "10.0.0.1", "bridge": "br100"})
    CONF.reset()


def make(network, project="alpha", name="vm", **values):
    row = Instance(**{
        "project_id": project, "user_id": "u", "display_name": name, "hostname": name,
        "reservation_id": "r-00000001", "vm_state": "active", "desired_state": "active",
        "flavor_id": "1", "flavor_name": "m1.tiny", "vcpus": 1, "memory_mb": 1, "root_gb": 1,
        "host": "host1", "image_id": "0f5b9d1c-9a53-4d0c-8f5a-3c1f3e0a7a11",
        "key_name": "mine", "key_data": KEY,
        "user_data": base64.b64encode(BINARY).decode(), "metadata_": {"role": name}, **values})
    with db.writer() as session:
        session.add(row)
    group = security_groups.ensure_default(project)
    port = ports.create({"network_id": network.id, "project_id": project, "device_id": row.id,
                         "device_owner": "compute:nova"}, group_ids=[group])
    return row, port, ports.get(port.id).addresses[0].address


@pytest.fixture
def app(network):
    return MetadataApplication()


def ask(app, address, path, method="GET", **headers):
    req = webob.Request.blank(path, method=method, environ={"REMOTE_ADDR": address})
    req.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return req.get_response(app)


def text(app, address, path, **headers):
    response = ask(app, address, path, **headers)
    assert response.status_int == 200, (path, response.status)
    return response.text


def test_ec2_tree(app, network):
    row, _, address = make(network)
    assert text(app, address, "/").split("\n")[-1] == "latest"
    assert text(app, address, "/latest").split() == ["meta-data/", "user-data"]
    names = text(app, address, "/latest/meta-data/").split("\n")
    assert set(names) >= {
        "ami-id", "ami-launch-index", "ami-manifest-path", "block-device-mapping/", "hostname",
        "instance-action", "instance-id", "instance-type", "local-hostname", "local-ipv4",
        "placement/", "public-hostname", "public-ipv4", "public-keys/", "reservation-id",
        "security-groups"}
    for version in ("latest", "1.0", "2009-04-04", "2021-03-23"):
        assert text(app, address, f"/{version}/meta-data/local-ipv4") == address
    assert text(app, address,
                "/latest/meta-data/instance-id") == f"i-{row.id.replace('-', '')[:17]}"
    assert text(app, address, "/latest/meta-data/public-keys") == "0=mine"
    assert text(app, address, "/latest/meta-data/public-keys/0/") == "openssh-key"
    assert text(app, address, "/latest//meta-data/public-keys/0/openssh-key") == KEY
    assert text(app, address, "/latest/meta-data/placement/availability-zone") == "nova"
    assert text(app, address, "/latest/meta-data/security-groups") == "default"
    assert text(app, address, "/latest/meta-data/public-ipv4") == ""
    for path in ("/latest/meta-data/kernel-id", "/latest/x", "/nonsense",
                 "/latest/meta-data/ami-id/x", "/latest/meta-data/public-keys/1/openssh-key"):
        assert ask(app, address, path).status_int == 404, path


def test_user_data_is_the_very_bytes(app, network):
    _, _, address = make(network)
    for path in ("/latest/user-data", "/openstack/latest/user_data"):
        response = ask(app, address, path)
        assert response.body == BINARY
        assert response.content_type == "application/octet-stream"
    head = ask(app, address, "/latest/user-data", method="HEAD")
    assert (head.content_length, head.body) == (256, b"")
    _, _, other = make(network, user_data=None, key_data=None, key_name=None)
    assert ask(app, other, "/latest/user-data").status_int == 404
    assert ask(app, other, "/openstack/latest/user_data").status_int == 404
    assert "public-keys/" not in text(app, other, "/latest/meta-data/")


def test_openstack_documents(app, network):
    row, port, address = make(network)
    assert "latest" in text(app, address, "/openstack").split()
    for version in ("latest", "2012-08-10", "2018-08-27"):
        names = text(app, address, f"/openstack/{version}/").split()
        assert set(names) == {"meta_data.json", "network_data.json", "user_data",
                              "vendor_data.json", "vendor_data2.json"}
    document = json.loads(text(app, address, "/openstack/latest/meta_data.json"))
    assert (document["uuid"], document["meta"], document["public_keys"]) == (
        row.id, {"role": "vm"}, {"mine": KEY})
    assert len(base64.b64decode(document["random_seed"])) == 512
    wires = json.loads(text(app, address, "/openstack/latest/network_data.json"))
    assert wires["links"][0]["ethernet_mac_address"] == port.mac
    assert wires["networks"][0]["type"] == "ipv4_dhcp"
    assert wires["services"] == [{"type": "dns", "address": "10.0.0.1"}]
    assert json.loads(text(app, address, "/openstack/latest/vendor_data.json")) == {}


def test_public_address_is_the_floating_one(app, network):
    _, port, address = make(network)
    external = networks.create({"name": "public", "cidr": "172.24.4.0/24", "gateway": "",
                                "external": True, "shared": False})
    floating_ips.add(external.id, ["172.24.4.10"])
    floating = floating_ips.allocate(external.id, "alpha")
    floating_ips.associate(floating.id, "alpha", port.id)
    assert text(app, address, "/latest/meta-data/public-ipv4") == "172.24.4.10"


def test_session_tokens(app, network):
    _, _, address = make(network)
    _, _, other = make(network)
    ttl = "X-aws-ec2-metadata-token-ttl-seconds"

    def token_of(who, seconds="60"):
        return ask(app, who, "/latest/api/token", method="PUT", **{ttl: seconds})

    response = token_of(address)
    assert (response.status_int, response.headers[ttl]) == (200, "60")
    header = {"X-aws-ec2-metadata-token": response.text}
    assert text(app, address, "/latest/meta-data/local-ipv4", **header) == address
    assert ask(app, other, "/latest/meta-data/local-ipv4", **header).status_int == 401
    for bad in ("", "x", "\u00e9", response.text[:-4], "A" * 60, response.text + "AAAA"):
        assert ask(app, address, "/latest/meta-data/", **{
            "X-aws-ec2-metadata-token": bad}).status_int == 401, bad
    for bad in ("0", "21601", "x", "", "-1", "999999999"):
        assert token_of(address, bad).status_int == 400
    assert ask(app, address, "/latest/api/token").status_int == 405
    assert ask(app, address, "/latest/meta-data/", method="PUT").status_int == 405
    assert ask(app, address, "/latest/meta-data/", method="POST").status_int == 405


def test_token_runs_out(app, network, monkeypatch):
    _, _, address = make(network)
    token = ask(app, address, "/latest/api/token", method="PUT", **{
        "X-aws-ec2-metadata-token-ttl-seconds": "60"}).text
    now = time.time()
    monkeypatch.setattr("nova.api.metadata.app.time.time", lambda: now + 61)
    assert ask(app, address, "/latest/meta-data/", **{
        "X-aws-ec2-metadata-token": token}).status_int == 401


def test_tokens_can_be_required(network):
    _, _, address = make(network)
    CONF.set_override("require_token", True, "metadata")
    app = MetadataApplication()
    assert ask(app, address, "/latest/meta-data/").status_int == 401
    token = ask(app, address, "/latest/api/token", method="PUT", **{
        "X-aws-ec2-metadata-token-ttl-seconds": "60"}).text
    assert ask(app, address, "/latest/", **{"X-aws-ec2-metadata-token": token}).status_int == 200
    CONF.clear_override("require_token", "metadata")


@pytest.mark.parametrize("headers", [
    {"X-Forwarded-For": "{other}"}, {"X-Real-IP": "{other}"}, {"Forwarded": "for={other}"},
    {"X-Forwarded-For": "{other}, {other}"}, {"X-Instance-ID": "{id}", "X-Tenant-ID": "beta"},
    {"X-Instance-ID": "{id}", "X-Instance-ID-Signature": "0" * 64}, {"Host": "{other}"}])
def test_m3_headers_change_nobodys_identity(app, network, headers):
    """M3, K13: whatever a guest says, it is who its address says."""
    _, _, address = make(network, name="mine")
    row, _, other = make(network, project="beta", name="theirs")
    filled = {name: value.format(other=other, id=row.id) for name, value in headers.items()}
    assert text(app, address, "/latest/meta-data/hostname", **filled) == "mine"
    assert ask(app, "10.0.0.99", "/latest/meta-data/hostname", **filled).status_int == 404


def test_m3_trusted_proxy_is_believed_about_its_own_hop_only(network):
    """M3: the last hop, and only from a proxy that is named."""
    _, _, address = make(network, name="mine")
    make(network, project="beta", name="theirs")
    CONF.set_override("trusted_proxies", ["192.0.2.1"], "metadata")
    app = MetadataApplication()
    path = "/latest/meta-data/hostname"
    forged = {"X-Forwarded-For": f"10.0.0.3, {address}"}
    assert text(app, "192.0.2.1", path, **forged) == "mine"
    assert ask(app, "192.0.2.2", path, **forged).status_int == 404
    assert ask(app, "192.0.2.1", path).status_int == 404
    assert ask(app, "192.0.2.1", path, **{"X-Forwarded-For": "nonsense"}).status_int == 404
    CONF.clear_override("trusted_proxies", "metadata")


def test_m4_address_of_nobody_or_of_two_is_not_answered(app, network):
    """M4: a deleted instance's address, and one that two networks have."""
    row, port, address = make(network)
    second = networks.create({"name": "n2", "cidr": "10.1.0.0/24", "gateway": "10.1.0.1"})
    _, twin, _ = make(second, project="beta")
    with db.writer() as session:        # what no API makes
        session.execute(update(FixedIp).where(FixedIp.port_id == twin.id)
                        .values(address=address))
    assert ask(app, address, "/latest/meta-data/").status_int == 404
    ports.delete_port(twin.id)
    assert ask(app, address, "/latest/meta-data/").status_int == 200
    ports.delete_port(port.id)
    assert ask(app, address, "/latest/meta-data/").status_int == 404
    assert row.id


def test_m6_no_token_through_a_proxy(app, network):
    """M6: a request that came through a proxy gets no session token."""
    _, _, address = make(network)
    assert ask(app, address, "/latest/api/token", method="PUT", **{
        "X-aws-ec2-metadata-token-ttl-seconds": "60",
        "X-Forwarded-For": "10.0.0.9"}).status_int == 403


def test_m7_nothing_secret_is_told_by_default(app, network):
    """M7: no password to read, none to be left by a guest, no vendor data of the operator's."""
    _, _, address = make(network)
    assert ask(app, address, "/openstack/latest/password").status_int == 404
    vendor = json.loads(text(app, address, "/openstack/latest/vendor_data2.json"))
    assert vendor == {"static": {}}
    assert ask(app, address, "/openstack/latest/password", method="POST").status_int in (404, 405)
    told = text(app, address, "/openstack/latest/meta_data.json")
    assert not {"admin_pass", "adminPass", "password"} & set(json.loads(told))


def test_no_path_makes_a_500(app, network):
    _, _, address = make(network)
    for path in ("/" + "a" * 5000, "/%ff%fe", "/latest/meta-data/%00", "/../../etc/passwd",
                 "/latest/meta-data/../../x", "/openstack/" + "../" * 50, "/latest/meta-data/0",
                 "/latest/meta-data/__class__", "/2009-04-04/" + "x/" * 300):
        assert ask(app, address, path).status_int in (200, 404), path
    for who in ("", "::1", "nonsense", "10.0.0.2%eth0", "::ffff:" + address):
        assert ask(app, who, "/latest/").status_int in (200, 404)


def test_answers_are_quick_with_many_guests(app, network):
    """The whole of what cloud-init asks, of one of many guests, in well under a second."""
    addresses = [make(network, name=f"vm{n}")[2] for n in range(60)]
    started = time.process_time()
    for path in ("meta-data/instance-id", "meta-data/hostname", "user-data",
                 "meta-data/public-keys/0/openssh-key", "meta-data/local-ipv4",
                 "meta-data/security-groups"):
        assert ask(app, addresses[-1], f"/latest/{path}").status_int == 200
    ask(app, addresses[-1], "/openstack/latest/network_data.json")
    assert time.process_time() - started < 1.0
