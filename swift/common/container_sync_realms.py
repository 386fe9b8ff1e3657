# SPDX-License-Identifier: Apache-2.0
"""container-sync-realms.conf: clusters that copy containers to each other, and their keys.

    [DEFAULT]
    mtime_check_interval = 300        seconds between looks whether the file has changed
    [REALM]
    key = realm key
    key2 = the one before
    cluster_london = https://london.example.com/v1/
"""
from __future__ import annotations

import hmac
import logging
import os
import time
from dataclasses import dataclass, field

from swift.common.conf import config_float, read_conf, read_sections
from swift.common.exceptions import ConfigError

CHECK_SECONDS = 300.0         # how often the file is looked at unless it says itself


@dataclass
class Realm:
    """One realm; cluster names are in capitals, as they are compared."""

    name: str
    key: str
    key2: str = ""
    clusters: dict[str, str] = field(default_factory=dict)

    def keys(self) -> list[str]:
        """Keys that are valid now."""
        return [key for key in (self.key, self.key2) if key]


def signature(method: str, path: str, timestamp: str, nonce: str, realm_key: str,
              user_key: str) -> str:
    """What proves that both keys are known: the HMAC of a request, hexadecimal.

    `path` is quoted nowhere: /v1/account/container/object as "bytes as text" or real text.
    """
    text = f"{method}\n{path}\n{timestamp}\n{nonce}\n{user_key}"
    return hmac.new(realm_key.encode("utf-8"), text.encode("utf-8", "surrogateescape"),
                    "sha1").hexdigest()


class Realms:
    """The file, read again when it has changed; names know no case."""

    def __init__(self, path: str, logger: logging.Logger, check: float = CHECK_SECONDS) -> None:
        self.path, self.logger, self.check, self._check = path, logger, check, check
        self.realms: dict[str, Realm] = {}
        self._read_at: tuple[float, float] | None = None
        self._looked = 0.0

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._read_at is not None and now - self._looked < self._check:
            return
        self._looked = now
        try:
            stat = os.stat(self.path)
        except OSError:
            self.realms, self._read_at = {}, (0.0, 0.0)
            return
        stamp = (stat.st_mtime, float(stat.st_size))
        if stamp == self._read_at:
            return
        try:
            self.realms = self._parse()
        except ConfigError as exc:
            self.logger.error("%s: %s; what was read before stays in force", self.path, exc)
        self._read_at = stamp

    def _parse(self) -> dict[str, Realm]:
        found = {}
        self._check = config_float(read_conf(self.path), "mtime_check_interval", self.check)
        for name, options in read_sections(self.path).items():
            key = options.get("key", "").strip()
            if not key:
                raise ConfigError(f"[{name}] has no key")
            clusters = {option[len("cluster_"):].upper(): value.rstrip("/") + "/"
                        for option, value in options.items() if option.startswith("cluster_")}
            found[name.upper()] = Realm(name.upper(), key, options.get("key2", "").strip(),
                                        clusters)
        return found

    def all(self) -> list[Realm]:
        """Every realm."""
        self._refresh()
        return list(self.realms.values())

    def realm(self, name: str) -> Realm | None:
        """A realm by its name."""
        self._refresh()
        return self.realms.get(name.upper())

    def endpoint(self, realm: str, cluster: str) -> str | None:
        """The address of a cluster, ended by a slash."""
        found = self.realm(realm)
        return found.clusters.get(cluster.upper()) if found is not None else None
