"""Rings, series and gauges against a plain list of everything that was counted."""

from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.trend_buckets import COARSE_S, FINE_S, SECONDS, Gauge, Ring, Series

STEPS = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3)), max_size=60)


@given(STEPS, st.integers(1, 12))
def test_a_ring_holds_its_newest_bins(steps, count):
    """Whatever is asked of it, inside, before or after what it holds."""
    ring, counted, at = Ring(1, 8), {}, 0
    for step, number in steps:
        at += step
        ring.add(at, number)
        counted[at] = counted.get(at, 0) + number
        for until in (at - 3, at + 1, at + 5):
            wanted = [counted.get(b, 0) if at - 8 < b <= at else 0 for b in range(until - count, until)]
            assert ring.last(count, until) == wanted


def test_what_is_too_old_for_a_ring_is_forgotten():
    """Late news counts in its own bin while that is there."""
    ring = Ring(1, 4)
    ring.add(10, 1)
    ring.add(8, 1)
    ring.add(6, 1)
    assert ring.last(4, 11) == [0, 1, 0, 1]
    assert ring.move(3) == 3


def test_a_series_counts_in_three_widths():
    """Nothing is lost between seconds, and the current one is counted when it is settled."""
    series = Series()
    for second in range(130):
        series.hit(second)
        series.hit(second, 2)
    series.settle()
    series.settle()
    assert (series.total, series.last_at) == (390, 129.0)
    assert series.seconds.last(SECONDS, 130) == [3] * SECONDS
    assert series.fine.last(13, 13) == [3 * FINE_S] * 13
    assert series.coarse.last(2, 2) == [3 * COARSE_S] * 2


def test_a_gauge_keeps_means_and_carries_them_over_a_gap():
    """With a third of the bins empty there is nothing to say."""
    gauge = Gauge()
    for bin_ in (0, 1, 3, 4, 5):
        gauge.measure(bin_ * FINE_S, bin_)
        gauge.measure(bin_ * FINE_S + 1, bin_ + 2)
    assert gauge.means(6, 1, 6) == [1.0, 2.0, 2.0, 4.0, 5.0, 6.0]
    assert gauge.means(3, 2, 6) == [1.5, 4.0, 5.5]
    assert gauge.means(9, 1, 9) is None
    assert gauge.means(4, 1, 5) == [2.0, 2.0, 4.0, 5.0]
    assert gauge.means(4, 1, 4) == [1.0, 2.0, 2.0, 4.0]
    assert gauge.last_at == 51.0
