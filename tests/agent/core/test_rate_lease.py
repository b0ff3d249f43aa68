"""An agent's part of a shared budget."""

from math import inf

from jackstay_agent.core.rate_lease import Leased
from jackstay_agent.core.rate_rule import BudgetRule


def leased():
    return Leased(BudgetRule("w", 100, 60, "leased", 0.1), poll_s=0.5)


def test_nothing_is_spent_without_a_grant_and_the_want_is_told():
    """It waits for the book's next answer; what never fits is said so."""
    b = leased()
    assert b.fits_at(0.0, 5, 2.0) == 0.5
    assert b.wanted == 7.0
    assert b.fits_at(0.0, 91, 0.0) == inf
    b.grant(10, 3.0)
    assert (b.wanted, b.left(0.0), b.fits_at(0.0, 10, 0.0)) == (0.0, 10.0, 0.0)


def test_grants_are_spent_oldest_first_and_end():
    """A grant past its end is gone, spent or not."""
    b = leased()
    b.grant(4, 3.0)
    b.grant(4, 6.0)
    assert b.take(0.0, 5) is False
    assert b.left(0.0) == 3.0
    assert (b.spent, b.used(0.0)) == (5.0, 5.0)
    assert b.left(6.0) == 0.0
    assert b.fits_at(6.0, 1, 0.0) == 6.5


def test_a_grant_that_ends_before_an_older_one_is_passed_over():
    """Only what still stands is spent."""
    b = leased()
    b.grant(4, 9.0)
    b.grant(4, 3.0)
    assert b.left(5.0) == 4.0
    assert b.take(5.0, 5) is True
    assert (b.spent, b.overdrawn) == (4.0, 1.0)


def test_derisking_overdraws_and_it_is_told():
    """Without a grant the weight is noted for the book."""
    b = leased()
    b.grant(2, 9.0)
    assert b.take(0.0, 5) is True
    assert (b.spent, b.overdrawn) == (2.0, 3.0)


def test_what_became_of_each_grant_is_told_once():
    """Spent or over: number and what was really spent; at the end everything."""
    b = leased()
    b.grant(2, 9.0, 7)
    b.grant(3, 9.0, 8)
    b.grant(5, 20.0, 9)
    b.take(0.0, 3)
    assert b.take_finished(0.0) == [(7, 2.0)]
    assert b.take_finished(9.0) == [(8, 1.0)]
    assert b.take_finished(9.0, everything=True) == [(9, 0.0)]
    assert b.take_finished(9.0) == []


def test_unsent_weight_comes_back_while_a_grant_stands():
    """Later there is nothing to give it back to."""
    b = leased()
    b.give_back(0.0, 0.0, 1)
    assert b.left(0.0) == 0.0
    b.grant(5, 9.0)
    b.take(0.0, 5)
    b.give_back(1.0, 0.0, 2)
    assert (b.left(1.0), b.spent) == (2.0, 3.0)
    b.give_back(10.0, 0.0, 1)
    assert b.left(10.0) == 0.0


def test_a_restart_keeps_nothing_and_a_header_corrects_the_book_instead():
    """Grants belong to a process."""
    b = leased()
    b.grant(5, 9.0)
    b.correct(0.0, 50.0, None)
    assert (b.dump(0.0), b.left(0.0)) == ([], 5.0)
    b.load([[0, 5]], 0.0)
    assert b.left(0.0) == 5.0


def test_taking_if_it_fits_is_asking_and_taking_in_one():
    """Spent if granted, else untouched and wanted."""
    b = leased()
    b.grant(5, 9.0)
    assert b.take_if(0.0, 3, 0.0) == 0.0
    assert b.take_if(0.0, 3, 0.0) == 0.5
    assert (b.left(0.0), b.wanted) == (2.0, 3.0)
