# SPDX-License-Identifier: Apache-2.0
"""Options of OpenStack Swift that change nothing here, and what holds instead.

A configuration that has one is served, and the log says so.
"""
from __future__ import annotations

import logging

from swift.common.conf import read_sections

# (names, what holds instead); section/name where the name means something elsewhere, * for whatever
# begins so
GROUPS = (
    ("namespace_cache_tokens_per_session namespace_avg_backend_fetch_time",
     "each request that finds no shards in the cache asks for them"),
    ("log_custom_handlers log_format", "logs have one form and go to syslog"),
    ("statsd_label_mode statsd_emit_legacy statsd_emit_buffer_xfer_bytes_seconds "
     "statsd_user_label_*",
     "metrics have their dotted names, without labels, sent when a request is over"),
    ("eventlet_debug eventlet_tpool_num_threads cooperative_period splice slow",
     "how processes wait for disks is not to be tuned"),
    ("keep_cache_private keep_cache_slo_manifest",
     "what keep_cache_size allows stays in memory; object servers are not told who reads it"),
    ("slow_delete_log_threshold_seconds", "the log has the seconds of each request"),
    ("daemonize lockup_timeout ring_check_interval",
     "daemons stay in front of their init system; rings are read anew when they change"),
    ("app:proxy-server/servers_per_port app:account-server/servers_per_port "
     "app:container-server/servers_per_port", "only object servers have several ports"),
    ("periodic_warnings_interval", "the log has no warning again and again"),
    ("request_tries", "what failed is tried again in the next pass"),
    ("db_preallocation", "databases grow as they fill"),
    ("broker_timeout", "databases are waited for as long as everywhere"),
    ("object-expirer/reclaim_age",
     "a row goes once each node of the object has nothing to delete"),
    ("dequeue_from_legacy round_robin_task_cache_size",
     "swift-object-expirer runs where it is started; processes and process divide the queue"),
    ("object-expirer/internal_client_conf_path container-sharder/internal_client_conf_path",
     "it speaks to the storage servers itself"),
    ("db_query_logging", "py-spy and sqlite3 show what a database does"),
    ("allow_versions", "the filter versioned_writes decides"),
    ("pool_timeout", "a connection to memcached is made when none is free"),
    ("filter:s3token/delay_auth_decision",
     "whose a signature is that Keystone does not know, the other auth filters are asked"),
    ("active_fernet_key_id fernet_key_*", "tokens are signed with token_secret"),
    ("auth_pipeline_check", "a pipeline that cannot work is refused"),
)
IGNORED = {name: instead for names, instead in GROUPS for name in names.split()}
_BEGINNINGS = tuple(name[:-1] for name in IGNORED if name.endswith("*"))


def check(path: str, section: str, logger: logging.Logger) -> None:
    """Log which options of a server's or daemon's section, of the filters and of [DEFAULT] change
    nothing."""
    found = set()
    for name, options in read_sections(path).items():
        if name not in (section, f"app:{section}") and not name.startswith("filter:") and \
                not name.startswith(section + ":"):
            continue
        found |= IGNORED.keys() & {*options, *(f"{name}/{option}" for option in options)}
        found |= {f"{start}*" for option in options for start in _BEGINNINGS
                  if option.startswith(start)}
    for option in sorted(found):
        logger.warning("%s changes nothing: %s", option, IGNORED[option])
