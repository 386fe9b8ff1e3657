# SPDX-License-Identifier: Apache-2.0
"""How urgent a process's work is to the kernel: nice_priority, ionice_class and ionice_priority."""
from __future__ import annotations

import os
from dataclasses import dataclass

from swift.common.exceptions import ConfigError

_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}


@dataclass(frozen=True)
class Priority:
    """What is wanted; None is left as it is. `disk` is (class, priority within it)."""

    nice: int | None = None
    disk: tuple[int, int] | None = None


def wanted(conf: dict[str, str]) -> Priority:
    """The Priority a configuration asks for; ConfigError for what cannot be."""
    kind = conf.get("ionice_class", "").strip()
    if kind and kind not in _CLASSES:
        raise ConfigError(f"ionice_class: {kind!r} is none of {', '.join(_CLASSES)}")
    within = _number(conf, "ionice_priority", 0, 7)
    if within is not None and not kind:
        raise ConfigError("ionice_priority needs an ionice_class")
    disk = (_CLASSES[kind], 0 if kind.endswith("IDLE") else within or 0) if kind else None
    return Priority(_number(conf, "nice_priority", -20, 19), disk)


def set_own(conf: dict[str, str]) -> None:
    """Give this process, and those it will start, what its configuration asks for. To be called as
    root: more than others get takes its rights."""
    mine = wanted(conf)
    try:
        if mine.nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, mine.nice)
        if mine.disk is not None:
            _set_disk(*mine.disk)
    except OSError as exc:
        raise ConfigError(f"nice_priority, ionice_class: {exc}") from exc


def _set_disk(kind: int, within: int) -> None:
    import psutil  # much to load for whom it is nothing
    try:
        psutil.Process().ionice(kind, within)
    except psutil.AccessDenied as exc:
        raise PermissionError(str(exc)) from exc


def _number(conf: dict[str, str], name: str, least: int, most: int) -> int | None:
    text = conf.get(name, "").strip()
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        number = most + 1
    if not least <= number <= most:
        raise ConfigError(f"{name} must be {least} to {most}, not {text!r}")
    return number
