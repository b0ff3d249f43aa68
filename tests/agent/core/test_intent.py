"""The state table: every cell, and every cell that must not be there."""

from __future__ import annotations

import itertools

import pytest

from jackstay_agent.core.intent import (
    CONTRADICTIONS,
    MOVES,
    OPEN,
    TERMINAL,
    Event,
    IllegalMove,
    State,
    contradicts,
    diagram,
    may_send,
    move,
)


@pytest.mark.parametrize(("state", "event"), sorted(itertools.product(State, Event)))
def test_every_cell_moves_as_the_table_says_or_raises_naming_all_three(state: State, event: Event) -> None:
    """A move is the table's, and any other one raises with subject, state and event."""
    if (state, event) in MOVES:
        assert move("intent 7", state, event) is MOVES[state, event]
        return
    with pytest.raises(IllegalMove, match="intent 7") as caught:
        move("intent 7", state, event)
    assert (caught.value.subject, caught.value.state, caught.value.event) == ("intent 7", state, event)
    assert state.value in str(caught.value)
    assert event.value in str(caught.value)


def test_states_are_either_open_or_terminal() -> None:
    """Every state is one of the two."""
    assert OPEN | TERMINAL == set(State)
    assert not OPEN & TERMINAL


def test_nothing_terminal_opens_again() -> None:
    """No late news makes a settled intent sendable or unknown."""
    for (state, _), to in MOVES.items():
        if state in TERMINAL:
            assert to in TERMINAL


def test_only_what_is_queued_may_be_sent() -> None:
    """A first byte leaves only for RECORDED."""
    assert [state for state in State if may_send(state)] == [State.RECORDED]


def test_unknown_is_left_only_by_evidence_or_a_word() -> None:
    """Neither time, nor a missing answer, nor a restart leads out of UNKNOWN."""
    ways_out = {event for (state, event), to in MOVES.items() if state is State.UNKNOWN and to is not State.UNKNOWN}
    evidence = {
        Event.OK,
        Event.REJECTED,
        Event.FAILED,
        Event.FOUND,
        Event.NOT_FOUND,
        Event.SAID_DONE,
        Event.SAID_ABSENT,
    }
    assert ways_out == evidence


def test_in_flight_goes_back_to_the_queue_only_if_provably_unsent() -> None:
    """The one way back to RECORDED is NOT_SENT."""
    back = {(s, e) for (s, e), to in MOVES.items() if to is State.RECORDED and s is not State.RECORDED}
    assert back == {(State.IN_FLIGHT, Event.NOT_SENT)}


def test_evidence_ends_a_pending_retry() -> None:
    """A queued intent the venue shows is DONE: nothing is left to send."""
    assert move("x", State.RECORDED, Event.FOUND) is State.DONE


def test_a_restart_tells_never_sent_from_maybe_sent() -> None:
    """RECORDED stays, IN_FLIGHT becomes UNKNOWN."""
    assert move("x", State.RECORDED, Event.RESTARTED) is State.RECORDED
    assert move("x", State.IN_FLIGHT, Event.RESTARTED) is State.UNKNOWN


def test_an_absent_order_that_shows_up_is_done_and_loud() -> None:
    """The venue's later word wins, and it is a contradiction."""
    assert move("x", State.ABSENT, Event.FOUND) is State.DONE
    assert contradicts(State.ABSENT, Event.FOUND)
    assert not contradicts(State.UNKNOWN, Event.FOUND)


def test_contradictions_are_cells_of_the_table() -> None:
    """Each contradiction is a legal move out of a settled state."""
    assert set(MOVES) >= CONTRADICTIONS
    assert all(state in TERMINAL for state, _ in CONTRADICTIONS)


def test_the_diagram_is_drawn_from_the_table() -> None:
    """Every move that changes the state is an arrow."""
    drawn = diagram()
    assert drawn.startswith("stateDiagram-v2")
    for (state, event), to in MOVES.items():
        assert (f"{state.name} --> {to.name}: {event.value}" in drawn) == (state is not to)
    assert "DROPPED --> [*]" in drawn
