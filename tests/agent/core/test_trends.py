"""Trends and crossings of rows whose truth is known."""

import random

import pytest

from jackstay_agent.core.trends import BINS, crossing_of, is_seasonal, trend_of

ALPHA = 1e-4
RISING = [float(n) for n in range(BINS)]


def noise(seed, level=20.0):
    chance = random.Random(seed)
    return [max(0.0, chance.gauss(level, level**0.5)) for _ in range(BINS)]


def test_a_row_that_rises_or_falls_is_a_trend():
    """With direction, strength, slope and level."""
    up, down = trend_of(RISING, ALPHA), trend_of(RISING[::-1], ALPHA)
    assert (up.direction, up.slope, up.level, down.direction) == ("rising", 1.0, 14.5, "falling")
    assert up.strength > 0.95
    assert up.p < ALPHA


@pytest.mark.parametrize("row", [[7.0] * BINS, noise(1), noise(2), [0.0] * (BINS - 1) + [99.0]])
def test_noise_a_level_and_an_outlier_are_none(row):
    """Nothing that chance would not make."""
    assert trend_of(row, ALPHA) is None


def test_a_slope_that_is_too_small_to_matter_is_none():
    """Sure, and of no consequence."""
    assert trend_of([1000.0 + n for n in range(BINS)], ALPHA) is None


def test_what_yesterday_did_too_is_the_season():
    """The same row a day before explains it; an empty day and a flat one do not."""
    assert is_seasonal(RISING, [each + 1 for each in RISING])
    assert not is_seasonal(RISING, [0.0] * BINS)
    assert not is_seasonal(RISING, [5.0] * BINS)


@pytest.mark.parametrize("counts", [True, False])
def test_a_rising_line_reaches_its_threshold(counts):
    """When, with an interval around it; noise makes it wider."""
    found = crossing_of(RISING, 39.0, counts=counts)
    assert found.bins == pytest.approx(10.0, abs=0.5)
    assert found.low <= found.bins <= found.high
    chance = random.Random(3)
    rough = crossing_of([each + chance.gauss(0, 2) for each in RISING], 39.0, counts=counts)
    assert rough.high - rough.low > found.high - found.low


def test_a_line_that_began_late_is_found():
    """Flat for two thirds, then rising."""
    row = [5.0] * 15 + [5.0 + 2 * n for n in range(15)]
    found = crossing_of(row, 53.0, counts=False)
    assert found.bins == pytest.approx(10.0, abs=1.0)


def test_no_line_rises_towards_it():
    """Falling, flat, over it already, or too few values for a line."""
    assert crossing_of(RISING[::-1], 99.0, counts=False) is None
    assert crossing_of([5.0] * BINS, 99.0, counts=True) is None
    assert crossing_of(RISING, 10.0, counts=False) is None
    assert crossing_of([1.0, 2.0, 3.0], 10.0, counts=False) is None


def test_values_beyond_all_measure_give_no_line():
    """Weights that vanish are no weights."""
    assert crossing_of([n * 1e200 for n in range(BINS)], 1e203, counts=True) is None
