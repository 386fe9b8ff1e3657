# SPDX-License-Identifier: Apache-2.0
"""Every known hazard has a test, or a reason in doc/security.rst why it cannot occur."""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CHECKOUT / "doc"))

import security_rows  # noqa: E402


def test_every_row_is_tried_or_cannot_occur():
    tried, elsewhere = security_rows.tried(), security_rows.elsewhere()
    rows = security_rows.every_row()
    assert len(rows) == len(set(rows)) == 262
    assert [row for row in rows if row not in tried and row not in elsewhere] == []
    # A reason that a test makes untrue goes.
    assert [row for row in elsewhere if row in tried] == []
    assert set(elsewhere) <= set(rows) and all(len(why) > 20 for why in elsewhere.values())


def test_rows_are_read_as_they_are_written():
    assert security_rows.named_in("Q9 to Q11, Q13: x") == {"Q9", "Q10", "Q11", "Q13"}
    assert security_rows.named_in("Q9 - Q10") == {"Q9", "Q10"}
    assert security_rows.named_in("by S3 and an S3 key") == set()
    assert security_rows.named_in("S3: late, S4") == {"S3", "S4"}
