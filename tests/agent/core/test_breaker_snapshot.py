"""A breaker survives a restart."""

import json
import math

import pytest

from jackstay_agent.core.breaker import Breaker, BreakerSettings, BreakerState
from jackstay_protocols.errors import Reason, ValidationError


def reborn(breaker, now, later=0.0, elapsed_s=0.0, **settings):
    """Snapshot through JSON into a new breaker whose clock starts elsewhere."""
    data = json.loads(json.dumps(breaker.snapshot(now)))
    new = Breaker(breaker.settings if not settings else BreakerSettings(**settings), name=breaker.name)
    new.restore(data, later, elapsed_s=elapsed_s)
    return new


def tripped(**settings):
    b = Breaker(BreakerSettings(failure_threshold=1, open_s=30.0, **settings), name="orders")
    b.failure(b.acquire(0.0), 0.0)
    return b


def test_a_restart_does_not_close_an_open_breaker():
    """The time left goes on, also under another clock; the downtime counts."""
    new = reborn(tripped(), 10.0, later=5000.0)
    assert new.state is BreakerState.OPEN
    assert new.acquire(5019.9).reason is Reason.BREAKER_OPEN
    assert new.acquire(5020.0).__class__.__name__ == "Permit"
    down = reborn(tripped(), 10.0, later=5000.0, elapsed_s=25.0)
    assert down.until == 5000.0


def test_counts_towards_the_threshold_survive():
    """Four failures before and one after the restart are five."""
    b = Breaker()
    for _ in range(4):
        b.failure(b.acquire(0.0), 0.0)
    new = reborn(b, 1.0)
    new.failure(new.acquire(0.0), 0.0)
    assert new.state is BreakerState.OPEN


@pytest.mark.parametrize("window", ["count", "time"])
def test_windows_survive(window):
    """Rates go on where they were; a window of another kind starts empty."""
    s = {"failure_threshold": None, "failure_rate": 0.5, "min_calls": 4, "window": window, "window_size": 10}
    b = Breaker(BreakerSettings(**s))
    for ok in (True, False, True):
        (b.success if ok else b.failure)(b.acquire(1.0), 1.0)
    new = reborn(b, 1.0, later=77.0)
    new.failure(new.acquire(77.0), 77.0)
    assert new.state is BreakerState.OPEN
    other = reborn(b, 1.0, later=77.0, **{**s, "window": "time" if window == "count" else "count"})
    other.failure(other.acquire(77.0), 77.0)
    assert other.state is BreakerState.CLOSED


def test_opens_in_a_row_survive_and_probes_that_came_back_too():
    """Growth goes on; of two probes one is done, so one is admitted; what was in flight is lost."""
    b = tripped(half_open_permits=2)
    b.success(b.acquire(31.0), 31.0)
    b.acquire(31.0)
    new = reborn(b, 32.0)
    assert (new.state, new.opens_in_a_row) == (BreakerState.HALF_OPEN, 1)
    probe = new.acquire(0.0)
    assert new.acquire(0.0).reason is Reason.HALF_OPEN_FULL
    new.success(probe, 0.0)
    assert new.state is BreakerState.CLOSED
    fewer = reborn(b, 32.0, half_open_permits=1)
    assert fewer.acquire(0.0).__class__.__name__ == "Permit"


def test_operator_modes_survive():
    """A forced-open breaker stays so across a restart, with its reason."""
    b = Breaker(name="orders")
    b.force(BreakerState.FORCED_OPEN, 0.0, why="release night")
    new = reborn(b, 5.0)
    assert (new.state, new.until, new.why) == (BreakerState.FORCED_OPEN, None, "release night")


GOOD = Breaker(name="orders").snapshot(0.0)
BAD = [
    None,
    [],
    {},
    {**GOOD, "version": 2},
    {k: v for k, v in GOOD.items() if k != "state"},
    {**GOOD, "state": "ajar"},
    {**GOOD, "state": "open"},
    {**GOOD, "left_s": math.nan},
    {**GOOD, "left_s": 1e300},
    {**GOOD, "opens_in_a_row": -1},
    {**GOOD, "consecutive": "5"},
    {**GOOD, "probed": 3},
    {**GOOD, "probed": [1, 2, 0]},
    {**GOOD, "probed": [1, 0, 2]},
    {**GOOD, "probed": [1, 0]},
]


@pytest.mark.parametrize("data", BAD, ids=str)
def test_a_damaged_snapshot_is_refused(data):
    """A file's content is doubted, and the breaker stays as it was."""
    b = Breaker(name="orders")
    with pytest.raises(ValidationError, match="snapshot of breaker orders"):
        b.restore(data, 0.0)
    assert b.state is BreakerState.CLOSED


def test_results_from_before_a_restore_change_nothing():
    """A restore begins a generation."""
    b = Breaker(BreakerSettings(failure_threshold=1))
    old = b.acquire(0.0)
    b.restore(GOOD, 0.0)
    b.failure(old, 0.0)
    assert b.state is BreakerState.CLOSED
    assert b.counts["late"] == 1
