"""The venue's clock: what samples teach, when a new one is wanted, and that our own clock's steps change nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.venue_clock import ClockSettings, Learned, VenueClock
from jackstay_protocols.errors import ValidationError

WALL_S = 1_700_000_000.0


def clock_with(offset_s: float = 5.0, at_s: float = 100.0, round_trip_s: float = 0.1) -> VenueClock:
    clock = VenueClock()
    assert sample(clock, at_s, offset_s, round_trip_s) is Learned.TAKEN
    return clock


def sample(clock: VenueClock, at_s: float, offset_s: float, round_trip_s: float = 0.1, skew: float = 0.5) -> Learned:
    """A venue ``offset_s`` ahead of our true wall clock answers; ``skew`` is the question's share of the trip."""
    server_s = WALL_S + at_s + round_trip_s * skew + offset_s
    return clock.learn(at_s, at_s + round_trip_s, int(server_s * 1000))


def test_without_a_sample_our_wall_clock_is_believed() -> None:
    """And a sample is wanted."""
    clock = VenueClock()
    assert clock.now_ms(5.0, WALL_S) == int(WALL_S * 1000)
    assert clock.offset_s(5.0, WALL_S) is clock.uncertainty_s(5.0) is clock.drift_ppm() is None
    assert clock.due(5.0)
    assert clock.known_s(5.0) is None


def test_the_venues_time_is_known_from_its_samples_alone() -> None:
    """To half a round trip."""
    clock = VenueClock()
    sample(clock, 1.0, 2.0)
    assert clock.known_s(5.0) == pytest.approx(WALL_S + 5.0 + 2.0, abs=0.06)


@given(
    st.floats(-3600, 3600),
    st.floats(0.001, 1.9),
    st.floats(0, 1),
    st.floats(0, 250),
)
def test_the_truth_lies_within_the_uncertainty(
    offset_s: float, round_trip_s: float, skew: float, later_s: float
) -> None:
    """However the round trip is shared between question and answer, and for as long as the drift bound holds."""
    clock = VenueClock()
    assert sample(clock, 100.0, offset_s, round_trip_s, skew) is Learned.TAKEN
    now_s = 100.0 + round_trip_s + later_s
    error_s = clock.uncertainty_s(now_s)
    assert error_s is not None
    assert abs(clock.now_ms(now_s, 0.0) / 1000 - (WALL_S + now_s + offset_s)) <= error_s + 0.001


def test_a_step_of_our_wall_clock_changes_nothing() -> None:
    """The offset hangs on the boot-time clock."""
    clock = clock_with(5.0)
    before, after = clock.now_ms(200.0, WALL_S + 200), clock.now_ms(200.0, WALL_S - 3600)
    assert before == after
    assert clock.offset_s(200.0, WALL_S + 200) == pytest.approx(5.0, abs=0.01)


def test_the_most_certain_sample_counts() -> None:
    """A slow answer does not spoil what a quick one taught."""
    clock = clock_with(5.0, round_trip_s=0.01)
    assert sample(clock, 101.0, 5.0, 1.5, skew=1.0) is Learned.TAKEN
    assert clock.offset_s(103.0, WALL_S + 103) == pytest.approx(5.0, abs=0.01)


def test_one_contradiction_is_kept_aside_and_two_replace_the_estimate() -> None:
    """A venue's clock is stepped; a single odd answer is not believed, but asked about."""
    clock = clock_with(0.0)
    assert not clock.due(110.0)
    assert sample(clock, 110.0, 30.0) is Learned.CONTRADICTS
    assert clock.due(111.0)
    assert clock.offset_s(111.0, WALL_S + 111) == pytest.approx(0.0, abs=0.01)
    assert sample(clock, 112.0, -30.0) is Learned.CONTRADICTS
    assert sample(clock, 113.0, -30.0) is Learned.STEPPED
    assert clock.offset_s(114.0, WALL_S + 114) == pytest.approx(-30.0, abs=0.01)
    assert clock.steps == 1
    assert not clock.due(114.0)


def test_an_odd_answer_is_forgotten_when_the_next_agrees_again() -> None:
    """Old, odd, old: nothing was stepped."""
    clock = clock_with(0.0)
    assert sample(clock, 110.0, 30.0) is Learned.CONTRADICTS
    assert sample(clock, 111.0, 0.0) is Learned.TAKEN
    assert sample(clock, 112.0, 30.0) is Learned.CONTRADICTS
    assert clock.steps == 0


@pytest.mark.parametrize(
    ("sent_s", "received_s", "server_ms", "learned"),
    [
        (1.0, 4.0, 1_700_000_000_000, Learned.TOO_SLOW),
        (2.0, 1.0, 1_700_000_000_000, Learned.NONSENSE),
        (1.0, float("nan"), 1_700_000_000_000, Learned.NONSENSE),
        (1.0, 1.1, 1_700_000_000, Learned.NONSENSE),
        (1.0, 1.1, 1_700_000_000_000_000, Learned.NONSENSE),
        (1.0, 1.1, -1, Learned.NONSENSE),
    ],
)
def test_what_teaches_nothing(sent_s: float, received_s: float, server_ms: int, learned: Learned) -> None:
    """Too slow to say anything, seconds or microseconds instead of ms, an answer before its question."""
    clock = VenueClock()
    assert clock.learn(sent_s, received_s, server_ms) is learned
    assert clock.due(10.0)


def test_a_sample_is_wanted_when_the_last_is_old_or_the_venue_refused_a_timestamp() -> None:
    """Not more often than the spacing allows."""
    clock = clock_with(at_s=100.0)
    assert not clock.due(200.0)
    assert clock.due(401.0)
    clock.asked(401.0)
    assert not clock.due(401.5)
    assert clock.due(402.0)
    assert sample(clock, 402.0, 5.0) is Learned.TAKEN
    clock.refused()
    assert clock.due(403.5)


def test_drift_is_told_when_it_outweighs_the_noise() -> None:
    """50 ppm over an hour is 180 ms."""
    clock = clock_with(0.0, at_s=0.0, round_trip_s=0.002)
    assert clock.drift_ppm() is None
    assert sample(clock, 1.0, 0.0, 0.002) is Learned.TAKEN
    assert clock.drift_ppm() is None
    for at_s in range(300, 3601, 300):
        assert sample(clock, at_s, at_s * 50e-6, 0.002) is Learned.TAKEN
    drift = clock.drift_ppm()
    assert drift == pytest.approx(50, abs=2)


@pytest.mark.parametrize(
    "wrong",
    [{"resync_s": 0}, {"round_trip_max_s": float("inf")}, {"spacing_s": -1}, {"drift_max_ppm": -1}, {"samples": 0}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """Each by its name."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ClockSettings(**wrong)  # type: ignore[arg-type]
