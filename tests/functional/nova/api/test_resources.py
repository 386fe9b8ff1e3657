# SPDX-License-Identifier: Apache-2.0
"""Everything of the Compute API that is not servers."""

import json

import pytest
from cryptography.hazmat.primitives import serialization

from nova.db import floating_ips, instances, networks, services

FLAVOR = {"name": "m1.small", "ram": 2048, "vcpus": 1, "disk": 20}


# ---------------------------------------------------------------- versions

def test_version_documents_need_no_token(cloud):
    root = cloud.client(None, "")
    versions = json.loads(root.request("GET", "/").body)["versions"]
    assert {v["id"] for v in versions} == {"v2.0", "v2.1"}
    for path in ("/v2.1", "/v2.1/"):
        version = json.loads(root.request("GET", path).body)["version"]
        assert (version["id"], version["status"], version["version"], version["min_version"]) \
            == ("v2.1", "CURRENT", "", "")
        assert version["links"][0]["href"].endswith("/v2.1/")
    assert root.request("GET", "/v3").status_int == 404
    assert root.request("GET", "/v2.1/servers").status_int == 401


def test_a_microversion_that_is_not_here_is_refused(cloud):
    for name, value, status in (
            ("OpenStack-API-Version", "compute 2.37", 406),
            ("OpenStack-API-Version", "volume 3.0, compute 2.96", 406),
            ("OpenStack-API-Version", "volume 3.60", 200),
            ("OpenStack-API-Version", "compute 2.1", 200),
            ("OpenStack-API-Version", "compute latest", 200),
            ("X-OpenStack-Nova-API-Version", "2.2", 406),
            ("X-OpenStack-Nova-API-Version", "2.1", 200)):
        assert cloud.alpha.request("GET", "/flavors", headers={name: value}).status_int == status
    assert cloud.client("alice:alpha", "/v2").request(
        "GET", "/flavors", headers={"OpenStack-API-Version": "compute 2.37"}).status_int == 200


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2", "/v1.1", "/v2.1/alpha", "/v2/alpha"])
def test_every_prefix_serves_the_same(cloud, prefix):
    flavor = cloud.client("alice:alpha", prefix).get("/flavors/1")["flavor"]
    assert flavor["links"][0]["href"] == f"http://localhost{prefix}/flavors/1"
    assert flavor["links"][1]["href"] == "http://localhost/flavors/1"


# ---------------------------------------------------------------- flavors

def test_flavor_life(cloud):
    made = cloud.admin.post("/flavors", {"flavor": {
        **FLAVOR, "id": "7", "swap": 512, "OS-FLV-EXT-DATA:ephemeral": "1",
        "rxtx_factor": "2.0"}})["flavor"]
    assert (made["id"], made["swap"], made["OS-FLV-EXT-DATA:ephemeral"], made["rxtx_factor"]) \
        == ("7", 512, 1, 2.0)
    assert cloud.alpha.get("/flavors/7")["flavor"] == made
    assert cloud.alpha.get("/flavors/1")["flavor"]["swap"] == ""
    assert [f["id"] for f in cloud.alpha.get("/flavors")["flavors"]] == ["1", "7"]
    assert [f["id"] for f in cloud.alpha.get("/flavors/detail?minRam=600")["flavors"]] == ["7"]
    assert [f["id"] for f in cloud.alpha.get("/flavors?minDisk=2")["flavors"]] == ["7"]
    page = cloud.alpha.get("/flavors?limit=1")
    assert "marker=1" in page["flavors_links"][0]["href"]
    assert [f["id"] for f in cloud.alpha.get("/flavors?marker=1")["flavors"]] == ["7"]
    assert [f["id"] for f in cloud.alpha.get(
        "/flavors?sort_key=memory_mb&sort_dir=desc")["flavors"]] == ["7", "1"]
    for key in ("is_public", "disabled", "created_at", "rxtx_factor"):
        page = cloud.alpha.get(f"/flavors?sort_key={key}&sort_dir=asc&limit=1")["flavors"]
        after = cloud.alpha.get(f"/flavors?sort_key={key}&sort_dir=asc&marker={page[0]['id']}")
        assert {page[0]["id"], after["flavors"][0]["id"]} == {"1", "7"}
    cloud.admin.fails(409, "POST", "/flavors", {"flavor": {**FLAVOR, "id": "8"}})
    cloud.admin.fails(409, "POST", "/flavors", {"flavor": {**FLAVOR, "name": "n", "id": "7"}})
    cloud.alpha.fails(403, "POST", "/flavors", {"flavor": FLAVOR})
    cloud.alpha.fails(403, "DELETE", "/flavors/7")
    assert cloud.admin.request("DELETE", "/flavors/7").status_int == 202
    cloud.alpha.fails(404, "GET", "/flavors/7")
    for query in ("minRam=x", "minDisk=-1", "limit=x", "marker=zz", "sort_key=zz"):
        assert query.split("=")[0] in cloud.alpha.fails(400, "GET", f"/flavors?{query}")


@pytest.mark.parametrize(("change", "named"), [
    ({"ram": 0}, "ram"), ({"ram": "x"}, "ram"), ({"ram": 2**31}, "ram"), ({"vcpus": 0}, "vcpus"),
    ({"disk": -1}, "disk"), ({"swap": -1}, "swap"), ({"rxtx_factor": 0}, "rxtx_factor"),
    ({"rxtx_factor": 1e39}, "rxtx_factor"), ({"name": " "}, "name"), ({"id": " a"}, "id"),
    ({"os-flavor-access:is_public": "perhaps"}, "is_public"), ({"x": 1}, "x")])
def test_bad_flavors_name_the_field(cloud, change, named):
    assert named in cloud.admin.fails(400, "POST", "/flavors", {"flavor": {**FLAVOR, **change}})


def test_flavor_access_and_extra_specs(cloud):
    cloud.admin.post("/flavors", {"flavor": {
        **FLAVOR, "id": "p", "os-flavor-access:is_public": False}})
    cloud.alpha.fails(404, "GET", "/flavors/p")
    path = "/flavors/p/action"
    access = cloud.admin.post(path, {"addTenantAccess": {"tenant": "alpha"}})["flavor_access"]
    assert [a["tenant_id"] for a in access] == ["alpha"]
    cloud.admin.fails(409, "POST", path, {"addTenantAccess": {"tenant": "alpha"}})
    assert cloud.alpha.get("/flavors/p")["flavor"]["os-flavor-access:is_public"] is False
    assert len(cloud.admin.get("/flavors/p/os-flavor-access")["flavor_access"]) == 1
    cloud.admin.fails(404, "GET", "/flavors/1/os-flavor-access")
    cloud.admin.fails(409, "POST", "/flavors/1/action", {"addTenantAccess": {"tenant": "alpha"}})
    cloud.admin.post(path, {"removeTenantAccess": {"tenant": "alpha"}})
    cloud.admin.fails(404, "POST", path, {"removeTenantAccess": {"tenant": "alpha"}})
    cloud.alpha.fails(404, "GET", "/flavors/p")
    assert [f["id"] for f in cloud.admin.get("/flavors?is_public=false")["flavors"]] == ["p"]
    assert len(cloud.admin.get("/flavors?is_public=None")["flavors"]) == 2

    specs = "/flavors/1/os-extra_specs"
    assert cloud.admin.post(specs, {"extra_specs": {"a:b": "1", "n": 5}}) \
        == {"extra_specs": {"a:b": "1", "n": "5"}}
    assert cloud.alpha.get(specs) == {"extra_specs": {"a:b": "1", "n": "5"}}
    assert cloud.admin.ok("PUT", specs + "/n", {"n": "6"}) == {"n": "6"}
    cloud.admin.fails(400, "PUT", specs + "/n", {"m": "6"})
    assert cloud.alpha.get(specs + "/n") == {"n": "6"}
    cloud.admin.ok("DELETE", specs + "/n", status=200)
    cloud.admin.fails(404, "DELETE", specs + "/n")
    cloud.alpha.fails(404, "GET", specs + "/n")
    cloud.alpha.fails(403, "POST", specs, {"extra_specs": {"a": "1"}})


# ---------------------------------------------------------------- key pairs

def test_a_made_key_pair_fits_together_and_is_not_kept(cloud):
    made = cloud.alpha.post("/os-keypairs", {"keypair": {"name": "k 1"}})["keypair"]
    private = serialization.load_pem_private_key(made["private_key"].encode(), None)
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    assert made["public_key"].startswith(public) and made["user_id"] == "alice"
    shown = cloud.alpha.get("/os-keypairs/k%201")["keypair"]
    assert shown["fingerprint"] == made["fingerprint"] and "private_key" not in shown
    assert cloud.alpha.get("/os-keypairs")["keypairs"][0]["keypair"]["name"] == "k 1"
    assert cloud.beta.get("/os-keypairs")["keypairs"] == []
    cloud.beta.fails(404, "GET", "/os-keypairs/k%201")
    cloud.alpha.fails(409, "POST", "/os-keypairs", {"keypair": {"name": "k 1"}})
    assert cloud.alpha.request("DELETE", "/os-keypairs/k%201").status_int == 202
    cloud.alpha.fails(404, "DELETE", "/os-keypairs/k%201")


def test_import_of_a_key(cloud):
    made = cloud.alpha.post("/os-keypairs", {"keypair": {"name": "a"}})["keypair"]
    imported = cloud.alpha.post("/os-keypairs", {"keypair": {
        "name": "b", "public_key": made["public_key"]}})["keypair"]
    assert imported["fingerprint"] == made["fingerprint"] and "private_key" not in imported
    for key in ("", "ssh-rsa", "ssh-rsa AAAA", "ssh-rsa !!!", "x y z", "ssh-rsa " + "A" * 5000,
                "ssh-\u00e9 AAAA"):
        assert "public_key" in cloud.alpha.fails(
            400, "POST", "/os-keypairs", {"keypair": {"name": "c", "public_key": key}})
    for name in ("", " a", "a/b", "\u00e9", "x" * 256, None, 1):
        assert "name" in cloud.alpha.fails(400, "POST", "/os-keypairs", {"keypair": {
            "name": name}})


# ---------------------------------------------------------------- limits

def test_limits_and_quotas_are_counted_from_rows(cloud):
    cloud.alpha.boot()
    absolute = cloud.alpha.get("/limits")["limits"]["absolute"]
    assert absolute["totalInstancesUsed"] == 1 and absolute["totalRAMUsed"] == 512
    assert absolute["maxTotalInstances"] == 10
    path = "/os-quota-sets/alpha"
    assert cloud.alpha.get(path)["quota_set"]["instances"] == 10
    assert cloud.alpha.get(path + "/detail")["quota_set"]["cores"] == {
        "limit": 20, "in_use": 1, "reserved": 0}
    cloud.alpha.fails(403, "PUT", path, {"quota_set": {"instances": 20}})
    assert cloud.admin.ok("PUT", path, {"quota_set": {"instances": "2", "cores": -1}})[
        "quota_set"]["instances"] == 2
    assert "instances" in cloud.admin.fails(400, "PUT", path, {"quota_set": {"instances": 0}})
    cloud.admin.ok("PUT", path, {"quota_set": {"instances": 0, "force": True}})
    assert cloud.alpha.get("/limits")["limits"]["absolute"]["maxTotalInstances"] == 0
    for bad in (-2, "x", 2**31, 1.5, None):
        assert "ram" in cloud.admin.fails(400, "PUT", path, {"quota_set": {"ram": bad}})
    assert cloud.admin.request("DELETE", path).status_int == 202
    assert cloud.alpha.get(path)["quota_set"]["instances"] == 10
    assert cloud.alpha.get(path + "/defaults")["quota_set"]["instances"] == 10
    cloud.alpha.fails(403, "GET", "/os-quota-sets/beta")


def test_usage(cloud, active):
    server_id = cloud.alpha.boot()
    active(server_id)
    usage = cloud.alpha.get("/os-simple-tenant-usage/alpha")["tenant_usage"]
    assert usage["server_usages"][0]["instance_id"] == server_id
    assert cloud.alpha.get("/os-simple-tenant-usage/alpha?end=2011-01-01T00:00:00"
                           "&start=2010-01-01T00:00:00")["tenant_usage"]["total_hours"] == 0
    cloud.alpha.fails(403, "GET", "/os-simple-tenant-usage/beta")
    cloud.alpha.fails(403, "GET", "/os-simple-tenant-usage")
    assert cloud.admin.get("/os-simple-tenant-usage")["tenant_usages"][0]["tenant_id"] == "alpha"
    assert "start" in cloud.alpha.fails(
        400, "GET", "/os-simple-tenant-usage/alpha?start=2030-01-01T00:00:00&end=2020-01-01")


# ---------------------------------------------------------------- operators

def test_services(cloud):
    found = cloud.admin.get("/os-services")["services"]
    assert {(s["binary"], s["state"], s["status"], s["zone"]) for s in found} == {
        ("nova-compute", "up", "enabled", "nova"), ("nova-scheduler", "up", "enabled", "internal")}
    compute = {"host": "host1", "binary": "nova-compute"}
    cloud.admin.ok("PUT", "/os-services/disable-log-reason", {
        **compute, "disabled_reason": "repair"})
    [service] = cloud.admin.get("/os-services?binary=nova-compute")["services"]
    assert (service["status"], service["disabled_reason"]) == ("disabled", "repair")
    cloud.admin.ok("PUT", "/os-services/enable", compute)
    cloud.admin.ok("PUT", "/os-services/force-down", {**compute, "forced_down": True})
    [service] = cloud.admin.get("/os-services?host=host1")["services"]
    assert (service["status"], service["state"]) == ("enabled", "down")
    cloud.admin.ok("PUT", "/os-services/force-down", {**compute, "forced_down": False})
    cloud.admin.ok("PUT", "/os-services/disable", compute)
    cloud.admin.fails(404, "PUT", "/os-services/enable", {"host": "mars", "binary": "x"})
    cloud.admin.fails(400, "PUT", "/os-services/enable", {"host": "host1"})
    cloud.alpha.fails(403, "GET", "/os-services")
    cloud.alpha.fails(403, "PUT", "/os-services/enable", compute)


def test_a_host_with_servers_cannot_be_forgotten(cloud, active):
    active(cloud.alpha.boot())
    [row] = services.get_all(topic="compute")
    cloud.admin.fails(409, "DELETE", f"/os-services/{row.id}")
    cloud.admin.fails(404, "DELETE", "/os-services/nope")
    [row] = services.get_all(topic="scheduler")
    cloud.admin.ok("DELETE", f"/os-services/{row.id}", status=204)


def test_hosts(cloud, active):
    active(cloud.alpha.boot())
    found = cloud.admin.get("/os-hosts")["hosts"]
    assert {"host_name": "host1", "service": "compute", "zone": "nova"} in found
    assert len(cloud.admin.get("/os-hosts?zone=nova")["hosts"]) == 1
    lines = {one["resource"]["project"]: one["resource"]
             for one in cloud.admin.get("/os-hosts/host1")["host"]}
    assert lines["(total)"]["cpu"] == 64 and lines["alpha"]["memory_mb"] == 512
    cloud.admin.fails(404, "GET", "/os-hosts/mars")
    cloud.alpha.fails(403, "GET", "/os-hosts")
    cloud.admin.fails(501, "PUT", "/os-hosts/host1", {"status": "disable"})
    assert "status" in cloud.admin.fails(400, "PUT", "/os-hosts/host1", {"status": "x"})
    cloud.admin.fails(400, "PUT", "/os-hosts/host1", {})
    cloud.admin.fails(404, "GET", "/os-hosts/mars/reboot")


def test_hypervisors(cloud, active):
    server_id = cloud.alpha.boot()
    active(server_id)
    [hypervisor] = cloud.admin.get("/os-hypervisors")["hypervisors"]
    assert (hypervisor["state"], hypervisor["status"]) == ("up", "enabled")
    path = f"/os-hypervisors/{hypervisor['id']}"
    detail = cloud.admin.get(path)["hypervisor"]
    assert (detail["running_vms"], detail["memory_mb_used"], detail["vcpus"]) == (1, 512, 64)
    assert cloud.admin.get("/os-hypervisors/detail")["hypervisors"] == [detail]
    assert cloud.admin.get("/os-hypervisors/statistics")["hypervisor_statistics"]["count"] == 1
    cloud.compute.answers["host_uptime"] = lambda host: f"up on {host}"
    assert cloud.admin.get(path + "/uptime")["hypervisor"]["uptime"] == "up on host1"
    assert cloud.admin.get("/os-hypervisors/host/servers")["hypervisors"][0]["servers"][0][
        "uuid"] == server_id
    assert cloud.admin.get("/os-hypervisors/host1/search")["hypervisors"] == [hypervisor]
    cloud.admin.fails(404, "GET", "/os-hypervisors/nope")
    cloud.admin.fails(404, "GET", "/os-hypervisors/nope/servers")
    cloud.alpha.fails(403, "GET", "/os-hypervisors")


def test_availability_zones(cloud):
    assert cloud.alpha.get("/os-availability-zone") == {"availabilityZoneInfo": [
        {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}]}
    detail = cloud.admin.get("/os-availability-zone/detail")["availabilityZoneInfo"]
    assert [zone["zoneName"] for zone in detail] == ["internal", "nova"]
    assert detail[1]["hosts"]["host1"]["nova-compute"]["available"] is True
    cloud.alpha.fails(403, "GET", "/os-availability-zone/detail")


# ---------------------------------------------------------------- proxies

def test_images(cloud):
    [image] = cloud.beta.get("/images")["images"]
    path = f"/images/{image['id']}"
    shown = cloud.beta.get(path)["image"]
    assert (shown["status"], shown["progress"], shown["metadata"]) \
        == ("ACTIVE", 100, {"os_distro": "debian"})
    assert cloud.beta.get("/images/detail")["images"] == [shown]
    assert cloud.alpha.get("/images?limit=1")["images_links"]
    cloud.beta.fails(404, "GET", "/images/nope")
    cloud.beta.fails(403, "DELETE", path)
    mine = "/images/9a1b1a52-75a3-4f7e-8a1a-0d6c7c6a2b22"
    cloud.beta.fails(404, "GET", mine)
    assert cloud.alpha.post(mine + "/metadata", {"metadata": {"a": "1", "b": "2"}}) == {
        "metadata": {"a": "1", "b": "2"}}
    assert cloud.alpha.ok("PUT", mine + "/metadata", {"metadata": {"c": "3"}}) == {
        "metadata": {"c": "3"}}
    assert cloud.alpha.ok("PUT", mine + "/metadata/d", {"meta": {"d": "4"}}) == {
        "meta": {"d": "4"}}
    assert cloud.alpha.get(mine + "/metadata/d") == {"meta": {"d": "4"}}
    cloud.alpha.ok("DELETE", mine + "/metadata/d", status=204)
    cloud.alpha.fails(404, "GET", mine + "/metadata/d")
    cloud.alpha.ok("DELETE", mine, status=204)
    cloud.alpha.fails(404, "GET", mine)


def test_network_proxies(cloud, active):
    [network] = cloud.alpha.get("/os-networks")["networks"]
    assert network["label"] == "private"
    assert cloud.alpha.get(f"/os-networks/{network['id']}")["network"] == network
    assert cloud.alpha.get("/os-tenant-networks")["networks"][0]["id"] == network["id"]
    cloud.alpha.fails(404, "GET", "/os-networks/nope")
    [group] = cloud.alpha.get("/os-security-groups")["security_groups"]
    assert group["name"] == "default"
    assert cloud.alpha.get(f"/os-security-groups/{group['id']}")["security_group"]["id"] \
        == group["id"]
    cloud.beta.fails(404, "GET", f"/os-security-groups/{group['id']}")
    public = networks.create({"name": "public", "external": True, "cidr": "192.0.2.0/24",
                              "gateway": "192.0.2.1"})
    floating_ips.add(public.id, ["192.0.2.10"])
    assert cloud.alpha.get("/os-floating-ip-pools") == {"floating_ip_pools": [{"name": "public"}]}
    cloud.alpha.fails(404, "POST", "/os-floating-ips", {"pool": "nope"})
    made = cloud.alpha.post("/os-floating-ips", {"pool": "public"})["floating_ip"]
    assert (made["ip"], made["pool"], made["instance_id"]) == ("192.0.2.10", "public", None)
    path = f"/os-floating-ips/{made['id']}"
    cloud.beta.fails(404, "GET", path)
    cloud.beta.fails(404, "DELETE", path)
    assert cloud.alpha.get(path)["floating_ip"] == made
    cloud.alpha.fails(409, "POST", "/os-floating-ips", {"pool": "public"})
    assert cloud.alpha.request("DELETE", path).status_int == 202
    assert cloud.alpha.get("/os-floating-ips")["floating_ips"] == []


def test_security_groups_by_the_old_paths(cloud):
    group = cloud.alpha.post("/os-security-groups", {"security_group": {
        "name": "web", "description": "d"}})["security_group"]
    assert (group["name"], group["rules"], group["tenant_id"]) == ("web", [], "alpha")
    path = f"/os-security-groups/{group['id']}"
    rule = cloud.alpha.post("/os-security-group-rules", {"security_group_rule": {
        "parent_group_id": group["id"], "ip_protocol": "TCP", "from_port": "22", "to_port": 22}})
    rule = rule["security_group_rule"]
    assert (rule["ip_protocol"], rule["from_port"], rule["to_port"], rule["ip_range"]) \
        == ("tcp", 22, 22, {"cidr": "0.0.0.0/0"})
    ping = cloud.alpha.post("/os-security-group-rules", {"security_group_rule": {
        "parent_group_id": group["id"], "ip_protocol": "icmp", "from_port": -1, "to_port": -1,
        "group_id": group["id"]}})["security_group_rule"]
    assert ping["group"] == {"name": "web", "tenant_id": "alpha"} and ping["from_port"] is None
    for change in ({"from_port": 23, "to_port": 22}, {"ip_protocol": "zz"}, {"from_port": 65536},
                   {"cidr": "x"}, {"parent_group_id": "x"}, {}):
        cloud.alpha.fails(400, "POST", "/os-security-group-rules", {"security_group_rule": {
            "parent_group_id": group["id"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22,
            **change}})
    cloud.beta.fails(404, "POST", "/os-security-group-rules", {"security_group_rule": {
        "parent_group_id": group["id"], "ip_protocol": "tcp", "from_port": 1, "to_port": 2}})
    assert len(cloud.alpha.get(path)["security_group"]["rules"]) == 2
    cloud.beta.fails(404, "DELETE", f"/os-security-group-rules/{rule['id']}")
    cloud.beta.fails(404, "DELETE", path)
    assert cloud.alpha.request("DELETE", f"/os-security-group-rules/{rule['id']}").status_int \
        == 202
    assert len(cloud.alpha.get(path)["security_group"]["rules"]) == 1
    body = {"security_group": {"name": "www", "description": ""}}
    assert cloud.alpha.ok("PUT", path, body)["security_group"]["name"] == "www"
    cloud.alpha.fails(400, "POST", "/os-security-groups", {"security_group": {
        "name": "default", "description": ""}})
    assert len(cloud.admin.get("/os-security-groups?all_tenants=1")["security_groups"]) == 2
    assert len(cloud.beta.get("/os-security-groups?all_tenants=1")["security_groups"]) == 1
    assert cloud.alpha.request("DELETE", path).status_int == 202
    cloud.alpha.fails(404, "GET", path)


def test_security_groups_of_a_server(cloud, active):
    from nova.db import ports, security_groups
    server_id = cloud.alpha.boot()
    active(server_id)
    [network] = networks.find()
    ports.create({"network_id": network.id, "project_id": "alpha", "device_id": server_id,
                  "host": "host1"})
    web = security_groups.create("alpha", "web")
    path = f"/servers/{server_id}/action"
    cloud.alpha.ok("POST", path, {"addSecurityGroup": {"name": "web"}}, status=202)
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["security_groups"] == [
        {"name": "web"}]
    [group] = cloud.alpha.get(f"/servers/{server_id}/os-security-groups")["security_groups"]
    assert group["id"] == web.group.id
    assert ("compute", "refresh_instance_network", "host1", {"instance_ids": [server_id]}) \
        in cloud.network_rpc.sent
    cloud.alpha.ok("POST", path, {"removeSecurityGroup": {"name": "web"}}, status=202)
    cloud.alpha.fails(404, "POST", path, {"removeSecurityGroup": {"name": "web"}})
    cloud.alpha.fails(404, "POST", path, {"addSecurityGroup": {"name": "nope"}})


def test_extensions(cloud):
    aliases = {e["alias"] for e in cloud.alpha.get("/extensions")["extensions"]}
    assert {"os-keypairs", "os-availability-zone"} <= aliases
    assert cloud.alpha.get("/extensions/os-keypairs")["extension"]["name"] == "Keypairs"
    cloud.alpha.fails(404, "GET", "/extensions/nope")


def test_what_is_not_there_says_so(cloud):
    server_id = cloud.alpha.boot()
    for path in ("/os-volumes", "/os-cells", f"/servers/{server_id}/diagnostics"):
        assert cloud.admin.fails(501, "GET", path)
    assert cloud.admin.get("/os-aggregates") == {"aggregates": []}
    cloud.admin.fails(501, "POST", "/os-aggregates", {"aggregate": {}})
    cloud.alpha.fails(501, "POST", f"/servers/{server_id}/os-interface", {})
    assert instances.get(server_id)


def test_evacuate_is_for_administrators_and_hosts_that_are_down(cloud, active):
    server_id = cloud.alpha.boot()
    path = f"/servers/{server_id}/action"
    cloud.admin.fails(409, "POST", path, {"evacuate": {}})      # no host has it yet
    active(server_id)
    cloud.alpha.fails(403, "POST", path, {"evacuate": {}})
    assert "still in use" in cloud.admin.fails(400, "POST", path, {"evacuate": {}})
    cloud.admin.ok("PUT", "/os-services/force-down", {
        "host": "host1", "binary": "nova-compute", "forced_down": True})
    [service] = cloud.admin.get("/os-services?binary=nova-compute")["services"]
    assert (service["state"], service["forced_down"]) == ("down", True)
    cloud.admin.fails(501, "POST", path, {"evacuate": {"onSharedStorage": True}})
    for wrong in ({"host": ""}, {"host": 1}, {"host": "nowhere"}, {"onSharedStorage": "x"},
                  {"more": 1}):
        cloud.admin.fails(400, "POST", path, {"evacuate": wrong})
    answer = cloud.admin.ok("POST", path, {"evacuate": {"adminPass": "s"}}, status=200)
    assert answer == {"adminPass": "s"}
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["status"] == "BUILD"
    assert cloud.scheduler.casts[-1] == (
        "schedule_instances", None, {"instance_ids": [server_id]})


def test_bug_service_could_not_be_deleted_by_the_number_it_is_shown_under(cloud):
    [service] = cloud.admin.get("/os-services?binary=nova-scheduler")["services"]
    cloud.admin.ok("DELETE", f"/os-services/{service['id']}", status=204)
    assert cloud.admin.get("/os-services?binary=nova-scheduler")["services"] == []
