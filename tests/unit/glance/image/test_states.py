# SPDX-License-Identifier: Apache-2.0
"""The status table: complete, without dead ends but the last, and never back."""

from glance.image import states


def reachable(start):
    seen, todo = set(), [start]
    while todo:
        for status in states.TRANSITIONS[todo.pop()]:
            if status not in seen:
                seen.add(status)
                todo.append(status)
    return seen


def test_every_status_is_in_the_table_and_reachable():
    assert set(states.TRANSITIONS) == set(states.STATUSES)
    assert reachable(states.QUEUED) | {states.QUEUED} == set(states.STATUSES)


def test_delete_works_from_every_status():
    """P3: nothing is stuck."""
    for status in states.STATUSES:
        if status not in (states.PENDING_DELETE, states.DELETED):
            assert states.may_move(status, states.PENDING_DELETE)
    assert states.TRANSITIONS[states.DELETED] == frozenset()


def test_data_comes_once():
    """G7: nothing that ever had, or lost, data leads back to taking some."""
    for status in (states.ACTIVE, states.DEACTIVATED, states.KILLED, states.SAVING):
        assert states.QUEUED not in reachable(status)
        assert status == states.SAVING or states.SAVING not in reachable(status)
    assert states.sources_of(states.SAVING) == (states.QUEUED,)


def test_every_transient_status_has_an_owner_a_deadline_and_a_next_step():
    """P3: what is neither at rest nor final."""
    at_rest = {states.QUEUED, states.ACTIVE, states.DEACTIVATED, states.KILLED, states.DELETED}
    assert set(states.TRANSIENT) == set(states.STATUSES) - at_rest
    for step in states.TRANSIENT.values():
        assert step.owner
        assert step.deadline
        assert step.on_restart
