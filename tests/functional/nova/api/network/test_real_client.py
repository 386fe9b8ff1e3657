# SPDX-License-Identifier: Apache-2.0
"""openstacksdk, unmodified, against the API on a real port."""

import threading
import warnings
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import openstack

from openstack import exceptions


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def connect(api):
    """A function that connects as a caller."""
    server = make_server("127.0.0.1", 0, api.app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made = []

    def connect(token):
        made.append(openstack.connect(
            auth_type="admin_token", load_yaml_config=False, load_envvars=False,
            auth={"token": token, "endpoint": f"http://127.0.0.1:{server.server_port}"}))
        return made[-1]

    yield connect
    for one in made:
        one.close()
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.filterwarnings("ignore")
def test_what_people_do(connect, api, flat, public):
    net = connect("ann:alpha").network
    assert {one.name for one in net.networks()} == {"private", "public"}
    assert [one.name for one in net.networks(is_router_external=True)] == ["public"]
    assert net.find_network("private").id == flat.id
    assert net.find_extension("router").alias == "router"
    own = net.create_network(name="own")
    subnet = net.create_subnet(network_id=own.id, ip_version=4, cidr="10.5.0.0/24")
    port = net.create_port(network_id=own.id, name="p", fixed_ips=[{"ip_address": "10.5.0.9"}])
    assert net.find_port("p").fixed_ips[0]["ip_address"] == "10.5.0.9"
    assert [one.id for one in net.ports(network_id=own.id, limit=1)] == [port.id]
    floating = net.create_ip(floating_network_id=public.id)
    assert net.update_ip(floating, port_id=port.id).fixed_ip_address == "10.5.0.9"
    assert net.find_ip(floating.floating_ip_address).port_id == port.id
    net.update_ip(floating, port_id=None)
    group = net.create_security_group(name="web")
    net.create_security_group_rules([
        {"security_group_id": group.id, "direction": "ingress", "protocol": "tcp",
         "port_range_min": number, "port_range_max": number} for number in (80, 443)])
    assert len(net.get_security_group(group.id).security_group_rules) == 4
    net.update_port(port, security_groups=[group.id])
    with pytest.raises(exceptions.ConflictException):
        net.delete_security_group(group.id)
    net.delete_ip(floating)
    net.delete_port(port)
    net.delete_security_group(group.id)
    net.delete_subnet(subnet)
    net.delete_network(own)
    assert {one.name for one in net.networks()} == {"private", "public"}
    assert net.get_quota("alpha").ports == 500


@pytest.mark.filterwarnings("ignore")
def test_pages_are_followed(connect, api, flat):
    for number in range(7):
        api.post("/ports", {"port": {"network_id": flat.id, "name": f"p{number}"}})
    net = connect("ann:alpha").network
    assert len(list(net.ports(limit=3))) == 7
    admin = connect("admin:admin").network
    [shown] = [one for one in admin.network_ip_availabilities() if one.network_id == flat.id]
    assert (shown.used_ips, shown.total_ips) == (7, 253)
