# SPDX-License-Identifier: Apache-2.0
"""What is in the directory of an erasure coded object: fragments, each durable or not yet.

A fragment is written first and made durable when enough other nodes have theirs; until then it may
be that no client was ever told of it, and the version before it has to stay.

    1234567890.12345#3.data       fragment 3, not (yet) durable
    1234567890.12345#3#d.data     the same, durable
    1234567890.12345.durable      how older releases said so, of all fragments of that time

Several fragments can be here: of several times, and of one time several indexes (this node stands
in for others). To be used by what reads such directories; `.meta` and `.ts` are as in `ondisk`.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from swift.common.timestamp import Timestamp
from swift.obj.ondisk import Chosen, FileInfo, parse_name

DURABLE = ".durable"
Preferences = list[tuple[Timestamp, frozenset[int]]]


def parse_fragment(name: str, unique: int) -> FileInfo | None:
    """The parts of a name; None for what is none of ours, also an index of `unique` or more."""
    base, _, ext = name.rpartition(".")
    if ext not in ("data", "durable"):
        return parse_name(name)
    try:
        if ext == "durable":
            return FileInfo(name, Timestamp(base), DURABLE)
        time, _, rest = base.partition("#")
        index, _, mark = rest.partition("#")
        if not (index.isascii() and index.isdigit()) or int(index) >= unique:
            return None
        return FileInfo(name, Timestamp(time), ".data", None, mark == "d", int(index))
    except ValueError:
        return None


def fragment_name(timestamp: Timestamp, index: int, durable: bool = False) -> str:
    """The name of a fragment's file."""
    return f"{timestamp.internal}#{index}{'#d' if durable else ''}.data"


@dataclass(slots=True)
class ChosenFragment(Chosen):
    """As Chosen; `data` is one fragment of the version that counts.

    `fragments` are all that are here down to the newest durable version, newest first, each by
    index; `durable` is that version's time. `reclaimable` may go when it is old enough.
    """

    fragments: dict[Timestamp, list[FileInfo]] = field(default_factory=dict)
    durable: Timestamp | None = None
    reclaimable: tuple[FileInfo, ...] = ()


def choose_fragment(names: Iterable[str], unique: int, index: int | None = None,
                    preferences: Preferences | None = None) -> ChosenFragment:
    """Which files count.

    Without `preferences` a version counts once it is durable; of its fragments number `index` is
    taken (none, if it is not here), or the last. With them a version need not be durable: the first
    of their times counts that has a fragment here beside those to exclude, else the newest other.
    """
    infos = [info for name in names if (info := parse_fragment(name, unique)) is not None]
    infos.sort(key=lambda info: info.timestamp, reverse=True)
    by_ext: dict[str, list[FileInfo]] = {".data": [], ".meta": [], ".ts": [], DURABLE: []}
    for info in infos:
        by_ext[info.ext].append(info)
    chosen = ChosenFragment()
    obsolete: list[FileInfo] = _drop_deleted(by_ext)
    obsolete += _keep_newest_metas(by_ext)
    obsolete += _split_versions(chosen, by_ext)
    version, index = _version(chosen, index, preferences)
    if version is not None:
        fragments = chosen.fragments[version]
        chosen.data = fragments[-1] if index is None else next(
            (info for info in fragments if info.frag_index == index), None)
    if chosen.data is not None and version != chosen.durable:
        # Metadata of the durable version: not that of what was chosen, and not to be lost.
        by_ext[".meta"] = [info for info in by_ext[".meta"]
                           if info.timestamp > chosen.data.timestamp]
    obsolete += _drop_before_durable(chosen, by_ext)
    _set_metas(chosen, by_ext)
    _set_reclaimable(chosen, version, by_ext)
    chosen.obsolete = tuple(obsolete)
    return chosen


def _drop_deleted(by_ext: dict[str, list[FileInfo]]) -> list[FileInfo]:
    """Take out what a tombstone hides; returns that."""
    stones = by_ext[".ts"]
    if not stones:
        return []
    dropped, by_ext[".ts"] = stones[1:], stones[:1]
    for ext in (".data", ".meta", DURABLE):
        dropped += [info for info in by_ext[ext] if info.timestamp <= stones[0].timestamp]
        by_ext[ext] = [info for info in by_ext[ext] if info.timestamp > stones[0].timestamp]
    return dropped


def _keep_newest_metas(by_ext: dict[str, list[FileInfo]]) -> list[FileInfo]:
    """Keep the newest metadata, and the newest content type if that is in another file."""
    metas = by_ext[".meta"]
    if len(metas) < 2:
        return []
    zero = Timestamp(0)
    newest = metas[0]
    typed = max(metas[1:], key=lambda info: info.ctype_timestamp or zero)
    keep = [newest]
    if (typed.ctype_timestamp or zero) > (newest.ctype_timestamp or zero):
        keep = [typed] if typed.timestamp == newest.timestamp else [newest, typed]
    by_ext[".meta"] = keep
    return [info for info in metas if info not in keep]


def _split_versions(chosen: ChosenFragment, by_ext: dict[str, list[FileInfo]]) -> list[FileInfo]:
    """Fill `fragments` and `durable`; fragments of before the durable version are left out.

    Returns fragments that are here a second time, durable: whoever made them so died in the other
    place that a growing partition power gives an object.
    """
    legacy = by_ext[DURABLE][0].timestamp if by_ext[DURABLE] else None
    marked = {(info.timestamp, info.frag_index) for info in by_ext[".data"] if info.durable}
    twice = [info for info in by_ext[".data"] if not info.durable
             and (info.timestamp, info.frag_index) in marked]
    by_ext[".data"] = [info for info in by_ext[".data"] if info not in twice]
    versions: dict[Timestamp, list[FileInfo]] = {}
    for info in by_ext[".data"]:
        versions.setdefault(info.timestamp, []).append(info)
    for time, fragments in versions.items():
        fragments.sort(key=lambda info: info.frag_index or 0)
        chosen.fragments[time] = fragments
        if time == legacy or any(info.durable for info in fragments):
            for info in fragments:
                info.durable = True
            chosen.durable = time
            break
    return twice


def _version(chosen: ChosenFragment, index: int | None, preferences: Preferences | None
             ) -> tuple[Timestamp | None, int | None]:
    """The time of the version that counts, and which of its fragments is wanted."""
    if preferences is None:
        return chosen.durable, index
    left = dict(chosen.fragments)
    for time, excluded in preferences:
        if time not in left:
            continue
        have = [info.frag_index for info in left[time] if info.frag_index not in excluded]
        if have:
            return time, have[-1]
        del left[time]
    return max(left, default=None), index


def _drop_before_durable(chosen: ChosenFragment, by_ext: dict[str, list[FileInfo]]
                         ) -> list[FileInfo]:
    """Take out what is older than the durable version; returns that."""
    dropped: list[FileInfo] = []
    if chosen.durable is None:
        dropped += by_ext[DURABLE]                   # of fragments that are gone
        return dropped
    for ext, infos in by_ext.items():
        dropped += [info for info in infos if info.timestamp < chosen.durable]
        by_ext[ext] = [info for info in infos if info.timestamp >= chosen.durable]
    return dropped


def _set_metas(chosen: ChosenFragment, by_ext: dict[str, list[FileInfo]]) -> None:
    if chosen.data is None:
        chosen.ts = by_ext[".ts"][0] if by_ext[".ts"] else None
    elif by_ext[".meta"]:
        chosen.meta, last = by_ext[".meta"][0], by_ext[".meta"][-1]
        if last.ctype_timestamp is not None and last.ctype_timestamp > chosen.data.timestamp:
            chosen.ctype = last


def _set_reclaimable(chosen: ChosenFragment, version: Timestamp | None,
                     by_ext: dict[str, list[FileInfo]]) -> None:
    counts = {chosen.durable, version if chosen.data is not None else None}
    stray = [info for time, fragments in chosen.fragments.items() if time not in counts
             for info in fragments]
    if chosen.durable is None:
        stray += by_ext[".meta"]
    chosen.reclaimable = tuple(stray)
