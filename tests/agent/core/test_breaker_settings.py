"""What may be set on a breaker, and what its numbers mean."""

import math

import pytest

from jackstay_agent.core.breaker_settings import BreakerSettings, capped_s
from jackstay_protocols.errors import ValidationError

BAD = [
    {"failure_threshold": 0},
    {"failure_threshold": 2.5},
    {"failure_threshold": 10**9},
    {"failure_rate": 0},
    {"failure_rate": 1.01},
    {"failure_rate": math.nan},
    {"slow_rate": -0.1},
    {"slow_call_s": 0},
    {"slow_call_s": math.inf},
    {"window": "calls"},
    {"window_size": 0},
    {"window_size": 10**6},
    {"window": "time", "window_size": 90_000},
    {"min_calls": 0},
    {"half_open_permits": 0},
    {"half_open_permits": 1001},
    {"half_open_rule": "vote"},
    {"probe_lease_s": 0},
    {"probe_lease_s": math.nan},
    {"open_s": -1},
    {"open_s": math.nan},
    {"open_s": 1e12},
    {"open_growth": 0.5},
    {"open_cap_s": math.inf},
    {"open_spread": -1},
    # numbers that are fine alone and not together
    {"failure_rate": 0.5, "window_size": 10, "min_calls": 11},
    {"half_open_rule": "rates"},
    {"open_s": 100.0, "open_cap_s": 50.0},
]


@pytest.mark.parametrize("fields", BAD, ids=str)
def test_bad_settings_are_refused(fields):
    """Negative, NaN, infinite, huge or contradictory settings never become a breaker."""
    with pytest.raises(ValidationError, match="BreakerSettings"):
        BreakerSettings(**fields)


def test_the_defaults_and_the_edges_are_fine():
    """Defaults hold; thresholds that just fit their window too."""
    assert BreakerSettings().failure_threshold == 5
    BreakerSettings(failure_threshold=None, failure_rate=1.0, window_size=10, min_calls=10)
    BreakerSettings(failure_rate=0.5, window="time", window_size=10, min_calls=100)


def test_open_time_grows_to_its_cap_and_keeps_its_spread_there():
    """base x growth^(n-1), capped, then spread upward, overflow included."""
    s = BreakerSettings(open_s=10.0, open_growth=2.0, open_cap_s=60.0, open_spread=0.5)
    assert [s.open_duration_s(n) for n in (1, 2, 3, 4)] == [10.0, 20.0, 40.0, 60.0]
    assert s.open_duration_s(100_000) == 60.0
    assert s.open_duration_s(100_000, 0.5) == 75.0


def test_a_nonsense_duration_is_the_cap_or_nothing():
    """NaN and infinity are the cap, the careful side; a negative one is nothing."""
    assert capped_s(math.nan, 9.0) == 9.0
    assert capped_s(math.inf, 9.0) == 9.0
    assert capped_s(-math.inf, 9.0) == 9.0
    assert capped_s(-5.0, 9.0) == 0.0
    assert capped_s(5.0, 9.0) == 5.0


def test_reasons_to_trip_name_the_rule():
    """Consecutive failures speak first; rates only from the minimum of calls on; a rate at its threshold is over it."""
    s = BreakerSettings(failure_threshold=3, failure_rate=0.5, slow_rate=0.5, min_calls=4, window_size=10)
    assert s.why_trip(3, 3, 3, 0) == "3 consecutive failures"
    assert s.why_trip(2, 3, 3, 0) == ""
    assert s.why_trip(0, 4, 2, 0) == "2 of 4 calls failed"
    assert s.why_trip(0, 4, 1, 2) == "2 of 4 calls were slow"
    assert s.why_trip(0, 4, 1, 1) == ""
    assert BreakerSettings(failure_threshold=None).why_trip(99, 99, 99, 99) == ""


def test_probes_are_judged_by_the_first_failure_or_by_the_rates():
    """The rule decides whether one failed probe is enough."""
    first = BreakerSettings(half_open_permits=4)
    assert first.why_probes_fail(1, 1, 0) == "a probe failed"
    assert first.why_probes_fail(4, 0, 4) == ""
    rates = BreakerSettings(half_open_permits=4, half_open_rule="rates", failure_rate=0.5)
    assert rates.why_probes_fail(3, 3, 0) == ""
    assert rates.why_probes_fail(4, 2, 0) == "2 of 4 calls failed"
    assert rates.why_probes_fail(4, 1, 0) == ""
