"""A decaying counter."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.rate_bucket import Bucket
from jackstay_agent.core.rate_rule import BudgetRule


def bucket(limit=15, per_s=45.0, reserved=0.0):
    return Bucket(BudgetRule("counter", limit, per_s, "bucket", reserved))


def test_it_decays_evenly_and_names_its_instant():
    """Kraken's starter counter: 15 at once, then one per three seconds."""
    b = bucket()
    for _ in range(15):
        assert b.fits_at(0.0, 1, 0.0) == 0.0
        b.take(0.0, 1)
    assert b.fits_at(0.0, 1, 0.0) == pytest.approx(3.0)
    assert b.fits_at(0.0, 1, 1.0) == pytest.approx(6.0)
    assert b.fits_at(3.0, 1, 0.0) == 3.0
    assert b.fits_at(3.0, 16, 0.0) == inf
    assert b.used(1e9) == 0.0


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 3)), max_size=60))
def test_it_equals_the_venues_counter(steps):
    """What we admit never brings the venue's own counter over its limit."""
    b, now, level, at = bucket(), 100.0, 0.0, 100.0
    for gap, weight in steps:
        now += gap
        fits = b.fits_at(now, weight, 0.0)
        now = max(now, fits)
        assert b.fits_at(now, weight, 0.0) == now
        level, at = max(0.0, level - (now - at) / 3.0) + weight, now
        b.take(now, weight)
        assert level <= 15.0 + 1e-6


def test_the_rest():
    """Over the limit is said; unsent comes back; the venue's count corrects; memory survives; time never goes back."""
    b = bucket(reserved=0.2)
    assert b.take(0.0, 15) is False
    assert b.take(0.0, 1) is True
    b.give_back(0.0, 0.0, 6)
    assert b.used(0.0) == 10.0
    b.correct(0.0, 12.0, None)
    b.correct(0.0, 3.0, None)
    assert b.used(0.0) == 12.0
    b.correct(0.0, 3.0, 2.0)
    assert b.used(-5.0) == 5.0
    new = bucket()
    new.load(b.dump(0.0), 700.0)
    assert new.used(700.0) == 5.0
    new.load([], 700.0)
    assert new.used(700.0) == 5.0


def test_taking_if_it_fits_is_asking_and_taking_in_one():
    """Spent if there is room, else untouched with the same instant as `fits_at`; behind a queue, only past it."""
    b = bucket(limit=10, per_s=60.0)
    assert b.take_if(0.0, 6, 0.0) == 0.0
    assert b.take_if(0.0, 6, 0.0) == b.fits_at(0.0, 6, 0.0) > 0.0
    assert b.take_if(0.0, 4, 1.0) > 0.0
    assert b.used(0.0) == 6.0
