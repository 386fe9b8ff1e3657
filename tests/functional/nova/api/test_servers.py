# SPDX-License-Identifier: Apache-2.0
"""Servers through the Compute API: made, listed, changed and removed."""

import base64
import json

import pytest
from compute_api import IMAGE_ID

from nova.compute.states import TaskState
from nova.db import instances, quotas
from nova.db.models import InstanceAction


def test_create_writes_a_row_then_tells_the_scheduler(cloud):
    response = cloud.alpha.request("POST", "/servers", {"server": {
        "name": " one ", "flavorRef": "1", "imageRef": IMAGE_ID, "metadata": {"a": "b"}}})
    assert response.status_int == 202
    server = json.loads(response.body)["server"]
    assert response.headers["Location"].endswith(f"/v2.1/servers/{server['id']}")
    assert set(server) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    assert server["security_groups"] == [{"name": "default"}]
    assert cloud.scheduler.casts == [
        ("schedule_instances", None, {"instance_ids": [server["id"]]})]
    shown = cloud.alpha.get(f"/servers/{server['id']}")["server"]
    assert shown["status"] == "BUILD" and shown["OS-EXT-STS:task_state"] == "scheduling"
    assert shown["name"] == "one" and shown["metadata"] == {"a": "b"} and shown["progress"] == 0
    assert shown["image"]["id"] == IMAGE_ID and shown["flavor"]["id"] == "1"
    assert shown["tenant_id"] == "alpha" and shown["user_id"] == "alice"
    assert "OS-EXT-SRV-ATTR:host" not in shown
    assert [a["action"] for a in cloud.alpha.get(
        f"/servers/{server['id']}/os-instance-actions")["instanceActions"]] == ["create"]


def test_a_lost_broker_loses_no_server(cloud):
    cloud.scheduler.broken = True
    server_id = cloud.alpha.boot()
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["status"] == "BUILD"


@pytest.mark.parametrize(("change", "named"), [
    ({"name": ""}, "name"), ({"name": "x" * 256}, "name"), ({"name": None}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"flavorRef": "nope"}, "flavorRef"), ({"flavorRef": ""}, "flavorRef"),
    ({"flavorRef": {}}, "flavorRef"),
    ({"imageRef": "no-such"}, "imageRef"), ({"imageRef": ""}, "imageRef"),
    ({"key_name": "nope"}, "key_name"), ({"metadata": {"": "x"}}, "metadata"),
    ({"metadata": {"k": 1}}, "metadata.k"), ({"metadata": {"k" * 256: "v"}}, "metadata"),
    ({"user_data": "%%%"}, "user_data"), ({"user_data": "A" * 70000}, "user_data"),
    ({"networks": [{}]}, "networks.0"), ({"networks": "many"}, "networks"),
    ({"networks": [{"uuid": "x"}]}, "networks.0.uuid"),
    ({"networks": [{"uuid": "11111111-2222-3333-4444-555555555555"}]}, "networks"),
    ({"security_groups": [{"name": "nope"}]}, "security_groups"),
    ({"security_groups": [{}]}, "security_groups.0"),
    ({"availability_zone": "mars"}, "availability_zone"),
    ({"min_count": 3, "max_count": 2}, "min_count"), ({"min_count": 0}, "min_count"),
    ({"min_count": "99999999999"}, "min_count"), ({"accessIPv4": "::1"}, "accessIPv4"),
    ({"accessIPv6": "10.0.0.1"}, "accessIPv6"), ({"config_drive": "maybe"}, "config_drive"),
    ({"OS-DCF:diskConfig": "auto"}, "diskConfig"), ({"personality": [{"path": "/x"}]},
                                                     "personality"),
    ({"bogus": 1}, "bogus"),
])
def test_bad_requests_name_the_field(cloud, change, named):
    server = {"name": "one", "flavorRef": "1", "imageRef": IMAGE_ID, **change}
    assert named in cloud.alpha.fails(400, "POST", "/servers", {"server": server})
    assert cloud.alpha.get("/servers")["servers"] == []
    assert cloud.scheduler.casts == []


def test_the_root_image_can_be_named_as_a_local_disk(cloud):
    cloud.alpha.boot(block_device_mapping_v2=[{
        "source_type": "image", "destination_type": "local", "uuid": IMAGE_ID, "boot_index": 0}])


def test_several_at_once_share_a_reservation_and_are_numbered(cloud):
    answer = cloud.alpha.post("/servers", {"server": {
        "name": "n", "flavorRef": "1", "imageRef": IMAGE_ID, "min_count": 2, "max_count": 3,
        "return_reservation_id": True}})
    servers = cloud.alpha.get(f"/servers?reservation_id={answer['reservation_id']}")["servers"]
    assert sorted(s["name"] for s in servers) == ["n-1", "n-2", "n-3"]
    assert len(cloud.scheduler.casts) == 1


def test_quota_counts_rows_and_gives_as_many_as_fit(cloud):
    quotas.set_limits("alpha", {"instances": 3})
    cloud.alpha.boot()
    message = cloud.alpha.fails(403, "POST", "/servers", {"server": {
        "name": "n", "flavorRef": "1", "imageRef": IMAGE_ID, "min_count": 3}})
    assert "instances" in message
    cloud.alpha.boot(min_count=1, max_count=5)
    assert len(cloud.alpha.get("/servers")["servers"]) == 3
    cloud.beta.boot()


def test_list_pages_with_links(cloud):
    made = [cloud.alpha.boot(f"s{n}") for n in range(5)]
    first = cloud.alpha.get("/servers?limit=2")
    assert [s["id"] for s in first["servers"]] == [made[4], made[3]]
    path = first["servers_links"][0]["href"].partition("/v2.1")[2]
    second = cloud.alpha.get(path)
    assert [s["id"] for s in second["servers"]] == [made[2], made[1]]
    last = cloud.alpha.get(second["servers_links"][0]["href"].partition("/v2.1")[2])
    assert [s["id"] for s in last["servers"]] == [made[0]] and "servers_links" not in last
    assert cloud.alpha.get("/servers?limit=0")["servers"] == []
    assert "limit" in cloud.alpha.fails(400, "GET", "/servers?limit=-1")
    assert "marker" in cloud.alpha.fails(400, "GET", "/servers?marker=nope")
    assert "sort_key" in cloud.alpha.fails(400, "GET", "/servers?sort_key=nope")
    assert "sort_dir" in cloud.alpha.fails(400, "GET", "/servers?sort_dir=up")
    by_name = cloud.alpha.get("/servers?sort_key=display_name&sort_dir=asc")["servers"]
    assert [s["name"] for s in by_name] == ["s0", "s1", "s2", "s3", "s4"]


def test_filters(cloud, active):
    one, two = cloud.alpha.boot("web-1"), cloud.alpha.boot("db-2")
    active(one)

    def ids(query):
        return {s["id"] for s in cloud.alpha.get(f"/servers?{query}")["servers"]}
    assert ids("name=WEB") == {one} and ids("name=%5Eweb-%5B0-9%5D%2B%24") == {one}
    assert ids("name=-") == {one, two} and ids("name=zz") == set()
    assert ids("status=ACTIVE") == {one} and ids("status=active&status=BUILD") == {one, two}
    assert ids("status=BUILD") == {two} and ids("status=SHUTOFF") == set()
    assert ids("status=NOSUCH") == set()
    assert ids("flavor=1") == {one, two} and ids("flavor=2") == set()
    assert ids(f"image={IMAGE_ID}") == {one, two} and ids("image=zz") == set()
    assert ids("changes-since=2011-01-01T00:00:00Z") == {one, two}
    assert ids("changes-since=2999-01-01T00:00:00%2B02:00") == set()
    assert ids("host=elsewhere") == {one, two}      # an administrator's filter, ignored
    assert {s["id"] for s in cloud.admin.get("/servers?all_tenants=1&host=host1")["servers"]} \
        == {one}
    assert "changes-since" in cloud.alpha.fails(400, "GET", "/servers?changes-since=now")
    assert "name" in cloud.alpha.fails(400, "GET", "/servers?name=(a%2B)%2B")
    assert "all_tenants" in cloud.admin.fails(400, "GET", "/servers?all_tenants=maybe")


def test_filter_by_address(cloud, active):
    server_id = cloud.alpha.boot()
    assert cloud.alpha.get("/servers?ip=10.0")["servers"] == []
    from nova.db import networks, ports
    [network] = networks.find()
    ports.create({"network_id": network.id, "project_id": "alpha", "device_id": server_id},
                 address="10.0.0.7")
    assert [s["id"] for s in cloud.alpha.get("/servers?ip=10.0")["servers"]] == [server_id]
    assert cloud.alpha.get("/servers?ip=%5E10%5C.0%5C.0%5C.8%24")["servers"] == []
    [address] = cloud.alpha.get(f"/servers/{server_id}")["server"]["addresses"]["private"]
    assert address["addr"] == "10.0.0.7" and address["OS-EXT-IPS:type"] == "fixed"
    assert cloud.alpha.get(f"/servers/{server_id}/ips")["addresses"] == {
        "private": [{"addr": "10.0.0.7", "version": 4}]}
    assert cloud.alpha.get(f"/servers/{server_id}/ips/private")["private"][0]["version"] == 4
    cloud.alpha.fails(404, "GET", f"/servers/{server_id}/ips/other")
    [port] = cloud.alpha.get(f"/servers/{server_id}/os-interface")["interfaceAttachments"]
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.7"


def test_admin_sees_all_tenants_and_the_host(cloud, active):
    server_id = cloud.alpha.boot()
    active(server_id)
    cloud.alpha.fails(403, "GET", "/servers?all_tenants=1")
    assert cloud.admin.get("/servers/detail")["servers"] == []
    [server] = cloud.admin.get("/servers/detail?all_tenants=true")["servers"]
    assert server["OS-EXT-SRV-ATTR:host"] == "host1"
    assert server["OS-EXT-SRV-ATTR:hypervisor_hostname"] == "host1"
    assert server["OS-EXT-AZ:availability_zone"] == "nova" and len(server["hostId"]) == 56


def test_delete_before_a_host_took_it_is_immediate(cloud):
    server_id = cloud.alpha.boot()
    cloud.alpha.ok("DELETE", f"/servers/{server_id}", status=204)
    cloud.alpha.fails(404, "GET", f"/servers/{server_id}")
    cloud.alpha.fails(404, "DELETE", f"/servers/{server_id}")
    assert cloud.compute.casts == []
    assert cloud.alpha.get(f"/servers/{server_id}/os-instance-actions")["instanceActions"][0][
        "action"] == "delete"


def test_delete_without_a_network_worker_is_left_to_the_reconciler(cloud, monkeypatch):
    from nova import exception
    from nova.db import networks, ports
    server_id = cloud.alpha.boot()
    [network] = networks.find()
    ports.create({"network_id": network.id, "project_id": "alpha", "device_id": server_id})

    def timed_out(*_args, **_kwargs):
        raise exception.RpcTimeout(method="m", topic="network", seconds=1)
    monkeypatch.setattr(cloud.api.network, "deallocate_for_instance", timed_out)
    cloud.alpha.ok("DELETE", f"/servers/{server_id}", status=204)
    assert instances.get(server_id).task_state == "deleting"
    monkeypatch.undo()
    cloud.alpha.ok("DELETE", f"/servers/{server_id}", status=204)
    cloud.alpha.fails(404, "GET", f"/servers/{server_id}")


def test_delete_on_a_host_is_the_workers(cloud, active):
    server_id = cloud.alpha.boot()
    active(server_id)
    for _ in range(2):      # asking again is no error
        cloud.alpha.ok("DELETE", f"/servers/{server_id}", status=204)
    assert cloud.compute.casts == [
        ("terminate_instance", "host1", {"instance_id": server_id})] * 2
    row = instances.get(server_id)
    assert row.task_state == "deleting" and row.desired_state == "deleted"


@pytest.mark.parametrize("vm_state", ["active", "stopped", "error"])
def test_delete_works_from_every_state(cloud, active, vm_state):
    server_id = cloud.alpha.boot()
    active(server_id, vm_state)
    cloud.alpha.ok("DELETE", f"/servers/{server_id}", status=204)
    assert cloud.compute.casts[-1][0] == "terminate_instance"


def test_actions_move_the_state_and_tell_the_host(cloud, active):
    server_id = cloud.alpha.boot()
    path = f"/servers/{server_id}/action"
    cloud.alpha.fails(409, "POST", path, {"os-stop": None})
    active(server_id)
    cloud.alpha.ok("POST", path, {"os-stop": None}, status=202)
    assert cloud.compute.casts[-1][:2] == ("stop_instance", "host1")
    assert "stop" in cloud.alpha.fails(409, "POST", path, {"os-stop": None})
    active_again = instances.transition(server_id, vm_state="stopped", task_state=None)
    assert active_again.desired_state == "stopped"
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["status"] == "SHUTOFF"
    cloud.alpha.ok("POST", path, {"os-start": None}, status=202)
    assert instances.get(server_id).desired_state == "active"
    instances.transition(server_id, vm_state="active", task_state=None)
    cloud.alpha.ok("POST", path, {"reboot": {"type": "SOFT"}}, status=202)
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["status"] == "REBOOT"
    assert cloud.alpha.get("/servers?status=REBOOT")["servers"]
    cloud.alpha.ok("POST", path, {"reboot": {"type": "hard"}}, status=202)
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["status"] == "HARD_REBOOT"
    assert cloud.alpha.get("/servers?status=HARD_REBOOT")["servers"]
    assert "type" in cloud.alpha.fails(400, "POST", path, {"reboot": {"type": "x"}})
    assert "resize" in cloud.alpha.fails(501, "POST", path, {"resize": {"flavorRef": "2"}})
    cloud.alpha.fails(403, "POST", path, {"migrate": None})
    cloud.alpha.fails(404, "POST", "/servers/nope/action", {"resize": {"flavorRef": "2"}})
    cloud.alpha.fails(400, "POST", path, {"explode": None})
    cloud.alpha.fails(400, "POST", path, {"os-stop": None, "os-start": None})
    actions = cloud.admin.get(f"/servers/{server_id}/os-instance-actions")["instanceActions"]
    assert [a["action"] for a in actions] == ["reboot", "reboot", "start", "stop", "create"]
    one = cloud.admin.get(
        f"/servers/{server_id}/os-instance-actions/{actions[0]['request_id']}")["instanceAction"]
    [event] = one["events"]
    assert (event["event"], event["result"]) == ("compute_rebooting_hard", None)


def test_console_output_comes_from_the_host(cloud, active):
    server_id = cloud.alpha.boot()
    path = f"/servers/{server_id}/action"
    cloud.alpha.fails(409, "POST", path, {"os-getConsoleOutput": {}})
    active(server_id)
    cloud.compute.answers["get_console_output"] = \
        lambda host, instance_id, lines=None: f"{host} {lines}"
    assert cloud.alpha.ok("POST", path, {"os-getConsoleOutput": {"length": 5}}, status=200) \
        == {"output": "host1 5"}
    assert cloud.alpha.ok("POST", path, {"os-getConsoleOutput": {}})["output"] == "host1 None"
    assert cloud.alpha.ok("POST", path, {"os-getConsoleOutput": {"length": "-1"}})
    cloud.alpha.fails(400, "POST", path, {"os-getConsoleOutput": {"length": "x"}})


def test_a_locked_server_is_an_administrators(cloud, active):
    server_id = cloud.alpha.boot()
    active(server_id)
    path = f"/servers/{server_id}/action"
    cloud.alpha.ok("POST", path, {"lock": None}, status=202)
    cloud.alpha.fails(409, "POST", path, {"os-stop": None})
    cloud.alpha.fails(409, "DELETE", f"/servers/{server_id}")
    cloud.alpha.ok("POST", path, {"unlock": None}, status=202)
    cloud.alpha.ok("POST", path, {"os-stop": None}, status=202)


def test_update(cloud):
    server_id = cloud.alpha.boot()
    server = cloud.alpha.ok("PUT", f"/servers/{server_id}", {"server": {
        "name": "new", "accessIPv4": "192.0.2.1", "OS-DCF:diskConfig": "AUTO"}})["server"]
    assert (server["name"], server["accessIPv4"], server["OS-DCF:diskConfig"]) \
        == ("new", "192.0.2.1", "AUTO")
    server = cloud.alpha.ok("PUT", f"/servers/{server_id}", {"server": {"accessIPv4": ""}})
    assert server["server"]["accessIPv4"] == ""
    cloud.alpha.fails(400, "PUT", f"/servers/{server_id}", {"server": {"name": ""}})
    cloud.alpha.fails(400, "PUT", f"/servers/{server_id}", {"server": {}})


def test_metadata(cloud):
    path = f"/servers/{cloud.alpha.boot(metadata={'a': '1'})}/metadata"
    assert cloud.alpha.get(path) == {"metadata": {"a": "1"}}
    assert cloud.alpha.post(path, {"metadata": {"b": "2"}}) == {"metadata": {"a": "1", "b": "2"}}
    assert cloud.alpha.ok("PUT", path, {"metadata": {"c": "3"}}) == {"metadata": {"c": "3"}}
    assert cloud.alpha.ok("PUT", path + "/d", {"meta": {"d": "4"}}) == {"meta": {"d": "4"}}
    cloud.alpha.fails(400, "PUT", path + "/d", {"meta": {"e": "4"}})
    assert cloud.alpha.get(path + "/d") == {"meta": {"d": "4"}}
    cloud.alpha.ok("DELETE", path + "/d", status=204)
    cloud.alpha.fails(404, "DELETE", path + "/d")
    cloud.alpha.fails(404, "GET", path + "/d")
    too_many = {f"k{n}": "v" for n in range(129)}
    cloud.alpha.fails(403, "POST", path, {"metadata": too_many})
    assert cloud.alpha.get(path) == {"metadata": {"c": "3"}}


def test_user_data_key_and_groups_reach_the_row(cloud):
    cloud.alpha.post("/os-keypairs", {"keypair": {"name": "k"}})
    text = base64.b64encode(b"#!/bin/sh").decode()
    server_id = cloud.alpha.boot(user_data=text, key_name="k", config_drive=True,
                                 security_groups=[{"name": "default"}],
                                 availability_zone="nova")
    row = instances.get(server_id)
    assert row.user_data == text and row.key_name == "k" and row.config_drive is True
    assert row.key_data.startswith("ssh-rsa ") and row.availability_zone == "nova"
    assert row.build_request["networks"] is None
    assert row.build_request["image_properties"] == {"os_distro": "debian"}


def test_only_an_administrator_forces_a_host(cloud):
    server = {"name": "one", "flavorRef": "1", "imageRef": IMAGE_ID,
              "availability_zone": "nova:host1"}
    cloud.alpha.fails(403, "POST", "/servers", {"server": server})
    server_id = cloud.admin.boot(availability_zone="nova:host1")
    assert instances.get(server_id).build_request["forced_host"] == "host1"
    assert "availability_zone" in cloud.admin.fails(400, "POST", "/servers", {"server": {
        **server, "availability_zone": "nova:mars"}})


def test_a_fault_says_why_and_details_only_to_the_administrator(cloud):
    server_id = cloud.alpha.boot()
    instances.add_fault(server_id, 500, "No valid host was found.", details="Traceback")
    instances.transition(server_id, vm_state="error", task_state=None)
    fault = cloud.alpha.get(f"/servers/{server_id}")["server"]["fault"]
    assert fault["message"] == "No valid host was found." and "details" not in fault
    assert cloud.admin.get(f"/servers/{server_id}")["server"]["fault"]["details"] == "Traceback"


def test_an_administrator_resets_a_state(cloud, active):
    server_id = cloud.alpha.boot()
    active(server_id)
    path = f"/servers/{server_id}/action"
    cloud.alpha.ok("POST", path, {"os-stop": None}, status=202)
    cloud.alpha.fails(403, "POST", path, {"os-resetState": {"state": "error"}})
    cloud.admin.fails(400, "POST", path, {"os-resetState": {"state": "stopped"}})
    cloud.admin.ok("POST", path, {"os-resetState": {"state": "error"}}, status=202)
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["status"] == "ERROR"
    cloud.alpha.ok("DELETE", f"/servers/{server_id}", status=204)


def test_addresses_are_shown_in_their_short_form(cloud):
    server_id = cloud.alpha.boot(accessIPv6="0000:0000:0000:0000:0000:babe:220.12.22.2")
    assert cloud.alpha.get(f"/servers/{server_id}")["server"]["accessIPv6"] == "::babe:dc0c:1602"


def test_the_log_of_a_server_is_its_owners_with_reasons_only_for_operators(cloud, active):
    server_id = cloud.alpha.boot()
    path = f"/servers/{server_id}/os-instance-actions"
    active(server_id)
    cloud.alpha.ok("POST", f"/servers/{server_id}/action", {"lock": None}, status=202)
    instances.begin_task(server_id, TaskState.REBOOTING, log=InstanceAction(
        instance_id=server_id, project_id="alpha", action="reboot", request_id="req-r"))
    instances.transition(server_id, task_state=None, error="It failed.", detail="by host1")
    log = cloud.alpha.get(path)["instanceActions"]
    assert [(one["action"], one["message"]) for one in log] == [
        ("reboot", "It failed."), ("lock", None), ("create", None)]
    assert all(one["start_time"] <= one["updated_at"] for one in log)
    for client, reason in ((cloud.alpha, None), (cloud.admin, "by host1")):
        [event] = client.get(f"{path}/req-r")["instanceAction"]["events"]
        assert (event["event"], event["result"], event["traceback"]) == (
            "compute_rebooting", "Error", reason)
        assert event["start_time"] <= event["finish_time"]
        assert event.get("host") == (reason and "host1")
    cloud.beta.fails(404, "GET", path)
    cloud.beta.fails(404, "GET", f"{path}/req-r")
    cloud.alpha.fails(404, "GET", f"{path}/req-none")
