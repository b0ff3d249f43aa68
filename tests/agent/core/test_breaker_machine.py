"""How a breaker moves: open time, operator modes, what it shows."""

import math

import pytest

from jackstay_agent.core.breaker import Breaker, BreakerSettings, BreakerState, Permit
from jackstay_protocols.errors import ValidationError

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def make(**fields):
    fields.setdefault("failure_threshold", 2)
    fields.setdefault("open_s", 30.0)
    return Breaker(BreakerSettings(**fields), name="orders")


def trip(breaker, now=0.0):
    while breaker.state is not OPEN:
        breaker.failure(breaker.acquire(now), now)
    return breaker


# -- open time ------------------------------------------------------------------------------------------------------


def test_open_time_grows_with_opens_in_a_row_and_closing_forgets_them():
    """10, 20, 40, capped at 40; after a close 10 again; the caller's chance spreads it upward."""
    b = make(open_s=10.0, open_growth=2.0, open_cap_s=40.0, open_spread=1.0)
    trip(b, 0.0)
    ends = [b.until]
    for _ in range(3):
        now = b.until
        b.failure(b.acquire(now), now)
        ends.append(b.until)
    assert [round(y - x, 6) for x, y in zip([0.0, *ends], ends, strict=False)] == [10.0, 20.0, 40.0, 40.0]
    now = b.until
    b.success(b.acquire(now), now)
    b.failure(b.acquire(now), now)
    b.failure(b.acquire(now), now, jitter=0.5)
    assert b.until == now + 15.0


def test_open_time_may_be_the_callers_function_and_is_capped():
    """A function of the opens in a row; what it says is bounded, NaN is the cap."""
    b = Breaker(BreakerSettings(open_cap_s=50.0), open_duration_s=lambda n: {1: 7.0, 2: 1e9}.get(n, math.nan))
    assert [b.open_duration_s(n) for n in (1, 2, 3)] == [7.0, 50.0, 50.0]


def test_one_result_can_open_it_until_an_instant():
    """A Retry-After in the answer opens at once; an instant in the past, infinite or NaN is an ordinary failure."""
    b = make(failure_threshold=5)
    b.failure(b.acquire(0.0), 0.0, open_until=100.0)
    assert (b.state, b.until) == (OPEN, 100.0)
    for instant in (-1.0, math.nan):
        b = make(failure_threshold=5)
        b.failure(b.acquire(0.0), 0.0, open_until=instant)
        assert (b.state, b.counts["failed"]) == (CLOSED, 1)


def test_open_until_extends_and_never_shortens():
    """A later instant counts, an earlier one does not; from half-open it opens; 30 days are the most."""
    b = make()
    b.open_until(-1.0, 0.0)
    assert b.state is CLOSED
    b.open_until(100.0, 0.0)
    b.open_until(50.0, 0.0)
    assert (b.until, b.opens_in_a_row) == (100.0, 1)
    b.open_until(200.0, 0.0)
    assert (b.until, b.opens_in_a_row) == (200.0, 1)
    b.acquire(200.0)
    b.open_until(300.0, 200.0)
    assert (b.state, b.until, b.opens_in_a_row) == (OPEN, 300.0, 2)
    b.open_until(1e12, 200.0)
    assert b.until == 200.0 + 30 * 86_400
    with pytest.raises(ValidationError, match="open_until"):
        b.open_until(math.nan, 0.0)


# -- operator modes -------------------------------------------------------------------------------------------------


def test_forced_open_stays_until_released_or_its_time_is_over_and_then_is_probed():
    """Without an end it refuses for ever and names no time."""
    b = make()
    b.force(BreakerState.FORCED_OPEN, 0.0, why="release")
    assert b.acquire(1e6).retry_after_s is None
    b.open_until(2e6, 1e6)
    assert b.state is BreakerState.FORCED_OPEN
    b.force(BreakerState.FORCED_OPEN, 0.0, why="release", until=10.0)
    assert b.acquire(9.0).retry_after_s == 1.0
    assert isinstance(b.acquire(10.0), Permit)
    assert b.state is HALF_OPEN


def test_disabled_admits_everything_and_records_nothing():
    """A hundred failures later it is still disabled, until its time is over."""
    b = make()
    b.force(BreakerState.DISABLED, 0.0, why="test", until=100.0)
    for _ in range(100):
        b.failure(b.acquire(1.0), 1.0)
    b.success(b.acquire(1.0), 1.0)
    assert (b.state, b.counts["failed"], b.counts["ok"]) == (BreakerState.DISABLED, 0, 0)
    assert isinstance(b.acquire(100.0), Permit)
    assert b.state is CLOSED


def test_metrics_only_says_when_it_would_have_opened_and_stays():
    """One event per piece of evidence, none per call."""
    b = make()
    b.force(BreakerState.METRICS_ONLY, 0.0, why="try")
    b.drain_events()
    for _ in range(5):
        b.failure(b.acquire(0.0), 0.0, open_until=50.0)
    assert b.state is BreakerState.METRICS_ONLY
    assert [(e.kind, e.why) for e in b.drain_events()] == [("would_open", "2 consecutive failures")] * 2
    b.success(b.acquire(0.0), 0.0)
    assert b.counts["ok"] == 1


def test_an_operator_can_trip_and_reset():
    """Trip lasts the computed time or until told; reset closes and forgets the opens in a row."""
    b = make()
    b.force(OPEN, 0.0, why="trip")
    assert b.until == 30.0
    b.force(OPEN, 0.0, why="trip", until=500.0)
    assert b.until == 500.0
    b.force(CLOSED, 1.0, why="reset", until=9.0)
    assert (b.state, b.until, b.opens_in_a_row) == (CLOSED, None, 0)
    assert [(e.kind, e.to_state) for e in b.drain_events()] == [("moved", OPEN), ("renewed", OPEN), ("moved", CLOSED)]
    with pytest.raises(ValidationError, match="until"):
        b.force(OPEN, 0.0, why="trip", until=math.inf)


def test_a_lost_probe_is_told_and_memory_survives():
    """The lease end is an event; a snapshot taken up again says the same."""
    b = trip(make(probe_lease_s=5.0))
    b.acquire(30.0)
    b.drain_events()
    b.advance(35.0)
    assert [e.kind for e in b.drain_events()] == ["probe_lost"]
    new = make()
    new.restore(b.snapshot(35.0), 0.0)
    assert new.state is HALF_OPEN


def test_moving_forgets_the_window():
    """A closed breaker starts without the failures that opened it."""
    b = make(failure_threshold=None, failure_rate=1.0, min_calls=2, window_size=4)
    trip(b)
    b.success(b.acquire(30.0), 30.0)
    b.failure(b.acquire(31.0), 31.0)
    assert b.state is CLOSED


def test_illegal_transitions_raise():
    """Closed does not become half-open by anybody's word."""
    with pytest.raises(ValidationError, match="breaker orders is closed and cannot become half_open"):
        make().force(HALF_OPEN, 0.0, why="no")


# -- showing --------------------------------------------------------------------------------------------------------


def test_the_owner_knows_when_time_alone_will_change_something():
    """Closed: never; open: its end; half-open: the first lease end."""
    b = make()
    assert b.next_change_at() is None
    trip(b)
    assert b.next_change_at() == 30.0
    b.acquire(30.0)
    assert b.next_change_at() == 90.0


def test_events_tell_each_move_once():
    """Closed to open to half-open to closed: three facts with their reasons."""
    b = trip(make())
    assert b.pending
    b.success(b.acquire(30.0), 30.0)
    moves = [(e.kind, e.from_state, e.to_state, e.why, e.until) for e in b.drain_events()]
    assert moves == [
        ("moved", CLOSED, OPEN, "2 consecutive failures", 30.0),
        ("moved", OPEN, HALF_OPEN, "open time over", None),
        ("moved", HALF_OPEN, CLOSED, "probes succeeded", None),
    ]
    assert not b.pending


def test_counts_add_up():
    """Each call is in one count."""
    b = trip(make())
    b.acquire(1.0)
    assert b.counts == {
        "ok": 0,
        "refused": 1,
        "failed": 2,
        "ignored": 0,
        "late": 0,
        "bypassed": 0,
        "events_lost": 0,
    }


def test_rules_off_never_open():
    """With every rule off a breaker only counts."""
    b = Breaker(BreakerSettings(failure_threshold=None))
    for _ in range(50):
        b.failure(b.acquire(0.0), 0.0)
    assert b.state is CLOSED
