# SPDX-License-Identifier: Apache-2.0
"""May this server be made?  Looks at everything a boot refers to and touches nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nova import exception, policy, quota
from nova.compute import block_devices
from nova.compute.block_devices import BlockDevice
from nova.context import RequestContext
from nova.db import flavors, keypairs, services
from nova.db.models import Flavor
from nova.image.model import Image

FORCED_HOST = "compute:servers:create:forced_host"
policy.register(FORCED_HOST, policy.ADMIN, "Create a server on a host named in the zone")

MAX_USER_DATA = 65535
_GIB = 1024 ** 3


@dataclass(frozen=True)
class BootRequest:
    """A wish for servers.

    ``networks``: None for the default, "none", or dicts of ``uuid``, ``port``, ``fixed_ip``.
    ``user_data`` is base64.  ``availability_zone`` may carry an administrator's ``zone:host``.
    """

    name: str
    flavor_id: str
    image_id: str | None = None
    min_count: int = 1
    max_count: int = 1
    key_name: str | None = None
    networks: Sequence[Mapping[str, Any]] | str | None = None
    security_groups: Sequence[str] = ()
    user_data: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    config_drive: bool = False
    description: str | None = None
    access_ip_v4: str | None = None
    access_ip_v6: str | None = None
    scheduler_hints: Mapping[str, Any] = field(default_factory=dict)
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    disk_config: str = "MANUAL"
    block_devices: Sequence[BlockDevice] = ()


@dataclass(frozen=True)
class Root:
    """What a server boots from: an image or, with ``image`` None, a volume."""

    image: Image | None
    kernel_id: str | None
    ramdisk_id: str | None
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """A boot that may go ahead: the columns its rows share."""

    flavor: Flavor
    columns: Mapping[str, Any]


def owner_of(context: RequestContext) -> str:
    """Return the project what a caller makes will belong to; Forbidden without one."""
    if not context.project_id:
        raise exception.Forbidden("This needs a token for a project.")
    return context.project_id


def check_boot(context: RequestContext, request: BootRequest, images: Any,
               network: Any, volumes: Any) -> Plan:
    """Return the plan of a boot, or raise BadRequest (OverQuota, Forbidden) that says why not."""
    if request.min_count > request.max_count:
        raise exception.BadRequest("min_count must be <= max_count")
    limits = quota.limits(owner_of(context))
    quota.check_count("metadata_items", len(request.metadata), limits["metadata_items"])
    if request.user_data and len(request.user_data) > MAX_USER_DATA:
        raise exception.BadRequest(f"user_data is longer than {MAX_USER_DATA} characters.")
    flavor = _flavor(context, request.flavor_id)
    zone, host = _zone(context, request.availability_zone)
    key = _key(context, request.key_name)
    block_devices.check_count(request.block_devices, request.max_count)
    block_devices.check(context, volumes, request.block_devices)
    root = _root(context, request, images, volumes, flavor)
    wired = network.validate_requested(context, request.networks, list(request.security_groups))
    return Plan(flavor, {
        "description": request.description,
        "image_id": root.image and root.image.id, "kernel_id": root.kernel_id,
        "ramdisk_id": root.ramdisk_id,
        "flavor_id": flavor.flavorid, "flavor_name": flavor.name,
        "flavor_extra_specs": dict(flavor.extra_specs), "vcpus": flavor.vcpus,
        "memory_mb": flavor.memory_mb, "root_gb": flavor.root_gb if root.image else 0,
        "ephemeral_gb": flavor.ephemeral_gb, "swap_mb": flavor.swap_mb,
        "availability_zone": zone, "key_name": key and key.name,
        "key_data": key and key.public_key, "user_data": request.user_data,
        "config_drive": request.config_drive, "access_ip_v4": request.access_ip_v4,
        "access_ip_v6": request.access_ip_v6, "metadata_": dict(request.metadata),
        "build_request": {
            **wired,
            "security_group_names": list(request.security_groups),
            "scheduler_hints": dict(request.scheduler_hints),
            "image_properties": dict(root.properties),
            "forced_host": host,
            "request_id": context.request_id,
            "disk_config": request.disk_config,
            "refusals": [],
        }})


def _flavor(context: RequestContext, flavor_id: str) -> Flavor:
    # In the caller's own scope, always: a private flavor is nobody else's by its id either.
    try:
        flavor = flavors.get(flavor_id, context.project_id if not context.is_admin else None)
    except exception.FlavorNotFound as error:
        raise exception.BadRequest(f"flavorRef: {error}") from None
    if flavor.disabled:
        raise exception.BadRequest(f"flavorRef: flavor {flavor_id} is disabled.")
    return flavor


def _key(context: RequestContext, name: str | None) -> Any:
    if not name:
        return None
    try:
        return keypairs.get(context.user_id or "", name)
    except exception.KeyPairNotFound:
        raise exception.BadRequest(f"key_name: no key pair {name!r} of yours.") from None


def _zone(context: RequestContext, wanted: str | None) -> tuple[str | None, str | None]:
    """Return (zone, forced host) of what was asked for."""
    if not wanted:
        return None, None
    zone, _, host = wanted.partition(":")
    host = host.partition(":")[0]
    rows = services.get_all(topic="compute")
    if host:
        policy.authorize(context, FORCED_HOST)
        if host not in {row.host for row in rows}:
            raise exception.BadRequest(f"availability_zone: there is no compute host {host!r}.")
    if zone and zone not in {row.availability_zone for row in rows}:
        raise exception.BadRequest("availability_zone: The requested availability zone is not "
                                   f"available: {zone!r}.")
    return zone or None, host or None


def _root(context: RequestContext, request: BootRequest, images: Any, volumes: Any,
          flavor: Flavor) -> Root:
    """Return what is booted from; BadRequest unless it is one thing, to be had, and fits."""
    volume = block_devices.root_of(request.block_devices)
    if request.image_id and volume is not None:
        raise exception.BadRequest(f"{volume.field}: Block Device Mapping is Invalid: imageRef "
                                   "names a root disk already.")
    if request.image_id:
        image, kernel_id, ramdisk_id = _images(context, request, images, request.image_id)
        _check_fits(image, flavor)
        return Root(image, kernel_id, ramdisk_id, image.properties)
    if volume is None:
        raise exception.BadRequest("imageRef: an image, or a volume to boot from, is required.")
    if volume.source == "image":
        image, kernel_id, ramdisk_id = _images(context, request, images, str(volume.id),
                                               f"{volume.field}.uuid")
        _check_memory(image.min_ram, flavor)
        return Root(None, kernel_id, ramdisk_id, image.properties)
    properties = block_devices.image_properties(context, volumes, volume)
    _check_memory(int(properties.get("min_ram") or 0), flavor)
    trio = {name: getattr(request, name) or properties.get(name) or None
            for name in ("kernel_id", "ramdisk_id")}
    for name, image_id in trio.items():
        if image_id:
            _image(context, images, str(image_id), name)
    return Root(None, trio["kernel_id"], trio["ramdisk_id"], properties)


def _images(context: RequestContext, request: BootRequest, images: Any, image_id: str,
            field_name: str = "imageRef") -> tuple[Image, str | None, str | None]:
    image = _image(context, images, image_id, field_name)
    if image.container_format in ("aki", "ari"):
        raise exception.BadRequest(
            f"{field_name}: image {image.id} is a {image.container_format}, not a root disk.")
    kernel_id = request.kernel_id or image.kernel_id
    ramdisk_id = request.ramdisk_id or image.ramdisk_id
    for other_id, name in ((kernel_id, "kernel_id"), (ramdisk_id, "ramdisk_id")):
        if other_id:
            _image(context, images, other_id, name)
    return image, kernel_id, ramdisk_id


def _image(context: RequestContext, images: Any, image_id: str, name: str) -> Image:
    try:
        image = images.get(context, image_id)
    except exception.ImageNotFound as error:
        raise exception.BadRequest(f"{name}: {error}") from None
    if image.status != "active":
        raise exception.BadRequest(f"{name}: image {image_id} is not active.")
    return image


def _check_memory(min_ram: int, flavor: Flavor) -> None:
    if min_ram > flavor.memory_mb:
        raise exception.BadRequest(
            f"Flavor's memory is too small for requested image: {flavor.memory_mb} MiB, "
            f"{min_ram} needed.")


def _check_fits(image: Image, flavor: Flavor) -> None:
    _check_memory(image.min_ram, flavor)
    if not flavor.root_gb:
        return
    if image.min_disk > flavor.root_gb:
        raise exception.BadRequest(
            f"Flavor's disk is smaller than the minimum size specified in image metadata: "
            f"{flavor.root_gb} GiB, {image.min_disk} needed.")
    if image.size and image.size > flavor.root_gb * _GIB:
        raise exception.BadRequest(
            f"Flavor's disk is too small for requested image: {flavor.root_gb} GiB for "
            f"{image.size} bytes.")

