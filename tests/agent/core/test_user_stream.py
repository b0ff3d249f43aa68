"""jackstay_agent.core.user_stream: the table of moves."""

from __future__ import annotations

import pytest

from jackstay_agent.core.moves import IllegalMove
from jackstay_agent.core.user_stream import MOVES, StreamMove, StreamState, move


@pytest.mark.parametrize("state", StreamState)
@pytest.mark.parametrize("by", StreamMove)
def test_every_move_is_legal_by_the_table_or_refused_by_name(state: StreamState, by: StreamMove) -> None:
    """A legal move leads where the table says; an illegal one names venue, state, move and the legal ones."""
    if by in MOVES[state]:
        assert move("kraken", state, by) is MOVES[state][by]
    else:
        with pytest.raises(IllegalMove, match=f"kraken is {state} and cannot take {by}"):
            move("kraken", state, by)


def test_every_state_is_reachable_and_only_closed_is_final() -> None:
    """No state is left behind, and only the end has no way out."""
    reached = {target for moves in MOVES.values() for target in moves.values()}
    assert reached == set(StreamState)
    assert [state for state, moves in MOVES.items() if not moves] == [StreamState.CLOSED]
