"""Waits: the curve, the spread, the server's word."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.backoff import SERVER_MARGIN_S, Backoff, obey_server_s
from jackstay_protocols.errors import ValidationError

CHANCE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"curve": "square"},
        {"base_s": 0},
        {"base_s": math.nan},
        {"factor": 0.5},
        {"factor": math.inf},
        {"cap_s": 0.1},
        {"cap_s": 1e12},
        {"jitter": "some"},
    ],
    ids=str,
)
def test_bad_policies_are_refused(fields):
    """A cap below the base, NaN, infinities and unknown words are no policy."""
    with pytest.raises(ValidationError, match="Backoff"):
        Backoff(**fields)


def test_curves_rise_to_their_cap():
    """Exponential doubles, linear adds, constant stays; overflow ends at the cap."""
    assert [Backoff(base_s=1.0, cap_s=6.0).ceiling_s(n) for n in (1, 2, 3, 4, 10**6)] == [1.0, 2.0, 4.0, 6.0, 6.0]
    assert [Backoff("linear", base_s=1.0, cap_s=3.0).ceiling_s(n) for n in (1, 2, 9)] == [1.0, 2.0, 3.0]
    assert [Backoff("constant", base_s=2.0).ceiling_s(n) for n in (1, 9)] == [2.0, 2.0]


@given(st.integers(1, 60), CHANCE, CHANCE)
def test_full_jitter_keeps_its_spread_at_the_cap(attempt, one, other):
    """Different chances give different waits, also at the cap, and none is above it."""
    b = Backoff(base_s=1.0, cap_s=10.0)
    assert b.delay_s(attempt, one) == b.ceiling_s(attempt) * one <= 10.0
    if one != other and abs(one - other) > 1e-6:
        assert b.delay_s(attempt, one) != b.delay_s(attempt, other)


def test_other_jitters():
    """A quarter below the curve, or none."""
    b = Backoff(base_s=1.0, jitter="quarter")
    assert (b.delay_s(1, 0.0), b.delay_s(1, 0.5)) == (0.75, 0.875)
    assert Backoff(base_s=1.0, jitter="none").delay_s(2, 0.3) == 2.0


@given(CHANCE, st.floats(0, 1e6))
def test_decorrelated_stays_between_base_and_cap(chance, previous):
    """Anything between the base and three times the last wait, the upper end capped before the draw."""
    b = Backoff("decorrelated", base_s=1.0, cap_s=10.0)
    assert 1.0 <= b.delay_s(3, chance, previous) <= 10.0


def test_decorrelated_begins_from_its_base():
    """Without a previous wait the range is base to three times base."""
    b = Backoff("decorrelated", base_s=1.0, cap_s=10.0)
    assert (b.delay_s(1, 0.0), b.delay_s(1, 0.5)) == (1.0, 2.0)
    assert b.delay_s(9, 0.999999, 100.0) == pytest.approx(10.0, abs=0.01)


def test_retries_share_no_backoff_state():
    """Two calls with one policy: the second caller's start does not shorten the first one's third wait."""
    b = Backoff(base_s=1.0, cap_s=100.0, jitter="none")
    a = [b.delay_s(1, 0.0), b.delay_s(2, 0.0)]
    b.delay_s(1, 0.0)
    assert [*a, b.delay_s(3, 0.0)] == [1.0, 2.0, 4.0]


@given(st.floats(0, 1e3), st.floats(1e-3, 1e5), CHANCE)
def test_never_earlier_than_the_server_said(computed, header, chance):
    """The larger of both, and always after the server's instant (a timer may fire a millisecond early)."""
    wait = obey_server_s(computed, header, chance)
    assert wait >= header + SERVER_MARGIN_S
    assert wait >= computed


@pytest.mark.parametrize("header", [None, -5.0, 0.0, math.nan, math.inf])
def test_a_server_word_that_is_none_leaves_our_own(header):
    """No header, a negative, NaN or infinite one: our own wait stands."""
    assert obey_server_s(1.5, header, 0.9) == 1.5
