# SPDX-License-Identifier: Apache-2.0
"""How large shards are to be: what the sharder and swift-manage-shard-ranges read alike."""
from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from swift.common.conf import config_float, config_int, config_true
from swift.common.exceptions import ConfigError
from swift.container.shard_paths import Compaction


@dataclass
class SharderConf:
    """The options, checked against each other."""

    shard_container_threshold: int
    rows_per_shard: int
    minimum_shard_size: int
    shrink_threshold: int
    expansion_limit: int
    max_shrinking: int
    max_expanding: int
    auto_shard: bool

    @classmethod
    def of(cls, conf: dict[str, str], used: Container[str] | None = None) -> SharderConf:
        """The options of a section; ConfigError naming what is wrong among those `used` (all)."""
        threshold = config_int(conf, "shard_container_threshold", 1000000, 1)
        rows = config_int(conf, "rows_per_shard", max(1, threshold // 2), 1)
        found = cls(
            threshold, rows, config_int(conf, "minimum_shard_size", max(1, rows // 5), 1),
            config_int(conf, "shrink_threshold", int(threshold * config_float(
                conf, "shard_shrink_point", 10) / 100)),
            config_int(conf, "expansion_limit", int(threshold * config_float(
                conf, "shard_shrink_merge_point", 75) / 100)),
            config_int(conf, "max_shrinking", 1, -1), config_int(conf, "max_expanding", -1, -1),
            config_true(conf.get("auto_shard", "false")))
        found._check(used)
        return found

    def _check(self, used: Container[str] | None) -> None:
        for least, most, equal in (("minimum_shard_size", "rows_per_shard", True),
                                   ("shrink_threshold", "minimum_shard_size", True),
                                   ("rows_per_shard", "shard_container_threshold", False),
                                   ("expansion_limit", "shard_container_threshold", False)):
            if used is not None and not (least in used and most in used):
                continue
            low, high = getattr(self, least), getattr(self, most)
            if low > high or low == high and not equal:
                raise ConfigError(f"{least} ({low}) must be {'at most' if equal else 'below'}"
                                  f" {most} ({high})")

    @property
    def compaction(self) -> Compaction:
        """What may become one."""
        return Compaction(self.shrink_threshold, self.expansion_limit, self.max_shrinking,
                          self.max_expanding)
