"""The statistics of the analytics, piece by piece: tails against exact sums, rings, bursts, trends, roots, findings."""

from __future__ import annotations

import math
import random

import pytest

from jackstay_agent.core import trend_stats as stats
from jackstay_agent.core.findings import FOUND, GREW, Finding, Findings
from jackstay_agent.core.loop_watch import KEYS_MAX, LoopWatch
from jackstay_agent.core.trend_buckets import FINE_S, Gauge, Ring, Series
from jackstay_agent.core.trend_bursts import burst, elevated
from jackstay_agent.core.trend_roots import DEPENDENCY_ORDER, Incidents, Onset, rank
from jackstay_agent.core.trends import crossing_of, is_seasonal, trend_of
from jackstay_protocols.errors import ErrorSeverity

# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize(("n", "p"), [(10, 0.3), (60, 0.05), (200, 0.9), (1, 0.5)])
def test_binomial_tails_are_the_sums(n: int, p: float) -> None:
    """Against the sum of the probabilities; the edges are certain or impossible."""
    for k in range(n + 2):
        exact = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
        assert stats.binomial_tail(k, n, p) == pytest.approx(exact, rel=1e-9, abs=1e-12)
    assert stats.binomial_tail(3, 5, 1.0) == 1.0
    assert stats.binomial_tail(3, 5, 0.0) == 0.0


@pytest.mark.parametrize("mean", [0.01, 1.0, 7.5, 40.0])
def test_poisson_tails_are_the_sums(mean: float) -> None:
    """Both branches, far into the tail."""
    for k in range(1, 80):
        below = sum(math.exp(-mean + i * math.log(mean) - math.lgamma(i + 1)) for i in range(k))
        assert stats.poisson_tail(k, mean) == pytest.approx(max(0.0, 1 - below), rel=1e-6, abs=1e-13)
    assert stats.poisson_tail(0, mean) == 1.0
    assert stats.poisson_tail(2, 0.0) == 0.0


def test_normal_and_student() -> None:
    """Known values."""
    assert stats.normal_tail(1.6448536) == pytest.approx(0.05, abs=1e-6)
    assert stats.student_quantile(27) == pytest.approx(1.703, abs=0.002)


def test_ranks_medians_spread_and_discovery_rates() -> None:
    """A rising row, a flat one, ties; more scatter than Poisson; Benjamini and Hochberg's own example's shape."""
    z, slope, level = stats.rank_trend([1.0, 2, 3, 4, 5, 6, 7, 8])
    assert z > 3
    assert (slope, level) == (1.0, 4.5)
    assert stats.rank_trend([2.0, 2.0, 2.0]) == (0.0, 0.0, 2.0)
    assert stats.rank_trend([]) == (0.0, 0.0, 0.0)
    assert stats.rank_trend([3.0, 2.0, 2.0, 1.0])[1] < 0
    assert stats.median([3, 1, 2]) == 2
    assert stats.spread([5.0]) == stats.spread([0.0, 0.0]) == stats.spread([4, 5, 6]) == 1.0
    assert stats.spread([0, 100, 0, 100]) > 50
    assert stats.adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert stats.adjusted([]) == []


# ---------------------------------------------------------------- rings


def test_a_ring_forgets_and_takes_late_counts_into_their_own_bin() -> None:
    """Bins that were skipped are empty, what is older than the ring is gone, a jump clears it."""
    ring = Ring(10, 6)
    ring.add(100, 3)
    ring.add(131, 1)
    ring.add(112, 2)
    assert ring.last(5, 14) == [0, 3, 2, 0, 1]
    assert ring.last(4, 16) == [0, 1, 0, 0]
    ring.add(10, 99)
    assert sum(ring.bins) == 6
    ring.add(175, 1)
    assert ring.last(6, 18) == [2 if at == 11 else 1 if at in (13, 17) else 0 for at in range(12, 18)]
    ring.add(10_000, 7)
    assert list(ring.bins).count(0) == 5


def test_a_series_counts_seconds_and_settles() -> None:
    """Within a second only a number grows."""
    series = Series()
    for second in (5, 5, 5, 6, 30):
        series.hit(second, 1)
    assert series.fine.last(4, 4) == [4, 0, 0, 0]
    series.settle()
    assert series.last_at == 30.0
    assert series.fine.last(4, 4) == [4, 0, 0, 1]
    series.settle()
    assert series.fine.last(4, 4) == [4, 0, 0, 1]


def test_a_gauge_carries_its_value_over_gaps_and_says_when_it_knows_too_little() -> None:
    """Means per bin."""
    gauge = Gauge()
    for at, value in ((0, 1.0), (5, 3.0), (20, 5.0), (39, 9.0)):
        gauge.measure(at, value)
    assert gauge.means(4, 1, 4) == [2.0, 2.0, 5.0, 9.0]
    assert gauge.means(12, 1, 4) is None


# ---------------------------------------------------------------- more than usual


def filled(per_bin: float, bins: int, seed: int = 1) -> tuple[Series, int]:
    rng, series = random.Random(seed), Series()
    for at in range(bins * FINE_S):
        if rng.random() < per_bin / FINE_S:
            series.hit(1_000_000 + at)
    return series, 100_000 + bins


def test_a_burst_needs_history_a_count_a_multiple_and_significance() -> None:
    """None of them alone; its beginning is the second that stands out."""
    series, until = filled(1.0, 200)
    for second in range(until * FINE_S + 4, until * FINE_S + 10):
        series.hit(second, 5)
    series.settle()
    found = burst(series, None, until + 1, 200, 1e-6)
    assert found is not None
    assert found.errors == 30
    assert found.began_at == until * FINE_S + 4
    assert burst(series, None, until + 1, 20, 1e-6) is None, "watched for too short"
    assert burst(series, None, until + 1, 200, 1e-60) is None, "not sure enough"
    assert burst(series, None, until, 200, 1e-6) is None
    single, until = filled(0.0, 200)
    single.hit(until * FINE_S + 3, 40)
    single.settle()
    lone = burst(single, None, until + 1, 200, 1e-6)
    assert lone is not None
    assert lone.began_at == until * FINE_S + 3


def test_traffic_is_the_exposure_where_it_is_known() -> None:
    """Ten times the errors at ten times the requests is nothing; without earlier traffic time counts again."""
    series, until = filled(1.0, 200)
    traffic, _until = filled(5.0, 200, 2)
    for second in range(until * FINE_S, until * FINE_S + 10):
        series.hit(second, 2)
        traffic.hit(second, 10)
    series.settle()
    traffic.settle()
    assert burst(series, traffic, until + 1, 200, 1e-6) is None
    assert burst(series, None, until + 1, 200, 1e-6) is not None
    fresh = Series()
    fresh.hit(until * FINE_S + 1, 3)
    fresh.settle()
    assert burst(series, fresh, until + 1, 200, 1e-6) is not None
    assert burst(series, Series(), until + 1, 200, 1e-6) is not None


def test_a_level_is_up_only_while_it_lasts() -> None:
    """Four of five minutes, not one burst in them."""
    series, until = filled(1.0, 6 * 100)
    minute = until // 6
    for second in range(minute * 60, minute * 60 + 300):
        series.hit(second, 1)
    series.settle()
    assert elevated(series, None, minute + 5, 100, 1e-6) is not None
    assert elevated(series, None, minute + 5, 60, 1e-6) is None
    lone, until = filled(1.0, 6 * 100)
    lone.hit(minute * 60 + 5, 200)
    lone.settle()
    assert elevated(lone, None, minute + 5, 100, 1e-6) is None


# ---------------------------------------------------------------- trends


def test_a_trend_has_a_direction_and_a_strength() -> None:
    """Chance has none, a small one is none, a certain one is."""
    rng = random.Random(3)
    assert trend_of([rng.gauss(10, 3) for _ in range(30)], 1e-4) is None
    assert trend_of([100 + n * 0.1 for n in range(30)], 1e-4) is None
    assert trend_of([5.0] * 30, 1e-4) is None
    rising = trend_of([5 + n + rng.gauss(0, 1) for n in range(30)], 1e-4)
    assert rising is not None
    assert rising.direction == "rising"
    assert rising.strength > 0.8
    falling = trend_of([60 - 2 * n for n in range(30)], 1e-4)
    assert falling is not None
    assert falling.direction == "falling"


def test_a_season_is_yesterdays_trend() -> None:
    """The same rise a day ago; none without a yesterday."""
    rng = random.Random(4)
    today, yesterday = ([5 + n + rng.gauss(0, 2) for n in range(30)] for _ in range(2))
    assert is_seasonal(today, yesterday)
    assert not is_seasonal(today, [0.0] * 30)
    assert not is_seasonal(today, [20.0] * 30)


def test_a_crossing_has_an_interval_and_may_not_be_there() -> None:
    """A clean line is sure, a noisy one wide; falling, flat and late ones have none."""
    clean = crossing_of([10.0 + n for n in range(30)], 60.0, counts=False)
    assert clean is not None
    assert clean.bins == pytest.approx(21, abs=0.01)
    assert clean.low <= clean.bins <= clean.high
    rng = random.Random(5)
    noisy = crossing_of([max(0, 10 + n + rng.gauss(0, 5)) for n in range(30)], 60.0, counts=True)
    assert noisy is not None
    assert noisy.high - noisy.low > clean.high - clean.low
    assert crossing_of([40.0 - n for n in range(30)], 60.0, counts=True) is None
    assert crossing_of([90.0 + n for n in range(30)], 60.0, counts=True) is None
    assert crossing_of([1.0] * 5, 60.0, counts=True) is None


# ---------------------------------------------------------------- who began


def test_time_decides_and_dependency_breaks_ties() -> None:
    """Ten seconds earlier wins against any order; at the same second what others depend on is first."""
    order = {name: place for place, name in enumerate(DEPENDENCY_ORDER)}
    late_network = [Onset(("orders", "x"), 100.0, 9), Onset(("network", "x"), 110.0, 9)]
    assert rank(late_network, order)[0].key[0] == "orders"
    together = [Onset(("orders", "x"), 100.0, 9), Onset(("network", "x"), 100.5, 9), Onset(("other", "x"), 101.0, 9)]
    assert rank(together, order)[0].key[0] == "network"
    assert rank(together[:1], order)[0].score == 0.0


def test_incidents_group_within_a_minute() -> None:
    """Alone it is none; the same kind again is the same burst; a later one is another incident."""
    incidents = Incidents()
    assert incidents.add(Onset(("a", "x"), 100.0, 5)) is None
    assert incidents.add(Onset(("a", "x"), 110.0, 5)) is None
    found = incidents.add(Onset(("b", "x"), 112.0, 5))
    assert found is not None
    assert found[0].number == 1
    assert found[1][0].key == ("a", "x")
    assert incidents.add(Onset(("b", "x"), 500.0, 5)) is None


def test_correlations_need_repetition_and_an_order() -> None:
    """Six times after the other within a minute; the other way round is none."""
    incidents = Incidents()
    for n in range(6):
        incidents.add(Onset(("lead", "x"), n * 3600.0, 5))
        incidents.add(Onset(("follow", "x"), n * 3600.0 + 7, 5))
        incidents.add(Onset(("alone", "x"), n * 3600.0 + 1000, 5))
    (pair,) = incidents.correlations(6 * 3600.0)
    assert (pair.leader[0], pair.follower[0], pair.lag_s, pair.hits, pair.of) == ("lead", "follow", 7.0, 6, 6)
    assert pair.q < 0.01


# ---------------------------------------------------------------- findings, loops


def finding(frequency: int = 1, at: float = 0.0, name: str = "a") -> Finding:
    return Finding(name, "burst", "c", "e", at, at, frequency, ErrorSeverity.LOW, 0.9, "look")


def test_what_is_known_is_told_again_only_when_it_doubled_changed_or_came_back() -> None:
    """Found, silence, grew, ended, found; an acknowledged one only ends."""
    book = Findings(quiet_s=60, retention_s=1000, findings_max=3)
    assert book.note(finding()) == FOUND
    assert book.note(finding(1, 10)) == ""
    assert book.note(finding(2, 20)) == GREW
    assert book.note(finding(2, 30), changed=True) == GREW
    assert book.acknowledge("a")
    assert not book.acknowledge("nothing")
    assert book.note(finding(50, 50)) == ""
    assert book.sweep(100) == []
    (over,) = book.sweep(200)
    assert over.ended
    assert book.note(finding(1, 300)) == FOUND
    assert book.suppressed == 2
    for name in "bcd":
        book.note(finding(1, 300, name))
    assert [each.id for each in book.all()] == ["b", "c", "d"]
    book.sweep(500)
    assert len(book.all()) == 3
    book.sweep(5000)
    assert book.all() == []
    assert book.get("b") is None


def test_a_loop_is_a_run_that_a_success_ends() -> None:
    """Of one owner, one thing, one reason; bounded."""
    loops = LoopWatch(3)
    assert [loops.refused("o", "x", "r") for _ in range(4)] == [0, 0, 3, 4]
    assert loops.refused("o", "x", "other") == 0
    loops.accepted("p")
    assert loops.refused("o", "x", "r") == 5
    loops.accepted("o")
    assert loops.refused("o", "x", "r") == 0
    for n in range(KEYS_MAX + 10):
        loops.refused("o", n, "r")
    loops.accepted("o")
    loops.accepted("o")
