"""Settings: what is refused at birth, and how it is said."""

import math

import pytest

from jackstay_agent.core.bounds import check_choice, check_instant, check_number, check_whole
from jackstay_protocols.errors import ValidationError

NO_NUMBERS = [math.nan, math.inf, -math.inf, -1, 1e300, True, "3", None]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_number_that_is_not_finite_or_out_of_bounds_is_refused(value):
    """NaN, infinities, negatives, huge values, booleans and texts are no settings."""
    with pytest.raises(ValidationError, match=r"Owner\.wait_s is .*finite number from 0 up to 10"):
        check_number("Owner", "wait_s", value, 0, 10)


def test_bounds_belong_to_the_allowed_range_unless_said_otherwise():
    """Both ends are allowed; with above_low the lower one is not."""
    check_number("Owner", "x", 0, 0, 10)
    check_number("Owner", "x", 10.0, 0, 10)
    check_number("Owner", "x", 0.1, 0, 10, above_low=True)
    with pytest.raises(ValidationError, match="above 0"):
        check_number("Owner", "x", 0, 0, 10, above_low=True)


@pytest.mark.parametrize("value", [0, 6, 2.0, True, "2", None, math.nan])
def test_a_count_is_a_whole_number_in_its_bounds(value):
    """Neither 2.0 nor True is a count."""
    check_whole("Owner", "n", 1, 1, 5)
    check_whole("Owner", "n", 5, 1, 5)
    with pytest.raises(ValidationError, match=r"Owner\.n is .*whole number from 1 to 5"):
        check_whole("Owner", "n", value, 1, 5)


def test_a_choice_names_the_words_it_expected():
    """An unknown word is answered with the known ones."""
    check_choice("Owner", "kind", "a", ("a", "b"))
    with pytest.raises(ValidationError, match="one of a, b is expected"):
        check_choice("Owner", "kind", "c", ("a", "b"))


@pytest.mark.parametrize("value", [math.nan, math.inf, "soon", None, False])
def test_an_instant_is_a_finite_number(value):
    """Nothing is scheduled for NaN, never or 'soon'."""
    check_instant("Owner", "at", -5.5)
    with pytest.raises(ValidationError, match="finite instant in seconds"):
        check_instant("Owner", "at", value)
