"""The table of breaker states."""

import itertools

import pytest

from jackstay_agent.core.breaker_state import LEGAL, BreakerState, Permit, Refusal, check_move
from jackstay_protocols.errors import Reason, ValidationError


def test_every_state_has_its_row():
    """The table is complete."""
    assert set(LEGAL) == set(BreakerState)


@pytest.mark.parametrize(("was", "to"), list(itertools.product(BreakerState, BreakerState)))
def test_moves_not_in_the_table_raise_and_name_subject_from_and_to(was, to):
    """Each cell is either legal or an error that says what may follow."""
    if to in LEGAL[was]:
        check_move("orders", was, to)
    else:
        with pytest.raises(ValidationError, match=f"breaker orders is {was} and cannot become {to}") as caught:
            check_move("orders", was, to)
        assert caught.value.reason == "illegal_transition"


def test_half_open_comes_only_after_a_shut_state():
    """Nothing that lets calls through becomes half-open."""
    before = {was for was, row in LEGAL.items() if BreakerState.HALF_OPEN in row}
    assert before == {BreakerState.OPEN, BreakerState.FORCED_OPEN}


def test_what_a_breaker_hands_out_are_plain_values():
    """A permit knows its generation and lease, a refusal what to tell the caller."""
    permit = Permit(3, 9.0, False)
    assert (permit.generation, permit.lease_until, permit.bypass) == (3, 9.0, False)
    no = Refusal("orders", BreakerState.OPEN, Reason.BREAKER_OPEN, 1.5)
    assert (no.breaker, no.state, no.reason, no.retry_after_s) == ("orders", "open", "breaker_open", 1.5)
