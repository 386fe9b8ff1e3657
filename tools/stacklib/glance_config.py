# SPDX-License-Identifier: Apache-2.0
"""The image service of the stack: SQLite, files on disk, the registry in the same process."""
from . import manage, outside
from .layout import REGION, Cloud, write_atomically
from .packages import CHECKOUT, PRODUCT_VENV
from .probe import http_status
from .supervise import Daemon

AUTHTOKEN = """\
[keystone_authtoken]
www_authenticate_uri = {identity}
auth_url = {identity}
auth_type = password
username = {user}
password = {password}
project_name = service
project_domain_id = default
user_domain_id = default
region_name = {region}
service_token_roles_required = true
token_cache_time = 60
"""

CONFIG = """\
[DEFAULT]
bind_host = {address}
bind_port = {port}
use_stderr = true
state_path = {state}
enabled_backends = file:filesystem

[paste_deploy]
flavor = keystone
config_file = {paste}

[database]
connection = {database}

[file]
filesystem_store_datadir = {state}/images

"""


def authtoken(cloud: Cloud, user: str) -> str:
    """The section by which keystonemiddleware finds Keystone. Tokens are cached in memory."""
    return AUTHTOKEN.format(identity=cloud.url("identity"), user=user, region=REGION,
                            password=cloud.secret(user))


def prepare(cloud: Cloud) -> None:
    """Configuration, and the database at this release's schema."""
    state = cloud.data / "glance"
    (state / "images").mkdir(parents=True, exist_ok=True)
    path = cloud.etc / "glance/glance-api.conf"
    write_atomically(path, CONFIG.format(
        address=cloud.address, port=cloud.port("image"), state=state,
        database=outside.database_url(cloud, "glance", state / "glance.sqlite"),
        paste=CHECKOUT / "etc/glance/glance-api-paste.ini") + authtoken(cloud, "glance"), 0o600)
    manage.run("glance.cmd.manage", "--config-file", str(path), "db", "sync")


def daemons(cloud: Cloud) -> list[Daemon]:
    port = cloud.port("image")
    return [Daemon(
        "glance-api", "glance",
        [str(PRODUCT_VENV / "bin/python"), "-P", "-m", "glance.cmd.api", "--config-file",
         str(cloud.etc / "glance/glance-api.conf")],
        answers=lambda: http_status(cloud.address, port, "/healthcheck") == 200)]
