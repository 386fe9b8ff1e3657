# SPDX-License-Identifier: Apache-2.0
"""Which node gets which fragment, and which versions answers make."""
import json

from swift.common.ec import Coding
from swift.proxy.ec_answers import Answers
from swift.proxy.ec_put import assign

T1, T2 = "0000000001.00000", "0000000002.00000"


class Said:
    """What a node answered."""

    def __init__(self, index, time, durable=None, fragments=None, status=200, etag="e"):
        self.status = status
        self.headers = {"x-backend-data-timestamp": time, "x-object-sysmeta-ec-etag": etag,
                        "x-object-sysmeta-ec-frag-index": str(index),
                        "x-backend-fragments": json.dumps(fragments or {time: [index]})}
        if durable:
            self.headers["x-backend-durable-timestamp"] = durable

    def drain(self):
        self.status = None


def node(number, **more):
    return {"id": number, "index": number, **more}


def test_a_handoff_gets_what_a_primary_that_is_away_would():
    coding = Coding("liberasurecode_rs_vand", 4, 2)
    assert assign([node(n) for n in range(6)], coding) == [0, 1, 2, 3, 4, 5]
    away = [node(5), node(0), node(9, handoff_index=0), node(2), node(8, handoff_index=1), node(1)]
    assert assign(away, coding) == [5, 0, 3, 2, 4, 1]
    twice = Coding("liberasurecode_rs_vand", 2, 1, duplication=2)
    assert assign([node(n) for n in range(6)], twice) == [0, 1, 2, 0, 1, 2]
    away = [node(0), node(3), node(9, handoff_index=0), node(8, handoff_index=1), node(2)]
    assert assign(away, twice) == [0, 0, 1, 1, 2]


def test_the_newest_version_that_can_be_read_is_taken():
    answers = Answers(Coding("liberasurecode_rs_vand", 2, 1))
    assert answers.missing() == 1 and answers.best is None
    answers.add(Said(0, T2), node(0))                    # a PUT that went no further
    assert not answers.is_readable(answers.best) and answers.missing() >= 1
    answers.add(Said(1, T1, durable=T1), node(1))
    assert answers.missing() == 1
    answers.add(Said(2, T1, durable=T1), node(2))
    assert answers.is_readable(answers.best) and answers.best.time.internal == T1
    assert answers.missing() == 0
    wanted = json.loads(answers.preferences())
    assert wanted == [{"timestamp": T1, "exclude": [1, 2]}, {"timestamp": T2, "exclude": [0]}]


def test_one_node_may_have_two_of_the_fragments():
    answers = Answers(Coding("liberasurecode_rs_vand", 2, 1))
    answers.add(Said(0, T1, durable=T1, fragments={T1: [0, 2]}), node(0))
    assert answers.alternates(set()) == [(node(0), 2)]
    assert answers.alternates({(0, 2)}) == []


def test_fragments_of_other_content_are_not_mixed():
    answers = Answers(Coding("liberasurecode_rs_vand", 2, 1))
    answers.add(Said(0, T1, durable=T1), node(0))
    answers.add(Said(1, T1, durable=T1, etag="other"), node(1))
    answers.add(Said(0, T1, durable=T1), node(2))
    assert list(answers.best.fragments) == [0] and answers.missing() == 1
