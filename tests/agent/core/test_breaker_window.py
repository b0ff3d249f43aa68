"""Windows over the recent past, against the naive list of everything that happened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.breaker_window import CountWindow, TimeWindow
from jackstay_protocols.errors import ValidationError


@given(st.integers(1, 8), st.lists(st.integers(0, 3), max_size=40))
def test_a_count_window_is_the_last_n_calls(size, flags):
    """Totals equal those of the last n entries of the whole history."""
    window = CountWindow(size)
    for f in flags:
        window.record(0.0, f)
        window.advance(0.0)
    last = flags[-size:]
    assert (window.calls, window.failed, window.slow) == (
        len(last),
        sum(f & 1 for f in last),
        sum(f >> 1 for f in last),
    )
    assert window.dump(0.0) == last


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 3)), max_size=40))
def test_a_time_window_is_the_buckets_that_are_not_over(steps):
    """A call counts while its bucket is among the last ten."""
    window, now, seen = TimeWindow(10), 100.0, []
    for gap, flags in steps:
        now += gap
        window.record(now, flags)
        seen.append((int(now // 1.0), flags))
        alive = [f for epoch, f in seen if int(now // 1.0) - epoch < 10]
        assert window.calls == len(alive)
        assert window.failed == sum(f & 1 for f in alive)
        assert window.slow == sum(f >> 1 for f in alive)


def test_a_caller_a_moment_behind_is_booked_in_the_newest_bucket():
    """Time that seems to go back empties nothing."""
    window = TimeWindow(10)
    window.record(100.0, 1)
    window.record(95.0, 1)
    assert (window.calls, window.failed) == (2, 2)


@pytest.mark.parametrize("window", [CountWindow(4), TimeWindow(10)], ids=["count", "time"])
def test_a_window_survives_dump_and_load(window):
    """What is loaded says the same as what was dumped; clear empties it."""
    for n, flags in enumerate((1, 2, 3, 0, 1)):
        window.record(100.0 + n, flags)
    totals = (window.calls, window.failed, window.slow)
    rows = window.dump(104.0)
    window.clear()
    assert window.calls == 0
    window.load(rows, 5000.0)
    assert (window.calls, window.failed, window.slow) == totals


def test_an_empty_time_window_dumps_nothing():
    """Nothing recorded is nothing dumped."""
    assert TimeWindow(10).dump(50.0) == []


@pytest.mark.parametrize("row", [4, -1, "x", None])
def test_a_damaged_count_row_is_refused(row):
    """Only flags are rows."""
    with pytest.raises(ValidationError, match="breaker window row"):
        CountWindow(4).load([row], 0.0)


@pytest.mark.parametrize(
    "row", [7, [0, 1, 0], [10, 1, 0, 0], [0, 1, 2, 0], [0, 1, 0, 2], [0, -1, 0, 0], [0, 1.5, 0, 0], [0, True, 0, 0]]
)
def test_a_damaged_time_row_is_refused(row):
    """Parts must be counts that fit their total and an age in the window."""
    with pytest.raises(ValidationError, match="breaker window row"):
        TimeWindow(10).load([row], 0.0)
