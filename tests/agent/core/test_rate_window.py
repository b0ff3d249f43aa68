"""A sliding window, wherever the venue's begins."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.core.rate_rule import BudgetRule
from jackstay_agent.core.rate_window import STEPS, Window
from jackstay_protocols.errors import ValidationError


def window(limit=10, per_s=60.0, reserved=0.0):
    return Window(BudgetRule("w", limit, per_s, reserved=reserved))


GAPS = st.one_of(st.floats(0, 0.5), st.floats(0, 70), st.sampled_from([1.0, 60.0, 61.0]))


@given(st.floats(0, 1e7), st.lists(st.tuples(GAPS, st.integers(1, 4)), max_size=60))
def test_no_stretch_of_the_window_ever_holds_more_than_the_limit(start, steps):
    """Asked politely and at any time, what was taken in any 60 s never exceeds the limit."""
    w, now, taken = window(), start, []
    for gap, weight in steps:
        now += gap
        if w.fits_at(now, weight, 0.0) == now:
            w.take(now, weight)
            taken.append((now, weight))
        for end, _ in taken:
            assert sum(each for at, each in taken if end - 60.0 < at <= end) <= 10


@given(st.floats(0, 1e7), st.lists(st.tuples(GAPS, st.integers(1, 10)), max_size=40))
def test_the_instant_it_names_is_true(start, steps):
    """At the instant named it fits; within the step before it does not."""
    w, now = window(), start
    for gap, weight in steps:
        now += gap
        at = w.fits_at(now, weight, 0.0)
        if at > now:
            assert at <= now + 61.5
            if at - 0.01 > now:
                assert w.fits_at(at - 0.01, weight, 0.0) > at - 0.01
            assert w.fits_at(at, weight, 0.0) == at
            now = at
        w.take(now, weight)


def test_nearly_all_of_the_limit_is_usable():
    """Over an hour of saturation at least 95 % of what the venue allows goes out."""
    w, now, taken = window(limit=1200), 0.0, 0
    while now < 3600.0:
        at = w.fits_at(now, 1, 0.0)
        if at == now:
            w.take(now, 1)
            taken += 1
        else:
            now = at
    assert taken >= 0.95 * 60 * 1200


def test_the_reserved_share_is_held_back_and_derisking_may_take_it():
    """Nine of ten fit; `take` spends what is left, and says so when it is over the limit."""
    w = window(reserved=0.1)
    w.take(0.0, 9)
    assert w.fits_at(0.0, 1, 0.0) > 0.0
    assert w.take(0.0, 1) is False
    assert w.take(0.0, 1) is True


def test_what_never_fits_is_said_so():
    """More than the whole usable limit has no instant; behind a long queue there is a guess."""
    w = window()
    assert w.fits_at(0.0, 11, 0.0) == inf
    assert 0.0 < w.fits_at(0.0, 5, 100.0) < 65.0


def test_unsent_weight_comes_back():
    """Given back while it counts, it is free again; given back too late it changes nothing."""
    w = window()
    w.take(0.0, 10)
    w.give_back(5.0, 0.0, 10)
    assert w.used(5.0) == 0.0
    w.take(5.0, 3)
    w.give_back(500.0, 5.0, 3)
    assert w.used(500.0) == 0.0
    w.give_back(500.0, 499.0, 3)
    assert w.used(500.0) == 0.0


def test_the_venues_count_corrects_ours():
    """Higher: others spend too. Lower: believed only knowing what is in flight, oldest first."""
    w = window()
    w.take(0.0, 2)
    w.correct(1.0, 7, None)
    assert w.used(1.0) == 7.0
    w.correct(1.0, 3, None)
    assert w.used(1.0) == 7.0
    w.correct(1.0, 3, 1.0)
    assert w.used(1.0) == 4.0
    w.correct(1.0, 4, 5.0)
    assert w.used(1.0) == 4.0


def test_a_caller_a_moment_behind_is_counted_now():
    """Time that seems to go back frees nothing."""
    w = window()
    w.take(100.0, 5)
    w.take(90.0, 5)
    assert w.used(95.0) == 10.0


def test_a_window_survives_a_restart():
    """Rows of ages and weights; what does not belong to the window is left out, damage is refused."""
    w = window()
    w.take(0.0, 4)
    w.take(30.0, 2)
    rows = w.dump(30.0)
    assert sorted(rows) == [[0, 2.0], [30, 4.0]]
    new = window()
    new.load(rows, 9000.0)
    assert new.used(9000.0) == 6.0
    assert new.used(9032.0) == 2.0
    new.load([[STEPS + 1, 5], [0.5, 5]], 9032.0)
    assert new.used(9032.0) == 2.0
    with pytest.raises(ValidationError):
        new.load([["x", 5]], 9032.0)


def test_taking_if_it_fits_is_asking_and_taking_in_one():
    """Spent if there is room, else untouched with the same instant as `fits_at`; behind a queue, only past it."""
    b = window()
    assert b.take_if(0.0, 6, 0.0) == 0.0
    assert b.take_if(0.0, 6, 0.0) == b.fits_at(0.0, 6, 0.0) > 0.0
    assert b.take_if(0.0, 4, 1.0) > 0.0
    assert b.used(0.0) == 6.0


def test_rounding_never_wakes_the_caller_one_step_early():
    """Where k x step rounds into the step before, the instant named is moved until it is true."""
    per_s = 7.0
    w = window(limit=1, per_s=per_s)
    now = (100 - STEPS - 1) * per_s / STEPS + per_s / STEPS / 2
    w.take(now, 1)
    at = w.fits_at(now, 1, 0.0)
    assert at > 100 * (per_s / STEPS)
    assert w.fits_at(at, 1, 0.0) == at
