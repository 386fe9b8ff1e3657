# SPDX-License-Identifier: Apache-2.0
"""A compute host's driver as a process: JSON requests on stdin, one a line, answers on stdout.

Run inside a pretend host, patched as the daemons are.  Images are files of a directory.
"""

import sys

from nova import concurrency

concurrency.patch()

import dataclasses  # noqa: E402
import hashlib  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from oslo_config import cfg  # noqa: E402

from nova.image.model import Image  # noqa: E402
from nova.network.model import VIF  # noqa: E402
from nova.virt.driver import (  # noqa: E402
    AttachedVolume,
    BootImages,
    InstanceSpec,
    RebootType,
    load_driver,
)
from nova.volume.model import VolumeConnection  # noqa: E402


class Files:
    """Images as files; ``slow`` seconds pass before each chunk."""

    def __init__(self, directory, slow=0.0):
        self.directory, self.slow, self.fetched = Path(directory), slow, []

    def image(self, name, disk_format):
        data = (self.directory / name).read_bytes()
        return Image(id=name, size=len(data), disk_format=disk_format, hash_algorithm="sha512",
                     hash_value=hashlib.sha512(data).hexdigest())

    def download(self, image_id):
        self.fetched.append(image_id)
        with (self.directory / image_id).open("rb") as file:
            while chunk := file.read(1 << 20):
                time.sleep(self.slow)
                yield chunk


def volume_of(values):
    return AttachedVolume(VolumeConnection.from_dict(values["connection"]), values["device"],
                          values.get("boot_index"))


def spec_of(values):
    volumes = tuple(volume_of(one) for one in values.pop("volumes", ()))
    vifs = tuple(VIF.from_wire(vif) for vif in values.pop("vifs", ()))
    drive = values.pop("config_drive", None)
    return InstanceSpec(**values, vifs=vifs, volumes=volumes, config_drive=drive and {
        name: text.encode() for name, text in drive.items()})


def perform(driver, source, request):
    operation = request.pop("op")
    if operation == "spawn":
        source.slow = request.get("slow", 0.0)
        images = {kind: source.image(*named) for kind, named in request["images"].items()}
        driver.spawn(spec_of(request["spec"]), BootImages(**images), source)
        return source.fetched
    if operation == "reboot":
        driver.reboot(spec_of(request["spec"]), RebootType(request["kind"]), request["timeout"])
        return None
    if operation == "power_on":
        driver.power_on(spec_of(request["spec"]))
        return None
    if operation == "attach":
        driver.attach_volume(request["id"], volume_of(request["volume"]))
        return None
    if operation == "console":
        return driver.get_console_output(request["id"], request["limit"]).decode(errors="replace")
    if operation == "list":
        return {one: dataclasses.asdict(info) for one, info in driver.list_instances().items()}
    if operation == "resources":
        return dataclasses.asdict(driver.get_available_resource())
    if operation == "audit":
        return [problem.as_tuple() for problem in driver.audit(request["ids"])]
    if operation == "refresh_network":
        driver.refresh_network(
            {request["id"]: [VIF.from_wire(vif) for vif in request["vifs"]]})
        return None
    return getattr(driver, operation)(*request.get("args", ()))


def main():
    instances_path, images_path = sys.argv[1:]
    cfg.CONF([], project="nova", default_config_files=[])
    cfg.CONF.set_override("instances_path", instances_path)
    cfg.CONF.set_override("compute_driver", "libvirt")
    driver = load_driver("here")
    driver.init_host()
    source = Files(images_path)
    print(json.dumps({"ready": driver.machine.virt_type}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"result": perform(driver, source, json.loads(line))}
        except Exception as error:  # whatever it is, it is the answer
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
