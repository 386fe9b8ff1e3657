# SPDX-License-Identifier: Apache-2.0
"""Volumes of a real guest through the APIs, over iSCSI, with nova killed in the middle."""

import time

import pytest
from guest_shell import GuestShell
from real_cloud import EXTRA, RealCloud
from tgt import Tgt

pytestmark = [pytest.mark.guest, pytest.mark.whole, pytest.mark.timeout(900)]

SETTLE = 180        # seconds for one change of a volume
CONFIG = """
[api]
volume_listen = 127.0.0.1
volume_port = {port}
[volume]
driver = iscsi
iscsi_portal = 127.0.0.1:{portal}
tgt_socket = {socket}
"""


class VolumeCloud(RealCloud):
    """A real cloud whose volume worker exports over iSCSI."""

    def __init__(self, host, free_port, image):
        self.volume_port = free_port()
        self.tgt = Tgt(host, free_port())
        super().__init__(host, free_port, image)
        self.values["apis"] = "compute,volume"
        self.values["extra"] = EXTRA + CONFIG.format(
            port=self.volume_port, portal=self.tgt.port, socket=self.tgt.socket)

    def __exit__(self, *error):
        super().__exit__(*error)
        self.tgt.close()

    def volumes(self, method, path, body=None):
        status, answer = self.ask(method, f"http://127.0.0.1:{self.volume_port}/v3{path}", body)
        assert status < 300, answer
        return answer

    def wait_volume(self, volume, status):
        until = time.monotonic() + SETTLE
        while (found := self.volumes("GET", f"/volumes/{volume}")["volume"])["status"] != status:
            assert time.monotonic() < until, f"{found}\n{self.deeds()}"
            time.sleep(0.3)

    def restart(self):
        self.kill("all-host1")
        self.start("all")
        self.wait_ready(workers=4)

    def attachments(self, server, method="GET", path="", body=None):
        return self.ask(method, f"/servers/{server}/os-volume_attachments{path}", body)


@pytest.fixture
def cloud(pretend_host, guest_image, free_port):
    with VolumeCloud(pretend_host, free_port, guest_image) as made:
        made.start("all")
        made.wait_ready(workers=4)
        yield made


def test_killed_while_a_volume_comes_and_goes(cloud, pretend_host):
    """P2, P3, V9: kill -9 in the middle of attach and detach; guest, row and export agree."""
    volume = cloud.volumes("POST", "/volumes", {"volume": {"size": 1}})["volume"]["id"]
    server = cloud.boot()
    cloud.wait(server, "ACTIVE")
    cloud.wait_volume(volume, "available")
    shell = GuestShell(pretend_host, server, lambda: cloud.console(server))
    status, answer = cloud.attachments(
        server, "POST", body={"volumeAttachment": {"volumeId": volume}})
    assert status == 200, answer
    time.sleep(0.2)
    cloud.restart()
    cloud.wait_volume(volume, "in-use")
    disk = shell.disk(volume)
    shell.run(f"printf precious > {disk} && sync")

    assert cloud.attachments(server, "DELETE", f"/{volume}")[0] == 202
    time.sleep(0.2)
    cloud.restart()
    cloud.wait_volume(volume, "available")
    assert cloud.tgt.tell("show", "target").count("I_T nexus:") == 0

    # Once more, and the server goes with the volume still in it.
    assert cloud.attachments(server, "POST", body={"volumeAttachment": {"volumeId": volume}})[0] \
        == 200
    cloud.wait_volume(volume, "in-use")
    assert shell.run(f"head -c 8 {shell.disk(volume)}") == "precious"
    assert cloud.ask("DELETE", f"/servers/{server}")[0] == 204
    cloud.wait(server, None)
    cloud.wait_volume(volume, "available")
    assert cloud.tgt.tell("show", "target").count("I_T nexus:") == 0
    assert cloud.manage("audit").strip() == "0 findings, 0 left"
