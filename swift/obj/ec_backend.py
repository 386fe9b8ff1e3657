# SPDX-License-Identifier: Apache-2.0
"""Fragment archives on a device: `DiskFile` of policies that are erasure coded.

A new fragment is visible to whoever asks for it by time, and becomes the object's version here
when it is made durable:

    with diskfile.create() as writer:
        writer.write(fragment)
        writer.put(metadata)            # with X-Object-Sysmeta-Ec-Frag-Index
    diskfile.commit(timestamp)          # once enough nodes have theirs
"""
from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from swift.common import durable
from swift.common.ec import FRAG_INDEX, BadFragment
from swift.common.exceptions import DiskFileBadFragment, DiskFileNotExist
from swift.common.group_commit import sync_names
from swift.common.storage_policy import StoragePolicy
from swift.common.timestamp import Timestamp
from swift.obj import hashes, partition_power
from swift.obj.backend import DiskFile, Manager, Reader
from swift.obj.ec_hashes import FragmentHasher, is_older
from swift.obj.ec_ondisk import ChosenFragment, Preferences, choose_fragment, fragment_name


def parse_preferences(header: str | None) -> Preferences | None:
    """X-Backend-Fragment-Preferences; None without. ValueError for what is no such list."""
    if header is None:
        return None
    wanted = json.loads(header)
    if wanted is None:
        return None
    try:
        return [(Timestamp(item["timestamp"]), frozenset(int(i) for i in item["exclude"]))
                for item in wanted]
    except (TypeError, KeyError, AttributeError) as exc:
        raise ValueError(f"not a list of timestamps with indexes to exclude: {exc!r}") from exc


class EcDiskFile(DiskFile):
    """One object's fragments here.

    `frag_index` asks for one of them, and is the one that was opened or written; `preferences`
    (see `choose_fragment`) are set before `open`. `durable_timestamp` is None when nothing is.
    """

    __slots__ = ("frag_index", "preferences", "chosen", "unique")

    def __init__(self, manager: Manager, device_path: str, partition: str, name: str | None,
                 name_hash: str, policy: StoragePolicy, open_expired: bool = False) -> None:
        super().__init__(manager, device_path, partition, name, name_hash, policy, open_expired)
        assert policy.coding is not None
        self.unique = policy.coding.unique
        self.frag_index: int | None = None
        self.preferences: Preferences | None = None
        self.chosen = ChosenFragment()

    @staticmethod
    def hasher(manager: Manager, policy: StoragePolicy) -> Callable[[str], Any]:
        assert policy.coding is not None
        return FragmentHasher(policy.coding.unique, manager.reclaim_age, manager.commit_window)

    def choose(self, names: list[str]) -> ChosenFragment:
        self.chosen = choose_fragment(names, self.unique, self.frag_index, self.preferences)
        if self.chosen.data is not None:
            self.frag_index = self.chosen.data.frag_index
        return self.chosen

    @property
    def durable_timestamp(self) -> Timestamp | None:
        return self.chosen.durable

    @property
    def fragments(self) -> dict[str, list[int]]:
        """Internal form of each time -> indexes of the fragments here."""
        return {time.internal: [info.frag_index for info in infos if info.frag_index is not None]
                for time, infos in self.chosen.fragments.items()}

    def state_headers(self) -> dict[str, str]:
        headers = {"X-Backend-Data-Timestamp": self.data_timestamp.internal,
                   "X-Backend-Fragments": json.dumps(self.fragments)}
        if self.chosen.durable is not None:
            headers["X-Backend-Durable-Timestamp"] = self.chosen.durable.internal
        return headers

    def reader(self, start: int = 0, stop: int | None = None) -> Reader:
        size = self.content_length
        return FragmentReader(self, [(start, size if stop is None else min(stop, size))])

    # -- writing ---------------------------------------------------------

    def data_name(self, metadata: dict[str, str]) -> str:
        """Raises DiskFileBadFragment when the metadata does not say which fragment it is."""
        text = metadata.get(FRAG_INDEX, "")
        if not (text.isascii() and text.isdigit()) or int(text) >= self.unique:
            raise DiskFileBadFragment(f"{FRAG_INDEX}: {text!r} is no fragment of this policy")
        self.frag_index = int(text)
        return fragment_name(Timestamp(metadata["X-Timestamp"]), self.frag_index)

    def clean_up(self, directory: str, _names: list[str] | None = None) -> None:
        self.hasher(self.manager, self.policy).clean_up(directory)  # type: ignore[attr-defined]

    def make_durable(self, timestamp: Timestamp, index: int) -> None:
        """Have fragment `index` of that time count from now on; what is older goes.

        DiskFileNotExist when it is not here, unless something newer took its place.
        """
        plain = fragment_name(timestamp, index)
        name = fragment_name(timestamp, index, durable=True)
        try:
            os.rename(f"{self.datadir}/{plain}", f"{self.datadir}/{name}")
            sync_names(self.datadir, [])
        except FileNotFoundError:
            if not self._superseded(timestamp):
                raise DiskFileNotExist() from None
        hashes.invalidate(os.path.dirname(self.datadir))
        self.clean_up(self.datadir)
        if self.next_part_power:
            partition_power.follow(self.datadir, name, self.next_part_power, self.clean_up,
                                   self.manager.logger)
            other = partition_power.place(self.datadir, self.next_part_power)
            if other != self.datadir:
                durable.unlink_quietly(f"{other}/{plain}")

    def _superseded(self, timestamp: Timestamp) -> bool:
        try:
            chosen = choose_fragment(os.listdir(self.datadir), self.unique)
        except FileNotFoundError:
            return False
        return (chosen.durable is not None and chosen.durable >= timestamp) or \
            (chosen.ts is not None and chosen.ts.timestamp > timestamp)

    def purge(self, timestamp: Timestamp, index: int | None, delay: float = 0,
              meta: Timestamp | None = None) -> None:
        """Remove a tombstone or fragment of that time, and the metadata of time `meta`.

        A fragment that is not durable stays until it was not written for `delay` seconds.
        """
        names = [f"{timestamp.internal}.ts"]
        if meta is not None:
            names.append(f"{meta.internal}.meta")
        if index is not None:
            plain = fragment_name(timestamp, index)
            if is_older(f"{self.datadir}/{plain}", delay):
                names.append(plain)
            names.append(fragment_name(timestamp, index, durable=True))
        for name in names:
            durable.unlink_quietly(f"{self.datadir}/{name}")
        durable.rmdir_quietly(self.datadir)
        hashes.invalidate(os.path.dirname(self.datadir))


class FragmentReader(Reader):
    """A Reader that also looks into each fragment of an archive that is read whole.

    What was rebuilt from broken fragments has an ETag that fits; its fragments' headers do not.
    """

    def __init__(self, diskfile: DiskFile, pieces: list[tuple[int, int] | bytes]) -> None:
        super().__init__(diskfile, pieces)
        assert diskfile.policy.coding is not None
        self._coding = diskfile.policy.coding
        self._rest = b""
        self._fits = True

    def check_quickly(self) -> None:
        """Not this one: it looks into each fragment anyway."""

    def _read(self, fd: int, want: int, offset: int) -> bytes:
        data = super()._read(fd, want, offset)
        if self._digest is not None and self._fits:
            self._look(data, offset + len(data) == self.diskfile.content_length)
        return data

    def _look(self, data: bytes, last: bool) -> None:
        size = self._coding.fragment_size
        self._rest += data
        while len(self._rest) >= size or last and self._rest:
            fragment, self._rest = self._rest[:size], self._rest[size:]
            try:
                self._coding.check(fragment)
            except BadFragment:
                self._fits = False
                return

    def _is_whole(self, offset: int) -> bool:
        return self._fits and super()._is_whole(offset)
