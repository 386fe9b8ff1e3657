# SPDX-License-Identifier: Apache-2.0
"""P6 for volumes, on each database: claims, quotas, attachments and target numbers in parallel."""

import threading

from volume_rows import add_host, add_volume, volume_row

from nova import quota
from nova.db import (
    quotas,
    volume_attachments,
    volume_exports,
    volume_hosts,
    volume_snapshots,
    volumes,
)
from nova.db.models import new_id
from nova.db.volume_models import Volume, VolumeAttachment, VolumeExport, VolumeSnapshot
from nova.exception import ClaimFailed, InvalidVolume, OverQuota


def together(functions):
    """Run functions at the same time in threads; returns what each returned or raised."""
    outcomes, barrier = [None] * len(functions), threading.Barrier(len(functions))

    def run(position, function):
        barrier.wait(20)
        try:
            outcomes[position] = function()
        except Exception as error:      # the test looks at it
            outcomes[position] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def kinds(outcomes):
    return sorted(type(one).__name__ for one in outcomes)


def claims_never_exceed_a_host():
    add_host(total_gb=7)
    rows = [add_volume(status="creating", host=None) for _ in range(12)]
    outcomes = together([lambda row=row: volumes.claim(row.id, "h", "nova") for row in rows])
    won = [one for one in outcomes if isinstance(one, Volume)]
    lost = [one for one in outcomes if isinstance(one, ClaimFailed)]
    assert (len(won), len(lost)) == (7, 5), outcomes
    assert volume_hosts.claimed_by_host()["h"] == 7


def creates_never_exceed_the_quota():
    quotas.set_limits("few", {"volumes": 3, "gigabytes": 1000})
    outcomes = together([
        lambda: volumes.create(volume_row(status="creating", host=None, project_id="few"),
                               quota.guard("few", {"volumes": 1, "gigabytes": 1}))
        for _ in range(10)])
    assert kinds(outcomes) == [OverQuota.__name__] * 7 + [Volume.__name__] * 3
    assert quota.usage("few")["volumes"] == quota.usage("few")["gigabytes"] == 3


def one_volume_is_attached_once():
    row = add_volume()
    outcomes = together([lambda n=n: volume_attachments.reserve(row.id, f"j{n}", "p", "vdb")
                         for n in range(8)])
    assert kinds(outcomes) == [InvalidVolume.__name__] * 7 + [VolumeAttachment.__name__]
    assert volumes.get(row.id).status == "reserved"


def attached_or_copied_or_deleted_but_never_two_of_them():
    add_host(total_gb=1000)
    for _ in range(3):
        row = add_volume()
        outcomes = together([
            lambda row=row: volume_attachments.reserve(row.id, "i", "p", f"vd-{row.id[:8]}"),
            lambda row=row: volumes.begin_delete(row.id),
            lambda row=row: volume_snapshots.create(VolumeSnapshot(
                id=new_id(), project_id="p", user_id="u", volume_id=row.id, size_gb=1,
                status="creating", bootable=False, image_metadata={}, metadata_={})),
            lambda row=row: volumes.create(volume_row(
                status="creating", source_volume_id=row.id))])
        taken = [type(one) for one in outcomes if not isinstance(one, InvalidVolume)]
        # Two copies of one may be made at once; nothing else goes with anything.
        assert all(isinstance(one, (InvalidVolume, Volume, VolumeAttachment, VolumeSnapshot))
                   for one in outcomes), outcomes
        status = volumes.get(row.id).status
        if status == "available":
            assert outcomes[0].__class__ is outcomes[1].__class__ is InvalidVolume and taken
        else:
            assert len(taken) == 1, outcomes


def targets_have_numbers_of_their_own():
    """Twelve at once: each collision leaves only one with the number, so the rest spread out."""
    rows = []
    for number in range(12):
        row = add_volume()
        one = volume_attachments.reserve(row.id, f"i{number}", "p", "vdb")
        volume_attachments.begin_attach(one.id, "c")
        rows.append(row)
    outcomes = together([
        lambda row=row: volume_exports.ensure(row.id, "h", initiator=None, address=None,
                                              auth_user="u", auth_secret="s") for row in rows])
    assert kinds(outcomes) == [VolumeExport.__name__] * 12, outcomes
    assert len({one.target_number for one in volume_exports.get_of_host("h")}) == 12


def test_whatever_is_tried_at_once(any_db):
    """Five checks on one database: making one costs more than any of them."""
    claims_never_exceed_a_host()
    creates_never_exceed_the_quota()
    one_volume_is_attached_once()
    attached_or_copied_or_deleted_but_never_two_of_them()
    targets_have_numbers_of_their_own()
