# SPDX-License-Identifier: Apache-2.0
"""Object storage of the stack: rings, configuration, daemons.

Three replicas over four device folders in four zones of one node, more folders where a storage
policy has more fragments; the account, container and object server of the node share a process, so
do the background daemons. Alone the stack's proxy knows tempauth; with Keystone it knows both.
"""
import contextlib
import getpass
import io
import os
import shutil
from pathlib import Path

from swift.cli import ringbuilder

from . import packages, swift_policies
from .layout import ADDRESS, REGION, Cloud, write_atomically
from .probe import http_status
from .progress import StackError
from .supervise import Daemon

PART_POWER, DEVICES = 10, 4
SERVERS = ("account", "container", "object")
TEMPAUTH_USER = "test:tester"

PROXY = """\
[DEFAULT]
bind_ip = {address}
bind_port = {port}
workers = 1
user = {user}
swift_dir = {etc}
log_name = proxy-server

[pipeline:main]
pipeline = {pipeline}

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
# All disks are one daemon's, which is back in a second or two: there is no other node to turn to.
error_suppression_interval = 1

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:proxy-logging]
use = egg:swift#proxy_logging

[filter:cache]
use = egg:swift#cache

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:copy]
use = egg:swift#copy

[filter:bulk]
use = egg:swift#bulk

[filter:tempurl]
use = egg:swift#tempurl

[filter:container-quotas]
use = egg:swift#container_quotas

[filter:account-quotas]
use = egg:swift#account_quotas

[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000

[filter:dlo]
use = egg:swift#dlo

[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000

[filter:container_sync]
use = egg:swift#container_sync

[filter:ratelimit]
use = egg:swift#ratelimit

[filter:formpost]
use = egg:swift#formpost

[filter:staticweb]
use = egg:swift#staticweb

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true

[filter:symlink]
use = egg:swift#symlink

[filter:tempauth]
use = egg:swift#tempauth
user_admin_admin = {admin} .admin .reseller_admin
user_test_tester = {tester} .admin
user_test2_tester2 = {tester2} .admin
user_test_tester3 = {tester3}
reseller_prefix = {reseller}
"""

KEYSTONE = """
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {identity}
auth_url = {identity}
auth_type = password
username = swift
password = {password}
project_name = service
project_domain_id = default
user_domain_id = default
delay_auth_decision = true
cache = swift.cache
token_cache_time = 60
service_token_roles_required = true

[filter:s3token]
use = egg:swift#s3token
auth_url = {identity}
auth_type = password
username = swift
password = {password}
project_name = service
project_domain_id = default
user_domain_id = default
reseller_prefix = AUTH

[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
reseller_prefix = AUTH
"""

STORAGE = """\
[DEFAULT]
bind_ip = {address}
bind_port = {port}
workers = 1
user = {user}
swift_dir = {etc}
devices = {devices}
mount_check = false
log_name = {kind}-server

[pipeline:main]
pipeline = healthcheck {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}

[filter:healthcheck]
use = egg:swift#healthcheck

{daemons}"""
DAEMONS = {"account": ("auditor", "replicator", "reaper"),
           "container": ("auditor", "replicator", "updater", "sharder", "sync"),
           "object": ("auditor", "replicator", "updater", "expirer")}


def folder(cloud: Cloud) -> Path:
    return cloud.etc / "swift"


def devices(cloud: Cloud) -> Path:
    return cloud.data / "swift"


def sections(cloud: Cloud, kind: str) -> list[str]:
    """The daemons that a kind of server has beside it."""
    names = list(DAEMONS[kind])
    if kind == "container" and cloud.policies:
        names.append("reconciler")        # of policies: there is none without a second one
    if kind == "object" and swift_policies.coded(cloud):
        names.append("reconstructor")
    return names


def prepare(cloud: Cloud) -> None:
    """Folders, rings and configuration exist. Rings and the hash salt are made once; without
    them the data could not be found again."""
    etc = folder(cloud)
    etc.mkdir(parents=True, exist_ok=True)
    user = getpass.getuser()
    for kind in SERVERS:
        write_atomically(etc / f"{kind}-server.conf", STORAGE.format(
            address=ADDRESS, port=cloud.port(kind), user=user, etc=etc, kind=kind,
            devices=devices(cloud),
            daemons="".join(f"[{kind}-{name}]\n\n" for name in sections(cloud, kind))))
    write_atomically(etc / "proxy-server.conf", proxy_configuration(cloud, user), 0o600)
    for name, replicas in swift_policies.rings(cloud):
        _make_ring(cloud, name, replicas)
    # the rings first: a server that knows a policy looks for its ring
    write_atomically(etc / "swift.conf", "[swift-hash]\n"
                     f"swift_hash_path_prefix = {cloud.secret('swift_hash_prefix')}\n"
                     f"swift_hash_path_suffix = {cloud.secret('swift_hash_suffix')}\n"
                     + swift_policies.configuration(cloud), 0o640)


def proxy_configuration(cloud: Cloud, user: str) -> str:
    """proxy-server.conf: tempauth alone, or tempauth beside Keystone."""
    with_keystone = cloud.has("keystone")
    auth = "tempauth s3token authtoken keystoneauth" if with_keystone else "tempauth"
    text = PROXY.format(
        address=cloud.address, port=cloud.port("object-store"), user=user, etc=folder(cloud),
        region=REGION,
        admin=cloud.secret("tempauth_admin"), tester=cloud.secret("tempauth_tester"),
        tester2=cloud.secret("tempauth_tester2"), tester3=cloud.secret("tempauth_tester3"),
        # two systems of accounts must not share a name: AUTH_ is Keystone's where there is one
        reseller="TEMPAUTH" if with_keystone else "AUTH",
        pipeline="catch_errors gatekeeper healthcheck proxy-logging cache listing_formats "
                 f"container_sync bulk tempurl ratelimit formpost s3api {auth} staticweb copy "
                 "container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging "
                 "proxy-server")
    if with_keystone:
        text += KEYSTONE.format(identity=cloud.url("identity"), password=cloud.secret("swift"))
    return text


def _make_ring(cloud: Cloud, name: str, replicas: int) -> None:
    """`name`.builder and `name`.ring.gz, made beside and moved in place when complete; and the
    devices in them."""
    etc = folder(cloud)
    count = max(DEVICES, replicas)
    for number in range(1, count + 1):
        (devices(cloud) / f"d{number}").mkdir(parents=True, exist_ok=True)
    if (etc / f"{name}.ring.gz").exists():
        return
    work = etc / f".{name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    builder = str(work / f"{name}.builder")
    port = cloud.port(name.partition("-")[0])
    places = []
    for number in range(1, count + 1):
        places += [f"r1z{number}-{ADDRESS}:{port}/d{number}", "100"]
    for arguments in (["create", str(PART_POWER), str(replicas), "0"], ["add", *places],
                      ["rebalance"]):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = ringbuilder.run([builder, *arguments])
        if code:
            raise StackError(f"swift-ring-builder {' '.join(arguments)}: {output.getvalue()}")
    # the ring last: it is what says that both exist
    os.rename(builder, etc / f"{name}.builder")
    os.rename(work / f"{name}.ring.gz", etc / f"{name}.ring.gz")
    shutil.rmtree(work)


def daemons(cloud: Cloud) -> list[Daemon]:
    """Storage servers first: the proxy's first request needs them."""
    etc, python = folder(cloud), str(packages.PRODUCT_VENV / "bin/python")
    configurations = [str(etc / f"{kind}-server.conf") for kind in SERVERS]
    port = cloud.port("object-store")
    where = {"SWIFT_DIR": str(etc)}
    reads = (etc / "swift.conf",)

    def storage_answers() -> bool:
        return all(http_status(ADDRESS, cloud.port(kind), "/healthcheck") == 200
                   for kind in SERVERS)

    return [
        Daemon("swift-storage", "swift",
               [python, "-P", "-m", "swift.cli.storage_server", *configurations, "--verbose"],
               answers=storage_answers, environment=where, reads=reads),
        Daemon("swift-proxy", "swift",
               [python, "-P", "-m", "swift.cli.proxy_server", str(etc / "proxy-server.conf"),
                "--verbose"],
               answers=lambda: http_status(cloud.address, port, "/healthcheck") == 200,
               environment=where, reads=reads),
        Daemon("swift-consistency", "swift",
               [python, "-P", "-m", "swift.cli.consistency", *configurations, "--verbose"],
               answers=None, environment=where, reads=reads),
    ]
