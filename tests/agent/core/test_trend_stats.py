"""Tails, ranks and slopes against plain sums and hand-made rows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.trend_stats import (
    adjusted,
    binomial_tail,
    median,
    normal_tail,
    poisson_tail,
    rank_trend,
    spread,
    student_quantile,
)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.0, 0.999))
def test_the_binomial_tail_is_the_sum_of_its_terms(k, n, p):
    """To nine digits, impossible cases included."""
    exact = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert binomial_tail(k, n, p) == pytest.approx(exact, abs=1e-9)


def test_certain_and_impossible():
    """Nothing is asked for, more than there is, a chance of none."""
    assert (binomial_tail(0, 5, 0.0), binomial_tail(1, 5, 0.0), binomial_tail(6, 5, 0.5)) == (1.0, 0.0, 0.0)
    assert binomial_tail(3, 5, 1.0) == 1.0
    assert (poisson_tail(0, 3.0), poisson_tail(1, 0.0)) == (1.0, 0.0)


@given(st.integers(1, 80), st.floats(0.001, 120.0))
def test_the_poisson_tail_is_the_sum_of_its_terms(k, mean):
    """On both sides of the mean, where a series and a fraction take turns."""
    below = sum(math.exp(-mean + i * math.log(mean) - math.lgamma(i + 1)) for i in range(k))
    assert poisson_tail(k, mean) == pytest.approx(1.0 - below, abs=1e-9)


@pytest.mark.parametrize(("k", "mean"), [(10**7, 1e7), (10**7, 1e7 + 2)])
def test_a_count_of_millions_is_cut_short_and_stays_a_probability(k, mean):
    """The work for one is bounded."""
    assert 0.0 <= poisson_tail(k, mean) <= 1.0
    assert 0.0 <= binomial_tail(k // 2, k, mean / (2 * k)) <= 1.0


def test_the_normal_tail_and_students_quantile():
    """Known figures."""
    assert normal_tail(0.0) == 0.5
    assert normal_tail(1.6449) == pytest.approx(0.05, abs=1e-4)
    assert student_quantile(10) == pytest.approx(1.812, abs=0.01)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=30))
def test_a_slope_by_ranks(values):
    """The middle of all slopes; a row the other way round has the other sign."""
    z, slope, level = rank_trend([float(each) for each in values])
    back, down, same = rank_trend([float(each) for each in reversed(values)])
    assert (z, slope, level) == pytest.approx((-back, -down, same), abs=1e-9)
    assert level == median(values)


def test_a_row_without_ranks_has_no_trend():
    """All equal, one value, none at all."""
    assert rank_trend([3.0] * 9) == (0.0, 0.0, 3.0)
    assert rank_trend([2.0]) == (0.0, 0.0, 2.0)
    assert rank_trend([]) == (0.0, 0.0, 0.0)
    z, slope, level = rank_trend([float(n) for n in range(9)])
    assert (round(z, 2), slope, level) == (3.65, 1.0, 4.0)


def test_the_median_and_the_spread():
    """Of odd and even rows; a row that scatters less than Poisson counts as Poisson."""
    assert (median([3, 1, 2]), median([4, 1, 2, 3])) == (2, 2.5)
    assert (spread([5]), spread([0, 0]), spread([5, 5, 5])) == (1.0, 1.0, 1.0)
    assert spread([0, 10]) == 10.0


def test_many_tests_are_corrected_for_their_number():
    """Benjamini and Hochberg's own kind of example."""
    assert adjusted([0.01, 0.02, 0.03, 0.5]) == pytest.approx([0.04, 0.04, 0.04, 0.5])
    assert adjusted([]) == []
